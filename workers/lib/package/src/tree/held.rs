//! Chunks that a site's extracted trees hold already, so that they need not be fetched. What it says is a hint by
//! stats; what it reads is checked by digest.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use schemas::Digest;

use crate::chunk_table::ChunkTable;
use crate::index::{Chunk, EntryKind, Index};

use super::beneath;
use super::catalog::{Catalog, NONE, join, same_entry};
use super::content;
use super::error::TreeError;
use super::node::SeenKind;
use super::{merge, mirror};

/// Chunks in the live tree, and in those files of the standby tree that the new revision keeps.
#[derive(Debug, Default)]
pub struct Held {
    trees: Vec<HeldTree>,
}

#[derive(Debug)]
struct HeldTree {
    root: OwnedFd,
    catalog: Arc<Catalog>,
    /// Of each entry: not looked at yet, as recorded, changed.
    looked: Vec<AtomicU8>,
    /// What no tree before this one has.
    places: Vec<Place>,
    /// Positions in `places`.
    by_digest: ChunkTable,
}

const UNKNOWN: u8 = 0;
const AS_RECORDED: u8 = 1;
const CHANGED: u8 = 2;

/// Where a chunk stands: in which file, and from which byte on.
#[derive(Debug, Clone, Copy)]
struct Place {
    chunk: u32,
    entry: u32,
    offset: u64,
}

impl Held {
    /// What the trees at `target` hold for `new`. Nothing installed: it holds nothing.
    pub fn open(target: &Path, state_dir: &Path, new: &Index) -> Result<Held, TreeError> {
        let mut held = Held::default();
        for (root, catalog, live) in mirror::trees_held(target, state_dir)? {
            held.add(root, catalog, (!live).then_some(new));
        }
        if let Some((root, catalog)) = merge::tree_held(target, state_dir)? {
            held.add(root, catalog, None);
        }
        Ok(held)
    }

    /// Adds a tree; with `kept_by`, only those files of it that are the same there.
    pub(super) fn add(&mut self, root: OwnedFd, catalog: Arc<Catalog>, kept_by: Option<&Index>) {
        let kept = kept_by.map(|new| (new, join(&catalog.index, new)));
        let stays = |at: usize| {
            kept.as_ref().is_none_or(|(new, joined)| {
                let other = joined[at];
                other != NONE && same_entry(&catalog.index, at as u32, new, other)
            })
        };
        let looked = catalog.index.entries.iter().map(|_| AtomicU8::new(UNKNOWN)).collect();
        let mut tree =
            HeldTree { root, catalog: catalog.clone(), looked, places: Vec::new(), by_digest: ChunkTable::default() };
        for (at, entry) in catalog.index.entries.iter().enumerate() {
            let EntryKind::File { refs, .. } = &entry.kind else { continue };
            if !catalog.stamps[at].is_known() || !stays(at) {
                continue;
            }
            let mut offset = 0;
            for &chunk in &catalog.index.chunk_refs[refs.start as usize..refs.end as usize] {
                let Chunk { digest, bytes, .. } = &catalog.index.chunks[chunk as usize];
                if self.find(digest).is_none() {
                    tree.hold(digest, Place { chunk, entry: at as u32, offset });
                }
                offset += u64::from(*bytes);
            }
        }
        self.trees.push(tree);
    }

    /// In which tree, by position, and where there.
    fn find(&self, digest: &Digest) -> Option<(usize, Place)> {
        self.trees.iter().enumerate().find_map(|(at, tree)| Some((at, tree.find(digest)?)))
    }

    /// By the recorded stats of the file: one look for each file.
    pub fn contains(&self, digest: &Digest) -> bool {
        let Some((tree, place)) = self.find(digest) else { return false };
        let tree = &self.trees[tree];
        let known = &tree.looked[place.entry as usize];
        if known.load(Ordering::Relaxed) == UNKNOWN {
            let state = if tree.is_as_recorded(place.entry) { AS_RECORDED } else { CHANGED };
            known.store(state, Ordering::Relaxed);
        }
        known.load(Ordering::Relaxed) == AS_RECORDED
    }

    /// A chunk's content, checked by its digest; None if it cannot be had here.
    pub fn read(&self, digest: &Digest) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        self.reader().read_into(digest, &mut content).then_some(content)
    }

    pub(super) fn reader(&self) -> HeldReader<'_> {
        HeldReader { held: self, open: None }
    }
}

impl HeldTree {
    fn digest_at(&self, place: u32) -> &Digest {
        &self.catalog.index.chunks[self.places[place as usize].chunk as usize].digest
    }

    fn find(&self, digest: &Digest) -> Option<Place> {
        let found = self.by_digest.find(digest, |at| self.digest_at(at));
        found.map(|at| self.places[at as usize])
    }

    /// Unless it is held already.
    fn hold(&mut self, digest: &Digest, place: Place) {
        let next = self.places.len() as u32;
        self.places.push(place);
        let (places, chunks) = (&self.places, &self.catalog.index.chunks);
        let first = self.by_digest.first(digest, next, |at| &chunks[places[at as usize].chunk as usize].digest);
        if first != next {
            self.places.pop();
        }
    }

    fn is_as_recorded(&self, entry: u32) -> bool {
        let path = &self.catalog.index.entries[entry as usize].path;
        let Ok(file) = beneath::open_file(&self.root, path) else { return false };
        let Ok(stat) = rustix::fs::fstat(&file) else { return false };
        let seen = super::node::Seen::from(stat);
        seen.kind == SeenKind::File && self.catalog.stamps[entry as usize].same_but_links(&seen.stamp)
    }
}

/// Keeps the file open that it read last: the next chunk is mostly in it.
#[derive(Debug)]
pub(super) struct HeldReader<'a> {
    held: &'a Held,
    open: Option<(usize, u32, OwnedFd)>,
}

impl HeldReader<'_> {
    pub fn read_into(&mut self, digest: &Digest, buffer: &mut Vec<u8>) -> bool {
        let Some((tree, place)) = self.held.find(digest) else { return false };
        let bytes = self.held.trees[tree].catalog.index.chunks[place.chunk as usize].bytes;
        let Some(file) = self.file(tree, place.entry) else { return false };
        let read = content::read_exact(file.as_fd(), place.offset, bytes, buffer);
        matches!(read, Ok(true)) && Digest::of(buffer) == *digest
    }

    fn file(&mut self, at: usize, entry: u32) -> Option<&OwnedFd> {
        let is_open = matches!(self.open, Some((open_at, open, _)) if (open_at, open) == (at, entry));
        if !is_open {
            let tree = &self.held.trees[at];
            let path = &tree.catalog.index.entries[entry as usize].path;
            let file = beneath::open_file(&tree.root, path).ok()?;
            let stat = rustix::fs::fstat(&file).ok()?;
            if super::node::Seen::from(stat).kind != SeenKind::File {
                return None;
            }
            self.open = Some((at, entry, file));
        }
        self.open.as_ref().map(|(_, _, file)| file)
    }
}
