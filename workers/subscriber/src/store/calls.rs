//! The calls by which the store changes on disk; nothing else in `store` changes a file or a name, but for a whole
//! distribution that goes. In this crate's own tests they can be recorded, to be cut off anywhere.

#[cfg(not(test))]
pub use blobs::calls::Kernel as Disk;

#[cfg(test)]
pub use super::proof::recorder::Recorder as Disk;
