//! The writing of files, cut into turns that writers take one after the other: some files, or a part of a large one, which
//! several writers fill at once. It knows not who takes which.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::index::{EntryKind, Index};

use super::crew::THREADS;
use super::error::TreeError;
use super::plan::{Action, Plan};

/// What one turn takes: so many files, or content worth as many.
const FILES_MAX: u64 = 128;
/// Content that costs about as much as one more file, in bytes.
const FILE_COST_BYTES: u64 = 16 << 10;
/// A new file of this size is written in parts. The crash proof has small trees.
const LARGE_BYTES_MIN: u64 = if cfg!(test) { 2 << 10 } else { 16 << 20 };
/// A part ends with the chunk that makes it as large as this.
const PART_BYTES: u64 = LARGE_BYTES_MIN / 2;

pub(super) enum Turn {
    /// Neighbours, so that writers seldom want the same frame or directory.
    Files(Vec<u32>),
    Part(Arc<Large>, Part),
}

pub(super) struct Large {
    pub at: u32,
    pub bytes: u64,
    file: Mutex<Opened>,
    parts_left: AtomicUsize,
}

enum Opened {
    NotYet,
    Here(Arc<OwnedFd>),
    /// It could not be made, and whoever tried said so.
    Never,
}

pub(super) struct Part {
    pub refs: Range<u32>,
    pub offset: u64,
    pub bytes: u64,
}

impl Large {
    /// None if somebody tried before, and failed.
    pub fn open(&self, create: impl FnOnce() -> Result<OwnedFd, TreeError>) -> Result<Option<Arc<OwnedFd>>, TreeError> {
        let mut opened = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*opened, Opened::NotYet) {
            *opened = Opened::Never;
            *opened = Opened::Here(Arc::new(create()?));
        }
        Ok(match &*opened {
            Opened::Here(file) => Some(file.clone()),
            _ => None,
        })
    }

    /// True once: for the writer that ends the last part.
    pub fn is_filled_by_this(&self) -> bool {
        self.parts_left.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// Large files come first: the small ones then keep all writers busy to the end.
pub(super) fn of(index: &Index, plan: &Plan) -> Vec<Turn> {
    let is_large = |&at: &u32| {
        let EntryKind::File { bytes, .. } = index.entries[at as usize].kind else { return false };
        bytes >= LARGE_BYTES_MIN && plan.actions[at as usize] == Action::Write
    };
    let (large, small): (Vec<u32>, Vec<u32>) = plan.work().into_iter().partition(is_large);
    let mut turns = side_by_side(large.into_iter().map(|at| parts(index, at)).collect());
    let (mut files, mut cost) = (Vec::new(), 0);
    for at in small {
        cost += match index.entries[at as usize].kind {
            EntryKind::File { bytes, .. } => 1 + bytes / FILE_COST_BYTES,
            _ => 1,
        };
        files.push(at);
        if cost >= FILES_MAX {
            turns.push(Turn::Files(std::mem::take(&mut files)));
            cost = 0;
        }
    }
    if !files.is_empty() {
        turns.push(Turn::Files(files));
    }
    turns
}

/// As many files at a time as there are writers, a part of each in turn: two that write to one file wait for each other.
fn side_by_side(mut waiting: VecDeque<VecDeque<Turn>>) -> Vec<Turn> {
    let mut open: Vec<VecDeque<Turn>> = Vec::new();
    let mut turns = Vec::new();
    loop {
        open.retain(|parts| !parts.is_empty());
        open.extend(waiting.drain(..waiting.len().min(THREADS - open.len())));
        if open.is_empty() {
            return turns;
        }
        turns.extend(open.iter_mut().filter_map(VecDeque::pop_front));
    }
}

fn parts(index: &Index, at: u32) -> VecDeque<Turn> {
    let EntryKind::File { bytes, refs } = &index.entries[at as usize].kind else { return VecDeque::new() };
    let parts = cut(index, refs);
    let (file, parts_left) = (Mutex::new(Opened::NotYet), AtomicUsize::new(parts.len()));
    let large = Arc::new(Large { at, bytes: *bytes, file, parts_left });
    parts.into_iter().map(|part| Turn::Part(large.clone(), part)).collect()
}

fn cut(index: &Index, refs: &Range<u32>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut next = Part { refs: refs.start..refs.start, offset: 0, bytes: 0 };
    for (at, chunk) in (refs.start..).zip(index.chunks_of(refs)) {
        next.bytes += u64::from(chunk.bytes);
        next.refs.end = at + 1;
        if next.bytes >= PART_BYTES || next.refs.end == refs.end {
            let after = Part { refs: at + 1..at + 1, offset: next.offset + next.bytes, bytes: 0 };
            parts.push(std::mem::replace(&mut next, after));
        }
    }
    parts
}
