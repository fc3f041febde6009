//! Trees on disk: what a revision becomes at a site. `mirror` makes a target exactly the revision, `merge` puts its
//! files into a shared directory, `verify` proves a tree by its digests. It knows no network, no clock and no store:
//! content comes by the trait `Frames`.
//!
//! # Hard links
//!
//! Beside a mirrored target stands the tree that was live before (standby). Files that are the same in both are one
//! file with a name in each (unless `unchanged` asks for files of their own). Nothing here ever writes to an existing file, so replacing works as it always does. But a
//! program that changes a file of the target **in place** changes the standby tree's file too: the next installation
//! sees that by its stats and writes the file anew, and until then a rollback would bring the changed file back, which
//! it notices and repairs in the same way. Programs that write to a new file and rename it over the old one share
//! nothing.
//!
//! # Readers
//!
//! Who opens a path in the target gets the old or the new tree. Who holds the target's directory open across a swap
//! goes on reading the old tree, whole, until the next installation begins to stage in it.

mod beneath;
mod calls;
mod catalog;
mod check;
mod content;
mod crew;
mod dircache;
mod dress;
mod drift;
mod early_sync;
mod error;
mod extras;
mod folding;
mod frames;
mod hard_links;
mod held;
mod install;
mod layout;
mod links;
mod locked;
mod merge;
mod mirror;
mod names;
mod node;
mod place;
mod plan;
#[cfg(test)]
mod proof;
mod records;
mod scan;
mod sheet;
mod stage;
mod state;
mod turns;
mod twins;
mod verify;
mod wants;
mod writer;

pub use check::{BYTES_MAX, DEPTH_MAX, ENTRIES_MAX, EXPANSION_FREE_BYTES, EXPANSION_MAX, Policy, Unsafe, check};
pub use drift::{Drift, drift};
pub use error::TreeError;
pub use frames::{FRAME_CACHE_BYTES_MAX, FrameFault, Frames};
pub use held::Held;
pub use install::{Install, Installed, Progress, Step};
pub use locked::{Locked, LockedList};
pub use merge::{cut_off, merge, merged, recover};
pub use mirror::{Standing, installed, mirror, prepare};
pub use verify::{Differences, Modification, Modified, verify};
