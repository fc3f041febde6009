//! The calls by which a tree and its records change on disk, and those that make changes durable. Nothing else in
//! `tree` changes a file's name, content, mode or time. In tests they can be recorded, to be cut off anywhere.

#[cfg(not(test))]
pub(super) use rustix::fs::{
    fchmod, fsync, ftruncate, futimens, linkat, mkdirat, renameat_with, symlinkat, syncfs, unlinkat, utimensat,
};
#[cfg(not(test))]
pub(super) use rustix::io::pwrite;

#[cfg(test)]
pub(super) use super::proof::recorder::{
    fchmod, fsync, ftruncate, futimens, linkat, mkdirat, pwrite, renameat_with, symlinkat, syncfs, unlinkat, utimensat,
};

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// A new, empty file for writing; what it may replace, `flags` says.
pub(super) fn create(directory: impl AsFd, name: impl Arg + Copy, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    #[cfg(test)]
    let file = super::proof::recorder::create(directory, name, flags, mode);
    #[cfg(not(test))]
    let file = rustix::fs::openat(directory, name, flags, mode);
    file
}
