//! Which frames a pack consists of, as the indexes in the store say. It reads an index once and keeps its frames.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use package::Index;
use schemas::{Digest, StoreId};

use crate::store::{FrameRef, Store, StoreError};

/// Frames kept (some 50 bytes each) before all are dropped and read anew as needed.
const FRAMES_KNOWN_MAX: usize = 1_000_000;

#[derive(Debug)]
pub struct KnownPack {
    pub bytes: u64,
    /// By offset.
    pub frames: Vec<FrameRef>,
}

impl KnownPack {
    /// The frames that cover `range`, in order; `None` if they do not.
    pub fn covering(&self, range: &Range<u64>) -> Option<&[FrameRef]> {
        let first = self.frames.partition_point(|frame| frame.range().end <= range.start);
        let last = self.frames.partition_point(|frame| frame.offset < range.end);
        let covering = self.frames.get(first..last).filter(|frames| !frames.is_empty())?;
        let touching = covering.windows(2).all(|pair| pair[0].range().end == pair[1].offset);
        let ends = covering[0].offset <= range.start && covering[covering.len() - 1].range().end >= range.end;
        (touching && ends).then_some(covering)
    }
}

#[derive(Debug, Default)]
pub struct KnownPacks {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    packs: HashMap<(StoreId, Digest), Arc<KnownPack>>,
    indexes: HashSet<(StoreId, Digest)>,
    frames: usize,
}

impl KnownPacks {
    /// `None` if no index in the store speaks of it. Blocks on the disk.
    pub fn pack(&self, store: &Store, id: StoreId, pack: Digest) -> Result<Option<Arc<KnownPack>>, StoreError> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table.packs.get(&(id, pack)) {
            return Ok(Some(known.clone()));
        }
        for digest in store.indexes(id)? {
            if table.indexes.contains(&(id, digest)) {
                continue;
            }
            let Some(bytes) = store.index(id, digest)? else { continue };
            match Index::decode(&bytes) {
                Ok(index) => table.add(id, &index),
                Err(fault) => tracing::warn!(store = %id, index = %digest, %fault, "an index cannot be read"),
            }
            table.indexes.insert((id, digest));
            if let Some(known) = table.packs.get(&(id, pack)) {
                return Ok(Some(known.clone()));
            }
        }
        Ok(None)
    }
}

impl Table {
    fn add(&mut self, id: StoreId, index: &Index) {
        if self.frames + index.frames.len() > FRAMES_KNOWN_MAX {
            *self = Table::default();
        }
        let mut by_pack = vec![Vec::new(); index.packs.len()];
        for frame in &index.frames {
            by_pack[frame.pack as usize].push(FrameRef::from(frame));
        }
        self.frames += index.frames.len();
        for (pack, frames) in index.packs.iter().zip(by_pack) {
            self.merge(id, pack.digest, KnownPack { bytes: pack.bytes, frames });
        }
    }

    /// A later index may name other frames of a pack than an earlier one.
    fn merge(&mut self, id: StoreId, digest: Digest, mut pack: KnownPack) {
        if let Some(known) = self.packs.get(&(id, digest)) {
            pack.frames.extend(&known.frames);
        }
        pack.frames.sort_unstable_by_key(|frame| frame.offset);
        pack.frames.dedup();
        self.packs.insert((id, digest), Arc::new(pack));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(offsets: &[(u64, u32)]) -> KnownPack {
        let frame = |&(offset, stored_bytes): &(u64, u32)| FrameRef { offset, stored_bytes, digest: Digest([0; 32]) };
        KnownPack { bytes: 0, frames: offsets.iter().map(frame).collect() }
    }

    #[test]
    fn a_range_is_covered_by_touching_frames_or_not_at_all() {
        let pack = pack(&[(0, 10), (10, 10), (30, 5)]);
        for (range, frames) in [(0..10, 1), (9..11, 2), (0..20, 2), (32..33, 1)] {
            assert_eq!(pack.covering(&range).map(<[_]>::len), Some(frames), "{range:?}");
        }
        for gap in [15..25, 19..31, 20..30, 30..36, 35..36, 90..91] {
            assert_eq!(pack.covering(&gap), None, "{gap:?}");
        }
    }
}
