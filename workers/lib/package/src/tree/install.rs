//! What an installation is asked for, what it tells while it works, and what it gives. It does nothing itself.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use schemas::definitions::Unchanged;
use schemas::{ExtractOutcome, RevisionRef};
use serde::{Deserialize, Serialize};

use crate::index::Index;
use crate::room;

use super::check::Policy;
use super::error::TreeError;
use super::frames::Frames;

pub struct Install<'a> {
    /// Absolute.
    pub target: &'a Path,
    /// One folder for each target, which nobody else writes to. Made if it is missing.
    pub state_dir: &'a Path,
    pub revision: RevisionRef,
    /// In canonical order, as decoding gives it. Shared with what is recorded of the same revision.
    pub index: &'a Arc<Index>,
    pub policy: &'a Policy,
    pub frames: &'a dyn Frames,
    /// A foreign, non-empty target may be taken over.
    pub adopt: bool,
    /// Goes to this revision even if a newer one is installed.
    pub pin: bool,
    /// How an unchanged file of the live tree comes into the next one (`mirror`).
    pub unchanged: Unchanged,
    /// Bytes that must stay free where the target is.
    pub floor: u64,
    pub cancel: &'a AtomicBool,
    pub progress: &'a Progress,
    /// Called before each step, from several threads. Its error fails the step as the step's own call would.
    pub observe: &'a (dyn Fn(Step) -> std::io::Result<()> + Sync),
}

/// Counters that may be read while the work goes on.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files to be written, linked or read again.
    pub files_total: AtomicU64,
    pub files: AtomicU64,
    /// An upper bound: what can be linked is not written.
    pub bytes_total: AtomicU64,
    pub bytes: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    Stage,
    /// One file: written, linked, or read again.
    File,
    Sync,
    /// Everything is on disk; next the trees are exchanged, or the first file is moved in.
    Swap,
    /// One file or directory of a merge takes its place.
    Move,
    /// The new revision is visible.
    Swapped,
    Commit,
    /// It is recorded; what is left is to sweep up.
    Committed,
}

impl Step {
    pub fn name(self) -> &'static str {
        match self {
            Step::Stage => "stage",
            Step::File => "file",
            Step::Sync => "sync",
            Step::Swap => "swap",
            Step::Move => "move",
            Step::Swapped => "swapped",
            Step::Commit => "commit",
            Step::Committed => "committed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    pub outcome: ExtractOutcome,
    /// Written from content.
    pub files_written: u64,
    /// Taken over from the live tree by a hard link, or as a copy that shares its blocks.
    pub files_linked: u64,
    /// Files and links of the revision before that this one has not.
    pub files_removed: u64,
    /// Kept in place or linked.
    pub files_unchanged: u64,
    pub bytes_written: u64,
    /// The revision that was installed before.
    pub previous: Option<u64>,
    /// Files that were to be deleted but had been changed on the spot (`merge`).
    pub kept: Vec<String>,
}

impl Installed {
    pub(super) fn nothing(outcome: ExtractOutcome, files_unchanged: u64, previous: Option<u64>) -> Installed {
        Installed {
            outcome,
            files_written: 0,
            files_linked: 0,
            files_removed: 0,
            files_unchanged,
            bytes_written: 0,
            previous,
            kept: Vec::new(),
        }
    }
}

impl Install<'_> {
    pub(super) fn step(&self, step: Step) -> Result<(), TreeError> {
        (self.observe)(step).map_err(|error| TreeError::of_io(step.name(), self.target.to_string_lossy(), &error))
    }

    /// So many bytes are about to be written below `directory`.
    pub(super) fn make_sure_of_room(&self, directory: impl AsFd, needed: u64) -> Result<(), TreeError> {
        let place = self.target.to_string_lossy();
        let free = room::free_bytes_at(directory).map_err(|error| TreeError::of_io("look at", &*place, &error))?;
        Ok(room::judge(&place, free, needed, self.floor)?)
    }

    pub(super) fn go_on(&self) -> Result<(), TreeError> {
        if self.cancel.load(Ordering::Relaxed) { Err(TreeError::Cancelled) } else { Ok(()) }
    }
}
