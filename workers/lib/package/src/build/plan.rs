//! Decides which files are known and which are read, and in which portions. It opens nothing.

use std::collections::HashSet;
use std::ops::Range;

use schemas::Digest;

use super::Input;
use crate::hints::{Hints, content_id};
use crate::index::{EntryKind, Index};
use crate::source_error::BuildError;
use crate::walk::{FoundKind, Stat, Tree};

/// How reading is portioned; the output does not depend on it.
pub(super) struct Sizes {
    /// Small files are read together until they are this much.
    pub batch_bytes: u64,
    pub batch_files: usize,
    /// Files longer than this are read in parts of this, by several threads. A multiple of the largest chunk, so that
    /// long runs of equal bytes cut alike in every part.
    pub segment_bytes: u64,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes { batch_bytes: 1 << 20, batch_files: 256, segment_bytes: 4 << 20 }
    }
}

const _: () = assert!((4usize << 20).is_multiple_of(crate::limits::CHUNK_BYTES_MAX));

/// A portion of reading. Files are positions in `Tree::entries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unit {
    Batch { files: Vec<u32>, segment_bytes: u64 },
    Segment { file: u32, range: Range<u64>, is_last: bool },
}

pub(super) struct Plan {
    pub units: Vec<Unit>,
    /// Of each entry, if its content is known: its position in the previous index.
    pub known: Vec<Option<u32>>,
    pub files: u64,
    pub bytes: u64,
    pub files_to_read: u64,
    pub bytes_to_read: u64,
}

impl Plan {
    pub fn new(input: &Input, sizes: &Sizes) -> Result<Plan, BuildError> {
        let tree = &input.tree;
        let known = match (input.previous, input.hints) {
            (Some(previous), Some(hints)) => known_files(tree, previous, input.lost, hints),
            _ => vec![None; tree.entries.len()],
        };
        let mut plan = Plan { units: Vec::new(), known, files: 0, bytes: 0, files_to_read: 0, bytes_to_read: 0 };
        let mut batch = Batch { files: Vec::new(), bytes: 0 };
        let mut further_names = tree.hard_links.iter().map(|link| link.entry).peekable();
        for (at, entry) in tree.entries.iter().enumerate() {
            let FoundKind::File(stat) = &entry.kind else { continue };
            if further_names.next_if_eq(&(at as u32)).is_some() {
                // Read with its first name.
                plan.known[at] = None;
                continue;
            }
            plan.files += 1;
            plan.bytes += stat.bytes;
            // An empty file has nothing to read.
            if plan.known[at].is_some() || stat.bytes == 0 {
                continue;
            }
            plan.files_to_read += 1;
            plan.bytes_to_read += stat.bytes;
            if stat.bytes > sizes.segment_bytes {
                batch.close(&mut plan.units, sizes);
                plan.units.extend(segments(at as u32, stat, sizes));
            } else {
                batch.add(at as u32, stat, &mut plan.units, sizes);
            }
        }
        batch.close(&mut plan.units, sizes);
        Ok(plan)
    }
}

/// What of a file is lost can only be read again.
fn known_files(tree: &Tree, previous: &Index, lost: &HashSet<Digest>, hints: &Hints) -> Vec<Option<u32>> {
    let mut hints = hints.read();
    let mut at = 0;
    let known = |entry: &crate::walk::Found| {
        let FoundKind::File(stat) = &entry.kind else { return None };
        let content = hints.content_of(&entry.path, stat)?;
        while previous.entries.get(at)?.path < entry.path {
            at += 1;
        }
        let before = &previous.entries[at];
        let EntryKind::File { bytes, refs } = &before.kind else { return None };
        let same = before.path == entry.path
            && *bytes == stat.bytes
            && content_id(previous.chunks_of(refs).map(|chunk| &chunk.digest)) == content
            && !previous.chunks_of(refs).any(|chunk| lost.contains(&previous.pack_of(chunk).digest));
        same.then_some(at as u32)
    };
    tree.entries.iter().map(known).collect()
}

struct Batch {
    files: Vec<u32>,
    bytes: u64,
}

impl Batch {
    fn add(&mut self, file: u32, stat: &Stat, units: &mut Vec<Unit>, sizes: &Sizes) {
        if self.bytes + stat.bytes > sizes.batch_bytes || self.files.len() >= sizes.batch_files {
            self.close(units, sizes);
        }
        self.files.push(file);
        self.bytes += stat.bytes;
    }

    fn close(&mut self, units: &mut Vec<Unit>, sizes: &Sizes) {
        self.bytes = 0;
        if !self.files.is_empty() {
            let files = std::mem::take(&mut self.files);
            units.push(Unit::Batch { files, segment_bytes: sizes.segment_bytes });
        }
    }
}

fn segments(file: u32, stat: &Stat, sizes: &Sizes) -> impl Iterator<Item = Unit> + use<> {
    let (bytes, step) = (stat.bytes, sizes.segment_bytes);
    (0..bytes.div_ceil(step)).map(move |n| {
        let range = n * step..bytes.min((n + 1) * step);
        Unit::Segment { file, is_last: range.end == bytes, range }
    })
}
