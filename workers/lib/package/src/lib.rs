//! The package format and trees of files: chunks, frames, packs, manifest, building and staging. It knows no network,
//! no database, no clock and no tokio.

pub mod index;

pub use index::{Chunk, Entry, EntryKind, Frame, Index};
