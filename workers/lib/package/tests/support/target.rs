//! A target, and revisions that were built to come into it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use package::tree::{self, FrameFault, Frames, Install, Installed, Policy, Progress};
use package::{Index, Pack, decode_frame};
use schemas::definitions::Unchanged;
use schemas::{Digest, RevisionRef};

pub struct Revision {
    pub number: u64,
    pub index: Arc<Index>,
    packs: HashMap<Digest, Vec<u8>>,
}

impl Revision {
    pub fn new(number: u64, index: Arc<Index>, packs: &[Pack]) -> Revision {
        Revision { number, index, packs: packs.iter().map(|pack| (pack.digest, pack.bytes.clone())).collect() }
    }

    /// With what an earlier one brought.
    pub fn upon(mut self, earlier: &Revision) -> Revision {
        self.packs.extend(earlier.packs.clone());
        self
    }
}

impl Frames for Revision {
    fn frame(&self, frame: u32) -> Result<Arc<Vec<u8>>, FrameFault> {
        let at = &self.index.frames[frame as usize];
        let pack = &self.packs[&self.index.packs[at.pack as usize].digest];
        let stored = &pack[at.offset as usize..][..at.stored_bytes as usize];
        Ok(decode_frame(at, stored).unwrap().into())
    }
}

pub struct Target {
    dir: tempfile::TempDir,
    policy: Policy,
}

impl Target {
    pub fn new() -> Target {
        Target::with(Policy::default())
    }

    pub fn with(policy: Policy) -> Target {
        Target { dir: tempfile::tempdir().unwrap(), policy }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("target")
    }

    pub fn mirror(&self, revision: &Revision) -> Installed {
        self.install(revision, tree::mirror)
    }

    /// Makes the standby tree.
    pub fn prepare(&self, revision: &Revision) {
        assert!(self.install(revision, tree::prepare));
    }

    pub fn install<T>(&self, revision: &Revision, way: fn(&Install) -> Result<T, tree::TreeError>) -> T {
        let header = Digest::of(&revision.number.to_le_bytes());
        let install = Install {
            target: &self.path(),
            state_dir: &self.dir.path().join("state"),
            revision: RevisionRef { number: revision.number, header },
            index: &revision.index,
            policy: &self.policy,
            frames: revision,
            adopt: false,
            pin: false,
            unchanged: Unchanged::Link,
            floor: 0,
            cancel: &AtomicBool::new(false),
            progress: &Progress::default(),
            observe: &|_| Ok(()),
        };
        way(&install).unwrap()
    }
}
