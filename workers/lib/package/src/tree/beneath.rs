//! Calls beneath a directory handle: nothing here can reach outside of it, whatever anybody does to the tree
//! meanwhile. It knows no revision.

use std::ffi::{CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, ResolveFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::calls;
use super::node::{Seen, SeenKind};

/// Directories in each other that are removed: each holds a descriptor.
const REMOVE_DEPTH_MAX: u32 = 512;
const NAMES_BUFFER_BYTES: usize = 32 << 10;

/// Opens a directory below `root` without following any link or crossing a mount.
pub(super) fn open_directory(root: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { "." } else { path };
    open(root.as_fd(), path.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// Opens a file for reading; never waits for a pipe that somebody put there.
pub(super) fn open_file(root: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    open(root.as_fd(), path.as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
}

fn open(root: BorrowedFd<'_>, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    crate::beneath::open(root, path, flags, mode, ResolveFlags::NO_XDEV)
}

/// A new file for writing, readable by its owner alone until its mode is set.
pub(super) fn create_file(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    calls::create(directory, name, OFlags::EXCL, Mode::from_raw_mode(0o600))
}

/// What `name` is, without following it; None if it is not there.
pub(super) fn look(directory: impl AsFd, name: &str) -> Result<Option<Seen>, Errno> {
    look_bytes(directory.as_fd(), name.as_bytes())
}

pub(super) fn look_bytes(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Seen>, Errno> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat.into())),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// All names in a directory but `.` and `..`.
pub(super) fn names(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); NAMES_BUFFER_BYTES];
    rustix::fs::seek(directory, rustix::fs::SeekFrom::Start(0))?;
    let mut found = Vec::new();
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            found.push(entry.file_name().to_owned());
        }
    }
    Ok(found)
}

pub(super) fn is_empty(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(names(directory)?.is_empty())
}

/// Removes whatever `name` is, with all that is in it; gives how many files and links went.
pub(super) fn remove(directory: BorrowedFd<'_>, name: &[u8]) -> Result<u64, Errno> {
    remove_within(directory, name, 0)
}

fn remove_within(directory: BorrowedFd<'_>, name: &[u8], depth: u32) -> Result<u64, Errno> {
    match calls::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) => return Ok(1),
        Err(Errno::NOENT) => return Ok(0),
        Err(Errno::ISDIR) => {}
        // What a directory gives on some file systems, and what is immutable on all.
        Err(Errno::PERM) if look_bytes(directory, name)?.is_some_and(|seen| seen.kind == SeenKind::Directory) => {}
        Err(errno) => return Err(errno),
    }
    if depth == REMOVE_DEPTH_MAX {
        return Err(Errno::LOOP);
    }
    let inner = open(directory, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    make_writable(inner.as_fd())?;
    let mut removed = 0;
    for child in names(inner.as_fd())? {
        removed += remove_within(inner.as_fd(), child.as_bytes(), depth + 1)?;
    }
    calls::unlinkat(directory, name, AtFlags::REMOVEDIR)?;
    Ok(removed)
}

/// Lets the owner change what is in a directory. True if its mode had to be changed.
pub(super) fn make_writable(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    let seen = Seen::from(rustix::fs::fstat(directory)?);
    if seen.mode & 0o700 == 0o700 {
        return Ok(false);
    }
    calls::fchmod(directory, Mode::from_raw_mode(seen.mode | 0o700))?;
    Ok(true)
}

pub(super) fn times(mtime_ns: i64) -> Timestamps {
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ };
    let tv_sec = mtime_ns.div_euclid(1_000_000_000);
    let tv_nsec = mtime_ns.rem_euclid(1_000_000_000);
    Timestamps { last_access: omit, last_modification: Timespec { tv_sec, tv_nsec: tv_nsec as _ } }
}

/// What a link says; None if it is none, or says what is not UTF-8.
pub(super) fn read_link_below(root: impl AsFd, path: &str) -> Result<Option<String>, Errno> {
    let parent = open_directory(root, super::layout::parent_of(path))?;
    match rustix::fs::readlinkat(parent, super::layout::name_of(path), Vec::new()) {
        Ok(text) => Ok(text.into_string().ok()),
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// For messages: a name that came from the file system, made harmless.
pub(super) fn shown(name: &[u8]) -> String {
    let text = OsStr::from_bytes(name).to_string_lossy();
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
