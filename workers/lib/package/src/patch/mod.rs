//! Patches: what a revision adds, written against an earlier revision that the receiver holds. A patch is never needed:
//! what it gives is checked by the digests that hold without it, and whoever cannot use it takes index and frames.

mod delta;
mod frames;
mod index;
mod name;
mod relatives;
mod twins;

pub use frames::{FramesPatch, PartWriter, Region};
pub use index::{IndexContent, apply_index, make_index, patched_content};
pub use name::{PatchKind, PatchName, names_between, open, seal, verify};
pub use relatives::plan;
