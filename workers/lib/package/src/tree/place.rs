//! Where a target stands: its parent directory, its name, the hidden names beside it, and the kernel lock. It knows no
//! record and no revision.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::limits::PART_BYTES_MAX;

use super::beneath;
use super::calls;
use super::error::TreeError;
use super::locked;
use super::node::{Node, Seen, SeenKind};

#[derive(Debug)]
pub(super) struct Place {
    parent: OwnedFd,
    /// The target's path, for messages.
    pub shown: String,
    pub name: String,
    pub standby_name: String,
    lock_name: String,
}

/// Held from staging to commit; the kernel lets go of it with the process.
#[derive(Debug)]
pub(super) struct Lock(OwnedFd);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a process being started at this instant has a copy of the descriptor.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

#[derive(Debug)]
pub(super) struct Root {
    pub directory: OwnedFd,
    pub node: Node,
}

impl Place {
    /// Makes the directories above the target that are missing.
    pub fn make(target: &Path) -> Result<Place, TreeError> {
        let (above, _) = split(target)?;
        std::fs::create_dir_all(above).map_err(|error| TreeError::of_io("make", above.to_string_lossy(), &error))?;
        Place::open(target)
    }

    pub fn open(target: &Path) -> Result<Place, TreeError> {
        let (above, name) = split(target)?;
        let shown = beneath::shown(target.as_os_str().as_bytes());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::openat(CWD, above, flags, Mode::empty())
            .map_err(|errno| TreeError::of("open", above.to_string_lossy(), errno))?;
        let beside = |what: &str| format!(".{name}.tidegate-{what}");
        let (standby_name, lock_name) = (beside("standby"), beside("lock"));
        if standby_name.len() > PART_BYTES_MAX {
            return Err(TreeError::TargetInvalid { target: shown, why: "its name is too long to stage beside it" });
        }
        Ok(Place { parent, shown, name, standby_name, lock_name })
    }

    pub fn parent(&self) -> BorrowedFd<'_> {
        self.parent.as_fd()
    }

    pub fn beside(&self, name: &str) -> String {
        match self.shown.rsplit_once('/') {
            Some((above, _)) => format!("{above}/{name}"),
            None => name.to_owned(),
        }
    }

    pub fn lock(&self) -> Result<Lock, TreeError> {
        let failed = |errno| TreeError::of("lock", self.beside(&self.lock_name), errno);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.parent, &*self.lock_name, flags, Mode::from_raw_mode(0o600)) {
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => {
                return Err(TreeError::StagingForeign { path: self.beside(&self.lock_name) });
            }
            other => other.map_err(failed)?,
        };
        if Seen::from(rustix::fs::fstat(&file).map_err(failed)?).kind != SeenKind::File {
            return Err(TreeError::StagingForeign { path: self.beside(&self.lock_name) });
        }
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock(file)),
            Err(Errno::WOULDBLOCK) => Err(TreeError::TargetBusy { target: self.shown.clone() }),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// The target's directory, if it is there; anything else in its place is refused.
    pub fn target(&self) -> Result<Option<Root>, TreeError> {
        let target = || self.shown.clone();
        match beneath::look(&self.parent, &self.name).map_err(|errno| TreeError::of("look at", target(), errno))? {
            None => Ok(None),
            Some(seen) if seen.kind == SeenKind::Link => Err(TreeError::TargetIsLink { target: target() }),
            Some(seen) if seen.kind != SeenKind::Directory => Err(TreeError::TargetNotDirectory { target: target() }),
            Some(_) => self.root(&self.name).map(Some),
        }
    }

    /// The target's directory, which may be a mount point: it is not exchanged.
    pub fn shared_target(&self) -> Result<Option<Root>, TreeError> {
        let failed = |errno| TreeError::of("open", self.shown.clone(), errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.parent, &*self.name, flags, Mode::empty()) {
            Ok(directory) => {
                let node = Node::of(&directory).map_err(failed)?;
                Ok(Some(Root { directory, node }))
            }
            Err(Errno::NOENT) => Ok(None),
            // A link says so in the one way or the other.
            Err(Errno::LOOP | Errno::NOTDIR) => self.target(),
            Err(errno) => Err(failed(errno)),
        }
    }

    pub fn make_target(&self, mode: u32) -> Result<Root, TreeError> {
        let failed = |errno| TreeError::of("make", self.shown.clone(), errno);
        calls::mkdirat(&self.parent, &*self.name, Mode::RWXU).map_err(failed)?;
        let root = self.root(&self.name)?;
        calls::fchmod(&root.directory, Mode::from_raw_mode(mode)).map_err(failed)?;
        Ok(root)
    }

    pub fn standby(&self) -> Result<Option<Root>, TreeError> {
        let path = || self.beside(&self.standby_name);
        match beneath::look(&self.parent, &self.standby_name)
            .map_err(|errno| TreeError::of("look at", path(), errno))?
        {
            None => Ok(None),
            Some(seen) if seen.kind != SeenKind::Directory => Err(TreeError::StagingForeign { path: path() }),
            Some(_) => self.root(&self.standby_name).map(Some),
        }
    }

    fn root(&self, name: &str) -> Result<Root, TreeError> {
        let failed = |errno| match errno {
            Errno::XDEV => TreeError::TargetIsMount { target: self.beside(name) },
            errno => TreeError::of("open", self.beside(name), errno),
        };
        let directory = beneath::open_directory(&self.parent, name).map_err(failed)?;
        let node = Node::of(&directory).map_err(failed)?;
        Ok(Root { directory, node })
    }

    /// Makes the standby tree the target, and the target, if there is one, the standby tree: in one step.
    pub fn swap(&self, exchange: bool) -> Result<(), TreeError> {
        let flags = if exchange { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        let parent = &self.parent;
        match calls::renameat_with(parent, &*self.standby_name, parent, &*self.name, flags) {
            Ok(()) => Ok(()),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                Err(TreeError::ExchangeUnsupported { path: self.shown.clone() })
            }
            Err(Errno::BUSY) => Err(TreeError::TargetIsMount { target: self.shown.clone() }),
            Err(errno) => {
                let parent = Some(parent.as_fd());
                Err(locked::failure("exchange", self.shown.clone(), errno, parent, &self.name))
            }
        }
    }

    pub fn sync(&self) -> Result<(), TreeError> {
        calls::fsync(&self.parent).map_err(|errno| TreeError::of("sync the parent of", self.shown.clone(), errno))
    }
}

fn split(target: &Path) -> Result<(&Path, String), TreeError> {
    let invalid = |why| TreeError::TargetInvalid { target: beneath::shown(target.as_os_str().as_bytes()), why };
    if !target.is_absolute() {
        return Err(invalid("it is not absolute"));
    }
    if target.components().any(|part| matches!(part, Component::ParentDir | Component::CurDir)) {
        return Err(invalid("it has `.` or `..` in it"));
    }
    let (Some(above), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(invalid("it is the root directory"));
    };
    let name = name.to_str().filter(|name| !name.chars().any(char::is_control));
    Ok((above, name.ok_or_else(|| invalid("its name is not plain text"))?.to_owned()))
}
