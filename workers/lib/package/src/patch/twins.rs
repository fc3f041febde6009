//! Which file of the base revision a file came from that has a path of its own: the one that shares most content with it, else one
//! that is gone and had its name. A guess: what it is wrong about costs bytes, nothing else.

use std::collections::{HashMap, HashSet};

use crate::chunk_table::ChunkTable;
use crate::index::{Entry, EntryKind, Index};

/// Two files whose lengths differ by more than this factor are hardly one file, changed.
const LENGTH_FACTOR_MAX: u64 = 4;
/// Files of one name that are compared with each other; of more, as with `__init__.py`, the first ones.
const NAMESAKES_MAX: usize = 64;

/// No file has named it yet; every chunk of an index is named.
const NONE: u32 = u32::MAX;

/// Files of the base, by what they may be known by. Made when the first file asks.
pub(super) struct Twins<'a> {
    base: &'a Index,
    chunks: ChunkTable,
    /// Of each chunk, the first file that has it.
    file_of: Vec<u32>,
    /// Of those that the new revision has not, by the last part of their paths.
    by_name: HashMap<&'a str, Vec<u32>>,
}

impl<'a> Twins<'a> {
    pub fn of(base: &'a Index, new: &Index) -> Twins<'a> {
        let stay: HashSet<&str> = new.entries.iter().map(|entry| entry.path.as_str()).collect();
        let chunks = ChunkTable::of(&base.chunks);
        let mut twins = Twins { base, chunks, file_of: vec![NONE; base.chunks.len()], by_name: HashMap::new() };
        for (entry, at) in base.entries.iter().zip(0..) {
            let EntryKind::File { refs, .. } = &entry.kind else { continue };
            for &chunk in &base.chunk_refs[refs.start as usize..refs.end as usize] {
                let file = &mut twins.file_of[chunk as usize];
                *file = at.min(*file);
            }
            if !stay.contains(entry.path.as_str()) {
                twins.by_name.entry(name_of(&entry.path)).or_default().push(at);
            }
        }
        twins
    }

    /// The position of the file in the base that this one of the new revision is most likely a version of.
    pub fn find(&self, new: &Index, entry: &Entry) -> Option<u32> {
        let EntryKind::File { bytes, refs } = &entry.kind else { return None };
        let mut shared: HashMap<u32, u64> = HashMap::new();
        for chunk in new.chunks_of(refs) {
            if let Some(at) = self.chunks.find_in(&self.base.chunks, &chunk.digest) {
                *shared.entry(self.file_of[at as usize]).or_default() += u64::from(chunk.bytes);
            }
        }
        let most = shared.into_iter().max_by_key(|&(at, bytes)| (bytes, std::cmp::Reverse(at)));
        most.map(|(at, _)| at).or_else(|| self.namesake(&entry.path, *bytes))
    }

    /// The one whose path is most like it from its end, and of those the one whose length is.
    fn namesake(&self, path: &str, bytes: u64) -> Option<u32> {
        let alike = |at: &u32| {
            let old = &self.base.entries[*at as usize];
            let EntryKind::File { bytes: old_bytes, .. } = old.kind else { return None };
            let (less, more) = (old_bytes.min(bytes), old_bytes.max(bytes));
            let parts = old.path.rsplit('/').zip(path.rsplit('/')).take_while(|(a, b)| a == b).count();
            (more <= less.saturating_mul(LENGTH_FACTOR_MAX)).then_some((parts, std::cmp::Reverse(more - less)))
        };
        let namesakes = self.by_name.get(name_of(path))?.iter().take(NAMESAKES_MAX);
        namesakes.filter_map(|at| Some((alike(at)?, std::cmp::Reverse(*at)))).max().map(|(_, at)| at.0)
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}
