//! What is damaged, and how. It knows no place.

use std::fs;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    Header,
    Index,
    /// The older of the two that the revision names.
    Pack,
    IndexPatch,
    FramesPatch,
}

pub const NEEDED: [Object; 3] = [Object::Header, Object::Index, Object::Pack];
pub const PATCHES: [Object; 2] = [Object::IndexPatch, Object::FramesPatch];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    Emptied,
    Truncated,
    FlippedHead,
    FlippedMiddle,
    FlippedTail,
    Deleted,
    /// In its place stands what another revision of the same distribution has of the same kind.
    AnotherRevisions,
    /// In its place stands an object of another kind of the same revision.
    AnotherKinds,
}

pub const DAMAGES: [Damage; 8] = [
    Damage::Emptied,
    Damage::Truncated,
    Damage::FlippedHead,
    Damage::FlippedMiddle,
    Damage::FlippedTail,
    Damage::Deleted,
    Damage::AnotherRevisions,
    Damage::AnotherKinds,
];

/// What stands in the place of something else.
pub struct Swaps {
    pub another_revisions: Vec<u8>,
    pub another_kinds: Vec<u8>,
}

impl Damage {
    /// What is there afterwards; `None`: nothing.
    pub fn done_to(self, good: &[u8], swaps: &Swaps) -> Option<Vec<u8>> {
        let flipped = |at: usize| {
            let mut bytes = good.to_vec();
            bytes[at] ^= 0x10;
            Some(bytes)
        };
        match self {
            Damage::Emptied => Some(Vec::new()),
            Damage::Truncated => Some(good[..good.len() / 2].to_vec()),
            Damage::FlippedHead => flipped(0),
            Damage::FlippedMiddle => flipped(good.len() / 2),
            Damage::FlippedTail => flipped(good.len() - 1),
            Damage::Deleted => None,
            Damage::AnotherRevisions => Some(swaps.another_revisions.clone()),
            Damage::AnotherKinds => Some(swaps.another_kinds.clone()),
        }
    }

    pub fn do_to_file(self, path: &Path, swaps: &Swaps) {
        let good = fs::read(path).unwrap();
        match self.done_to(&good, swaps) {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
    }
}
