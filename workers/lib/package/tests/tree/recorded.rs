//! What a site records of a tree that it has made.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use package::tree::{FrameFault, Frames};

use super::support::*;

/// Frames with the index beside them, as somebody else's zstd would have stored it.
struct Stocked<'a>(&'a Revision);

impl Stocked<'_> {
    const HEAD_BYTES: usize = 16;

    fn stored(&self) -> Vec<u8> {
        let ours = self.0.index.encode();
        let body = zstd::bulk::decompress(&ours[Self::HEAD_BYTES..], 1 << 20).unwrap();
        [&ours[..Self::HEAD_BYTES], &zstd::bulk::compress(&body, 19).unwrap()].concat()
    }
}

impl Frames for Stocked<'_> {
    fn frame(&self, frame: u32) -> Result<Arc<Vec<u8>>, FrameFault> {
        self.0.frame(frame)
    }

    fn index(&self) -> Option<Vec<u8>> {
        Some(self.stored())
    }
}

#[test]
fn an_index_that_is_at_hand_as_it_is_stored_is_recorded_so() {
    let site = Site::new();
    let tree = || Tree::new().file("readme", "one").file("more", content(3, 40 * CHUNK));
    let one = tree().revision(1);
    let stocked = Stocked(&one);
    assert_ne!(stocked.stored(), one.index.encode());
    let places = (&*site.target(), &*site.state_dir());
    call(MIRROR, places, &site, (&one, &stocked), &AtomicBool::new(false), &|_| Ok(())).unwrap();
    let records = fs::read_dir(site.state_dir()).unwrap().map(|entry| entry.unwrap());
    let mut indexes = records.filter(|entry| entry.file_name().to_string_lossy().starts_with("mirror-index-"));
    let recorded = fs::read(indexes.next().unwrap().path()).unwrap();
    assert!(recorded.starts_with(&stocked.stored()));
    let two = tree().file("readme", "two").revision(2);
    assert_eq!(site.mirror(&two).unwrap().files_written, 1, "it is read back");
}
