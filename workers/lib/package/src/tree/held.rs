//! Chunks that a site's extracted trees hold already, so that they need not be fetched. What it says is a hint by
//! stats; what it reads is checked by digest.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use schemas::Digest;

use crate::index::{EntryKind, Index};

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
    places: HashMap<Digest, Spot>,
}

#[derive(Debug)]
struct HeldTree {
    root: OwnedFd,
    catalog: Arc<Catalog>,
    /// Of each entry: not looked at yet, as recorded, changed.
    looked: Vec<AtomicU8>,
}

const UNKNOWN: u8 = 0;
const AS_RECORDED: u8 = 1;
const CHANGED: u8 = 2;

#[derive(Debug, Clone, Copy)]
struct Spot {
    tree: u32,
    entry: u32,
    offset: u64,
    bytes: u32,
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
        let tree = self.trees.len() as u32;
        let kept = kept_by.map(|new| (new, join(&catalog.index, new)));
        for (at, entry) in catalog.index.entries.iter().enumerate() {
            let EntryKind::File { refs, .. } = &entry.kind else { continue };
            let stays = kept.as_ref().is_none_or(|(new, joined)| {
                let other = joined[at];
                other != NONE && same_entry(&catalog.index, at as u32, new, other)
            });
            if !stays || !catalog.stamps[at].is_known() {
                continue;
            }
            let mut offset = 0;
            for chunk in catalog.index.chunks_of(refs) {
                let spot = Spot { tree, entry: at as u32, offset, bytes: chunk.bytes };
                self.places.entry(chunk.digest).or_insert(spot);
                offset += u64::from(chunk.bytes);
            }
        }
        let looked = catalog.index.entries.iter().map(|_| AtomicU8::new(UNKNOWN)).collect();
        self.trees.push(HeldTree { root, catalog, looked });
    }

    /// By the recorded stats of the file: one look for each file.
    pub fn contains(&self, digest: &Digest) -> bool {
        let Some(spot) = self.places.get(digest) else { return false };
        let tree = &self.trees[spot.tree as usize];
        let known = &tree.looked[spot.entry as usize];
        if known.load(Ordering::Relaxed) == UNKNOWN {
            let state = if tree.is_as_recorded(spot.entry) { AS_RECORDED } else { CHANGED };
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
    open: Option<(u32, u32, OwnedFd)>,
}

impl HeldReader<'_> {
    pub fn read_into(&mut self, digest: &Digest, buffer: &mut Vec<u8>) -> bool {
        let Some(&spot) = self.held.places.get(digest) else { return false };
        let Some(file) = self.file(spot) else { return false };
        let read = content::read_exact(file.as_fd(), spot.offset, spot.bytes, buffer);
        matches!(read, Ok(true)) && Digest::of(buffer) == *digest
    }

    fn file(&mut self, spot: Spot) -> Option<&OwnedFd> {
        let is_open = matches!(self.open, Some((tree, entry, _)) if (tree, entry) == (spot.tree, spot.entry));
        if !is_open {
            let tree = &self.held.trees[spot.tree as usize];
            let path = &tree.catalog.index.entries[spot.entry as usize].path;
            let file = beneath::open_file(&tree.root, path).ok()?;
            let stat = rustix::fs::fstat(&file).ok()?;
            if super::node::Seen::from(stat).kind != SeenKind::File {
                return None;
            }
            self.open = Some((spot.tree, spot.entry, file));
        }
        self.open.as_ref().map(|(_, _, file)| file)
    }
}
