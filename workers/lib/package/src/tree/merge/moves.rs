//! Moves of a journal, done and undone: every one is a single rename, or the making or removing of an empty directory.
//! Whether one was done is seen from the target alone, so that undoing twice does no harm.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, RenameFlags};
use rustix::io::Errno;

use crate::tree::beneath;
use crate::tree::calls;
use crate::tree::error::TreeError;
use crate::tree::layout::{name_of, parent_of};
use crate::tree::locked;
use crate::tree::node::{SeenKind, Stamp};

use super::state::{Move, What};

#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub target: BorrowedFd<'a>,
    pub staging: BorrowedFd<'a>,
}

impl Field<'_> {
    fn parent(&self, path: &str) -> Result<OwnedFd, Errno> {
        beneath::open_directory(self.target, parent_of(path))
    }

    pub fn apply(&self, at: usize, step: &Move) -> Result<(), TreeError> {
        let parent = self.parent(&step.path).ok();
        let parent = parent.as_ref().map(AsFd::as_fd);
        self.try_apply(&at.to_string(), step).map_err(|errno| failure(step, errno, parent))
    }

    fn try_apply(&self, staged: &str, step: &Move) -> Result<(), Errno> {
        let (parent, name) = (self.parent(&step.path)?, name_of(&step.path));
        let parent = parent.as_fd();
        match step.what {
            What::Delete => calls::renameat_with(parent, name, self.staging, staged, RenameFlags::NOREPLACE),
            What::RemoveDirectory { .. } => calls::unlinkat(parent, name, AtFlags::REMOVEDIR),
            What::MakeDirectory { .. } => calls::mkdirat(parent, name, Mode::RWXU),
            What::Replace { .. } => {
                calls::renameat_with(self.staging, staged, parent, name, RenameFlags::EXCHANGE)?;
                self.refuse_directory(staged)
            }
            What::Create { .. } => calls::renameat_with(self.staging, staged, parent, name, RenameFlags::NOREPLACE),
        }
    }

    /// What gave way to a file came since the plan was made, and is nothing that may be deleted.
    fn refuse_directory(&self, staged: &str) -> Result<(), Errno> {
        match beneath::look(self.staging, staged)?.map(|seen| seen.kind) {
            Some(SeenKind::Directory | SeenKind::Other) => Err(Errno::ISDIR),
            _ => Ok(()),
        }
    }

    /// What a step put aside is still what was `seen` before.
    pub fn holds(&self, at: usize, step: &Move, seen: &Stamp) -> Result<bool, TreeError> {
        let aside = beneath::look(self.staging, &at.to_string());
        let aside = aside.map_err(|errno| TreeError::of("look at", &step.path, errno))?;
        Ok(aside.is_some_and(|aside| aside.stamp.same_but_links(seen)))
    }

    /// Undoes what was done of `journal`, last first.
    pub fn undo(&self, journal: &[Move]) -> Result<(), TreeError> {
        journal.iter().enumerate().rev().try_for_each(|(at, step)| self.put_back(at, step))
    }

    pub fn put_back(&self, at: usize, step: &Move) -> Result<(), TreeError> {
        match self.try_undo(&at.to_string(), step) {
            // Its directory is not there, so nothing was done in it.
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(errno) => Err(TreeError::of("put back", &step.path, errno)),
        }
    }

    fn try_undo(&self, staged: &str, step: &Move) -> Result<(), Errno> {
        let (parent, name) = (self.parent(&step.path)?, name_of(&step.path));
        let parent = parent.as_fd();
        let stands = |ino: u64| Ok::<_, Errno>(beneath::look(parent, name)?.is_some_and(|seen| seen.stamp.ino == ino));
        match step.what {
            What::Delete => match calls::renameat_with(self.staging, staged, parent, name, RenameFlags::NOREPLACE) {
                // Somebody made it anew meanwhile: theirs stays.
                Err(Errno::EXIST) => Ok(()),
                other => other,
            },
            What::RemoveDirectory { mode } => match calls::mkdirat(parent, name, Mode::RWXU) {
                Err(Errno::EXIST) => Ok(()),
                other => other.and_then(|()| set_mode(self.target, &step.path, mode)),
            },
            What::MakeDirectory { .. } => match calls::unlinkat(parent, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
                other => other,
            },
            What::Replace { ino } if stands(ino)? => {
                calls::renameat_with(self.staging, staged, parent, name, RenameFlags::EXCHANGE)
            }
            What::Create { ino } if stands(ino)? => {
                calls::renameat_with(parent, name, self.staging, staged, RenameFlags::NOREPLACE)
            }
            What::Replace { .. } | What::Create { .. } => Ok(()),
        }
    }
}

pub(super) fn set_mode(target: BorrowedFd<'_>, path: &str, mode: u32) -> Result<(), Errno> {
    let directory = beneath::open_directory(target, path)?;
    calls::fchmod(directory, Mode::from_raw_mode(mode))
}

fn failure(step: &Move, errno: Errno, parent: Option<BorrowedFd<'_>>) -> TreeError {
    let path = step.path.clone();
    let in_the_way = |what, wanted| TreeError::InTheWay { path: step.path.clone(), what, wanted };
    match (errno, step.what) {
        (Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP, _) => TreeError::ExchangeUnsupported { path },
        (Errno::NOTEMPTY, What::RemoveDirectory { .. }) => in_the_way("a directory with files of others", "a file"),
        (Errno::ISDIR, What::Replace { .. }) => {
            in_the_way("a directory, device, pipe or socket that came meanwhile", "a file")
        }
        (Errno::EXIST, What::Create { .. }) => in_the_way("something that came meanwhile", "a new file"),
        (Errno::EXIST, What::MakeDirectory { .. }) => in_the_way("something that came meanwhile", "a new directory"),
        (Errno::LOOP, _) => in_the_way("a symbolic link on the way", "a directory"),
        (Errno::XDEV, _) => in_the_way("a mount point on the way", "a directory"),
        _ => locked::failure("move", path, errno, parent, name_of(&step.path)),
    }
}
