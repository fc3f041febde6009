//! One large file: several writers fill it together.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use package::tree::{FrameFault, Frames, Installed, TreeError};

use super::support::*;

const BYTES: usize = 20 << 20;

/// No two chunks of it are equal.
fn numbers() -> Vec<u8> {
    (0..BYTES as u64 / 8).flat_map(u64::to_le_bytes).collect()
}

fn mirror(site: &Site, revision: &Revision, frames: &dyn Frames, cancel: &AtomicBool) -> Result<Installed, TreeError> {
    let places = (&*site.target(), &*site.state_dir());
    call(MIRROR, places, site, (revision, frames), cancel, &|_| Ok(()))
}

/// Gives nothing until two writers have asked at once.
struct Meeting<'a> {
    revision: &'a Revision,
    waiting: Mutex<u32>,
    came: Condvar,
}

impl Frames for Meeting<'_> {
    fn frame(&self, frame: u32) -> Result<Arc<Vec<u8>>, FrameFault> {
        let mut waiting = self.waiting.lock().unwrap();
        *waiting += 1;
        self.came.notify_all();
        let (_waiting, late) =
            self.came.wait_timeout_while(waiting, Duration::from_secs(30), |waiting| *waiting < 2).unwrap();
        assert!(!late.timed_out(), "one writer alone asks for frames");
        self.revision.frame(frame)
    }
}

#[test]
fn a_large_file_is_filled_by_two_writers_at_once_and_is_known_afterwards() {
    let site = Site::new();
    let revision = Tree::new().file("image", numbers()).file("small", "beside it").revision(1);
    let meeting = Meeting { revision: &revision, waiting: Mutex::new(0), came: Condvar::new() };
    let done = mirror(&site, &revision, &meeting, &AtomicBool::new(false)).unwrap();
    assert_eq!((done.files_written, done.bytes_written), (2, BYTES as u64 + 9));
    assert!(site.verified(&revision));
    assert!(fs::read(site.target().join("image")).unwrap() == numbers());
    let asked = revision.asked();
    assert_eq!(site.mirror(&revision).unwrap().files_written, 0);
    assert_eq!(revision.asked(), asked, "what was recorded of it holds");
}

#[test]
fn of_a_large_sparse_file_the_holes_stay_also_at_its_end() {
    let site = Site::new();
    let mut content = numbers();
    content[4 << 20..9 << 20].fill(0);
    content[BYTES - (5 << 20)..].fill(0);
    let revision = Tree::new().file("disk", &content).sparse("disk").revision(1);
    site.mirror(&revision).unwrap();
    assert!(site.verified(&revision));
    let disk = site.target().join("disk");
    assert!(fs::read(&disk).unwrap() == content);
    let stored = fs::metadata(&disk).unwrap().blocks() * 512;
    assert!(stored <= 11 << 20, "{stored} bytes on disk of 10 MiB that are no zeros");
}

/// Asks for a stop when it has given so many frames.
struct Stopping<'a> {
    revision: &'a Revision,
    after: u64,
    cancel: &'a AtomicBool,
}

impl Frames for Stopping<'_> {
    fn frame(&self, frame: u32) -> Result<Arc<Vec<u8>>, FrameFault> {
        if self.revision.asked() == self.after {
            self.cancel.store(true, Ordering::Relaxed);
        }
        self.revision.frame(frame)
    }
}

#[test]
fn a_stop_in_the_middle_of_a_large_file_is_heard_and_the_next_one_goes_on_from_there() {
    let site = Site::new();
    let old = Tree::new().file("image", "as it was").revision(1);
    site.mirror(&old).unwrap();
    let new = Tree::new().file("image", numbers()).revision(2);
    let cancel = AtomicBool::new(false);
    let stopped = mirror(&site, &new, &Stopping { revision: &new, after: 100, cancel: &cancel }, &cancel);
    assert!(matches!(stopped, Err(TreeError::Cancelled)), "{stopped:?}");
    assert!(new.asked() < new.index.frames.len() as u64, "it wrote the file to its end");
    assert_eq!(site.read("image"), "as it was");
    site.mirror(&new).unwrap();
    assert!(site.verified(&new));
}
