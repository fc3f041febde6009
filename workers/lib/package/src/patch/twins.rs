//! Which file of the base revision a file came from that has a path of its own: the one that shares most content with it, else one
//! that is gone and had its name. A guess: what it is wrong about costs bytes, nothing else.

use std::collections::{HashMap, HashSet};

use schemas::Digest;

use crate::index::{Entry, EntryKind, Index};

/// Two files whose lengths differ by more than this factor are hardly one file, changed.
const LENGTH_FACTOR_MAX: u64 = 4;
/// Files of one name that are compared with each other; of more, as with `__init__.py`, the first ones.
const NAMESAKES_MAX: usize = 64;

/// Files of the base, by what they may be known by. Made when the first file asks.
pub(super) struct Twins<'a> {
    base: &'a Index,
    /// Of each content, the first file that has it.
    by_chunk: HashMap<Digest, u32>,
    /// Of those that the new revision has not, by the last part of their paths.
    by_name: HashMap<&'a str, Vec<u32>>,
}

impl<'a> Twins<'a> {
    pub fn of(base: &'a Index, new: &Index) -> Twins<'a> {
        let stay: HashSet<&str> = new.entries.iter().map(|entry| entry.path.as_str()).collect();
        let mut twins = Twins { base, by_chunk: HashMap::new(), by_name: HashMap::new() };
        for (entry, at) in base.entries.iter().zip(0..) {
            let EntryKind::File { refs, .. } = &entry.kind else { continue };
            base.chunks_of(refs).for_each(|chunk| {
                twins.by_chunk.entry(chunk.digest).or_insert(at);
            });
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
            if let Some(&at) = self.by_chunk.get(&chunk.digest) {
                *shared.entry(at).or_default() += u64::from(chunk.bytes);
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
