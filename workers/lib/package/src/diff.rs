//! Questions about one or two indexes: what differs, what is lacking, which ranges of which packs to fetch. Pure
//! functions; it knows no store and no target.

use std::ops::Range;

use schemas::Digest;

use crate::extras::same_owner_and_attributes;
use crate::index::{Entry, EntryKind, Index};

/// Positions of entries, in order of their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// In the new index only.
    pub added: Vec<u32>,
    pub changed: Vec<Changed>,
    /// In the old index only.
    pub removed: Vec<u32>,
}

/// An entry that both have, and that is not the same in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    pub old: u32,
    pub new: u32,
    /// Its kind, a file's content, or what a link says. If false, only mode or time differ.
    pub content: bool,
    pub mode: bool,
    pub mtime: bool,
    /// Owner, extended attributes, or of which file it is a further name.
    pub extras: bool,
}

impl Diff {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

pub fn diff(old: &Index, new: &Index) -> Diff {
    let mut diff = Diff::default();
    let (mut o, mut n) = (0, 0);
    while o < old.entries.len() || n < new.entries.len() {
        match (old.entries.get(o), new.entries.get(n)) {
            (Some(a), Some(b)) if a.path == b.path => {
                diff.changed.extend(changed(old, a, o, new, b, n));
                (o, n) = (o + 1, n + 1);
            }
            (Some(a), b) if b.is_none_or(|b| a.path < b.path) => {
                diff.removed.push(o as u32);
                o += 1;
            }
            _ => {
                diff.added.push(n as u32);
                n += 1;
            }
        }
    }
    diff
}

fn changed(old: &Index, a: &Entry, o: usize, new: &Index, b: &Entry, n: usize) -> Option<Changed> {
    let content = !same_content(old, &a.kind, new, &b.kind);
    let (mode, mtime) = (a.mode != b.mode, a.mtime_ns != b.mtime_ns);
    let extras = !same_extras(old, o as u32, new, n as u32);
    (content || mode || mtime || extras).then_some(Changed {
        old: o as u32,
        new: n as u32,
        content,
        mode,
        mtime,
        extras,
    })
}

/// How a file is allocated on disk is no difference.
fn same_extras(old: &Index, o: u32, new: &Index, n: u32) -> bool {
    let first =
        |index: &'_ Index, at: u32| index.extras.first_of(at).map(|first| index.entries[first as usize].path.clone());
    same_owner_and_attributes(old, o, new, n) && first(old, o) == first(new, n)
}

/// True if both are of one kind and hold the same: by digests, wherever the chunks lie.
pub fn same_content(old: &Index, a: &EntryKind, new: &Index, b: &EntryKind) -> bool {
    match (a, b) {
        (EntryKind::Directory, EntryKind::Directory) => true,
        (EntryKind::Link { target: a }, EntryKind::Link { target: b }) => a == b,
        (EntryKind::File { bytes: a_bytes, refs: a }, EntryKind::File { bytes: b_bytes, refs: b }) => {
            a_bytes == b_bytes && old.chunks_of(a).map(|c| c.digest).eq(new.chunks_of(b).map(|c| c.digest))
        }
        _ => false,
    }
}

/// The frames that a store lacks, in order; `held` is asked for each frame's digest.
pub fn needed_frames(index: &Index, held: impl Fn(&Digest) -> bool) -> Vec<u32> {
    (0..index.frames.len() as u32).filter(|&at| !held(&index.frames[at as usize].digest)).collect()
}

/// Those of `among` (frames, in order) that hold at least one of the chunks that are lacking, in order; `held` is asked for
/// the digest of each chunk of these frames, and of no other: an answer may cost a look at a file.
pub fn frames_lacking_chunks(index: &Index, among: &[u32], held: impl Fn(&Digest) -> bool) -> Vec<u32> {
    let lacks = |frame: &u32| {
        let first = index.chunks.partition_point(|chunk| chunk.frame < *frame);
        index.chunks[first..].iter().take_while(|chunk| chunk.frame == *frame).any(|chunk| !held(&chunk.digest))
    };
    among.iter().copied().filter(lacks).collect()
}

/// The frames that these entries (positions) need, in order, each once.
pub fn frames_of_entries(index: &Index, entries: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let mut wanted = vec![false; index.frames.len()];
    for at in entries {
        if let EntryKind::File { refs, .. } = &index.entries[at as usize].kind {
            index.chunks_of(refs).for_each(|chunk| wanted[chunk.frame as usize] = true);
        }
    }
    (0..wanted.len() as u32).filter(|&at| wanted[at as usize]).collect()
}

/// One request's worth: a part of a pack, and the frames in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRange {
    /// Position in `Index::packs`.
    pub pack: u32,
    pub range: Range<u64>,
    /// Positions in `Index::frames`, in order.
    pub frames: Vec<u32>,
}

impl PackRange {
    /// Where a frame of it lies in the bytes of the range.
    pub fn within(&self, index: &Index, frame: u32) -> Range<usize> {
        let frame = &index.frames[frame as usize];
        let start = (frame.offset - self.range.start) as usize;
        start..start + frame.stored_bytes as usize
    }
}

/// Joins neighbours: frames (positions, in order) of one pack with at most `gap_bytes_max` unwanted bytes between them
/// become one range, up to `range_bytes_max` (a single frame may be longer).
pub fn ranges(index: &Index, frames: &[u32], gap_bytes_max: u64, range_bytes_max: u64) -> Vec<PackRange> {
    let mut ranges: Vec<PackRange> = Vec::new();
    for &at in frames {
        let frame = &index.frames[at as usize];
        let end = frame.offset + u64::from(frame.stored_bytes);
        match ranges.last_mut() {
            Some(last)
                if last.pack == frame.pack
                    && frame.offset >= last.range.end
                    && frame.offset - last.range.end <= gap_bytes_max
                    && end - last.range.start <= range_bytes_max =>
            {
                last.range.end = end;
                last.frames.push(at);
            }
            _ => ranges.push(PackRange { pack: frame.pack, range: frame.offset..end, frames: vec![at] }),
        }
    }
    ranges
}
