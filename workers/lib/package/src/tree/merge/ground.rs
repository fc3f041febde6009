//! A directory that is merged into, what is recorded of it, and the way back out of a merge that was cut off. It knows no
//! revision that is to come.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::index::Index;
use crate::tree::beneath;
use crate::tree::calls;
use crate::tree::catalog::Catalog;
use crate::tree::error::TreeError;
use crate::tree::layout::{name_of, parent_of};
use crate::tree::node::Node;
use crate::tree::place::{Place, Root};
use crate::tree::records::Records;

use super::moves::Field;
use super::state::State;
use super::{INDEX_KIND, STAGING, STAMPS_KIND};

pub(super) struct Ground<'a> {
    pub place: &'a Place,
    pub records: Records,
    pub state: State,
    pub target: Root,
    pub was: Option<Arc<Catalog>>,
}

impl<'a> Ground<'a> {
    pub fn new(place: &'a Place, records: Records, state: State, target: Root) -> Ground<'a> {
        let was = state.catalog.as_ref().and_then(|at| Catalog::load(&records, at)).map(Arc::new);
        Ground { place, records, state, target, was }
    }

    /// Undoes what a crash left half done, and clears what staging left.
    pub fn recover(&mut self) -> Result<(), TreeError> {
        if self.state.staging.is_none() {
            return Ok(());
        }
        if let Some(staging) = self.staging()? {
            self.undo(&staging)?;
        }
        self.state.journal.clear();
        match self.was.clone() {
            Some(was) => self.sweep(&was.index),
            None => self.forget_staging(),
        }
    }

    pub fn forget_staging(&mut self) -> Result<(), TreeError> {
        self.clear_staging()?;
        // What came back after a power loss would be nobody's.
        self.sync()?;
        self.state.journal.clear();
        self.state.staging = None;
        self.state.save(&self.records)
    }

    pub fn undo(&self, staging: &OwnedFd) -> Result<(), TreeError> {
        if self.state.journal.is_empty() {
            return Ok(());
        }
        self.field(staging).undo(&self.state.journal)?;
        self.sync()
    }

    pub fn field<'f>(&'f self, staging: &'f OwnedFd) -> Field<'f> {
        Field { target: self.target.directory.as_fd(), staging: staging.as_fd() }
    }

    /// The staging directory, if it is there and ours.
    fn staging(&self) -> Result<Option<OwnedFd>, TreeError> {
        let failed = |errno| TreeError::of("open", STAGING, errno);
        let opened = match beneath::open_directory(&self.target.directory, STAGING) {
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(self.staging_foreign()),
            other => other.map_err(failed)?,
        };
        let node = Node::of(&opened).map_err(failed)?;
        match &self.state.staging {
            Some(ours) if ours.is(&node) => Ok(Some(opened)),
            _ => Err(self.staging_foreign()),
        }
    }

    pub fn staging_foreign(&self) -> TreeError {
        TreeError::StagingForeign { path: format!("{}/{STAGING}", self.place.shown) }
    }

    fn clear_staging(&self) -> Result<(), TreeError> {
        let removed = beneath::remove(self.target.directory.as_fd(), STAGING.as_bytes());
        removed.map(|_| ()).map_err(|errno| TreeError::of("remove", STAGING, errno))
    }

    pub fn sync(&self) -> Result<(), TreeError> {
        calls::syncfs(&self.target.directory).map_err(|errno| TreeError::of("sync", self.place.shown.clone(), errno))
    }

    /// Removes what `index`, the recorded revision, does without: old files, empty directories of ours, old records.
    pub fn sweep(&mut self, index: &Index) -> Result<(), TreeError> {
        let mut left = Vec::new();
        for path in self.state.made.iter().rev() {
            let wanted = index.find(path).is_some();
            if wanted || !self.remove_if_empty(path)? {
                left.push(path.clone());
            }
        }
        left.reverse();
        self.state.made = left;
        self.forget_staging()?;
        self.records.sweep(&[INDEX_KIND, STAMPS_KIND], &self.state.records_in_use())
    }

    /// True if it is gone.
    fn remove_if_empty(&self, path: &str) -> Result<bool, TreeError> {
        let parent = beneath::open_directory(&self.target.directory, parent_of(path));
        match parent.and_then(|parent| calls::unlinkat(parent, name_of(path), AtFlags::REMOVEDIR)) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => Ok(false),
            Err(errno) => Err(TreeError::of("remove", path, errno)),
        }
    }
}
