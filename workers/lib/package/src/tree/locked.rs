//! What the kernel will not let go of, and why: a person must hear the name. On Linux a file that is open or running can
//! always be replaced; what cannot is a mount point, and what `chattr` has made immutable or append-only.

use std::fmt;
use std::os::fd::BorrowedFd;

use rustix::fs::IFlags;
use rustix::io::Errno;

use super::beneath;
use super::error::TreeError;

/// Named in one error; more only make it longer.
pub(super) const NAMED_MAX: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    pub path: String,
    pub why: &'static str,
}

/// Some names, each with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedList(pub Vec<Locked>);

impl fmt::Display for LockedList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Locked { path, why }) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}`{path}` ({why})")?;
        }
        Ok(())
    }
}

/// A failed removal, replacement or link of `name`, as what a person can act on.
pub(super) fn failure(
    doing: &'static str,
    path: impl Into<String>,
    errno: Errno,
    directory: Option<BorrowedFd<'_>>,
    name: &str,
) -> TreeError {
    let path = path.into();
    match why(errno, directory, name) {
        Some(why) => TreeError::Locked { files: LockedList(vec![Locked { path, why }]) },
        None => TreeError::of(doing, path, errno),
    }
}

fn why(errno: Errno, directory: Option<BorrowedFd<'_>>, name: &str) -> Option<&'static str> {
    match errno {
        Errno::BUSY => Some("it is a mount point or otherwise in use"),
        Errno::TXTBSY => Some("it is being executed"),
        Errno::PERM | Errno::ACCESS => {
            let directory = directory?;
            let held = beneath::open_file(directory, name).is_ok_and(|file| is_held(&file));
            let why_file = held.then_some("it is immutable or append-only; `chattr -i -a` lets it go");
            why_file.or_else(|| is_held(directory).then_some("its directory is immutable or append-only"))
        }
        _ => None,
    }
}

fn is_held(file: impl std::os::fd::AsFd) -> bool {
    let held = IFlags::IMMUTABLE | IFlags::APPEND;
    rustix::fs::ioctl_getflags(file).is_ok_and(|flags| flags.intersects(held))
}

/// Goes on over locked names, so that one error can tell of all.
#[derive(Default)]
pub(super) struct Tally(Vec<Locked>);

impl Tally {
    pub fn note(&mut self, done: Result<(), TreeError>) -> Result<(), TreeError> {
        match done {
            Err(TreeError::Locked { files }) => {
                self.0.extend(files.0);
                if self.0.len() < NAMED_MAX { Ok(()) } else { self.take() }
            }
            done => done,
        }
    }

    pub fn join(&mut self, other: &mut Tally) -> Result<(), TreeError> {
        self.note(other.take())
    }

    pub fn finish(mut self) -> Result<(), TreeError> {
        self.take()
    }

    fn take(&mut self) -> Result<(), TreeError> {
        match std::mem::take(&mut self.0) {
            files if files.is_empty() => Ok(()),
            files => Err(TreeError::Locked { files: LockedList(files) }),
        }
    }
}
