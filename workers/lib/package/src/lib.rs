//! The package format and trees of files: chunks, frames, packs, manifest, building and staging. It knows no network,
//! no database, no clock and no tokio.

#[cfg(test)]
extern crate self as package;

mod accounts;
mod attributes;
mod beneath;
pub mod build;
mod chunk_table;
pub mod chunker;
pub mod diff;
pub mod error;
pub mod extras;
mod extras_codec;
pub mod frame;
mod globs;
pub mod header;
pub mod hints;
pub mod index;
pub mod index_codec;
pub mod limits;
pub mod patch;
pub mod paths;
pub mod room;
pub mod source_error;
pub mod tree;
pub mod walk;
pub mod watch;
mod wire;
pub mod write_back;

pub use build::{Built, Pack, PackSink, SinkClosed};
pub use error::FormatError;
pub use extras::{Attribute, Extras, HardLink, Keeps};
pub use frame::{decode_frame, open_frame, verify_frame};
pub use index::{Chunk, Entry, EntryKind, Frame, Index, Totals};
pub use index_codec::{EncodedIndex, Tables};
pub use source_error::BuildError;
pub use watch::Watch;
