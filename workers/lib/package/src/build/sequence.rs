//! Takes the portions in order: which chunks are new, into which frame they go, and where two parts of a large file
//! meet. It knows no thread and compresses nothing.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::sync::Arc;

use schemas::Digest;

use super::buffer::{Buffer, Pool};
use super::read::{Fresh, Of, Piece, ReadFile, ReadUnit, piece};
use crate::chunker::first_chunk;
use crate::index::{Chunk, Index};
use crate::limits::{CHUNK_BYTES_MAX, FRAME_RAW_BYTES_TARGET};

/// A frame's content, in pieces, on its way to compression.
pub(super) struct RawFrame {
    pub slices: Vec<(Arc<Buffer>, Range<usize>)>,
    pub bytes: usize,
}

pub(super) struct Sequence {
    /// Chunks have numbers: those of the previous index first, then new ones. What is lost is not known by its old one.
    numbers: HashMap<Digest, u32, BuildHasherDefault<DigestHasher>>,
    next_number: u32,
    /// `frame` counts from 0 among the new ones.
    pub new_chunks: Vec<Chunk>,
    pub new_frames: u32,
    /// Chunk numbers of the files that were read, one file after the other.
    pub refs: Vec<u32>,
    pub files: Vec<SequencedFile>,
    pub bytes_read: u64,
    open: RawFrame,
    /// End of the last part of a large file that is not cut yet, and where that file's refs begin.
    carry: Vec<u8>,
    refs_start: usize,
    pool: Pool,
}

/// One for each file that was read: as small as it can be.
pub(super) struct SequencedFile {
    pub file: u32,
    /// An index names fewer than 2^32.
    pub refs: Range<u32>,
    pub fresh: Option<Box<Fresh>>,
}

impl Sequence {
    pub fn new(previous: Option<&Index>, lost: &HashSet<Digest>, will_read: bool, pool: Pool) -> Sequence {
        let chunks = previous.map_or(&[][..], |index| &index.chunks);
        let known = if will_read { chunks } else { &[] };
        let is_lost = |chunk: &Chunk| previous.is_some_and(|index| lost.contains(&index.pack_of(chunk).digest));
        let stored = known.iter().zip(0u32..).filter(|(chunk, _)| !is_lost(chunk));
        let mut numbers = HashMap::with_capacity_and_hasher(known.len(), BuildHasherDefault::default());
        numbers.extend(stored.map(|(chunk, number)| (chunk.digest, number)));
        Sequence {
            numbers,
            next_number: chunks.len() as u32,
            new_chunks: Vec::new(),
            new_frames: 0,
            refs: Vec::new(),
            files: Vec::new(),
            bytes_read: 0,
            open: RawFrame { slices: Vec::new(), bytes: 0 },
            carry: Vec::new(),
            refs_start: 0,
            pool,
        }
    }

    /// Frames that are full are added to `full`.
    pub fn take(&mut self, unit: ReadUnit, full: &mut Vec<RawFrame>) {
        self.bytes_read += unit.data.len() as u64 - unit.hole_bytes;
        match unit.of {
            Of::Files(files) => self.take_files(unit.data, &unit.pieces, files, full),
            Of::Segment { file, is_first, is_last, tail } => {
                if is_first {
                    self.refs_start = self.refs.len();
                }
                self.take_segment(unit.data, unit.pieces, tail, is_last, full);
                if is_last {
                    let refs = self.refs_start as u32..self.refs.len() as u32;
                    self.files.push(SequencedFile { file, refs, fresh: None });
                }
            }
        }
    }

    /// The last frame, if anything is in it. Nothing is looked up any more.
    pub fn finish(&mut self, full: &mut Vec<RawFrame>) {
        self.numbers = HashMap::default();
        if self.open.bytes > 0 {
            self.close_frame(full);
        }
    }

    fn take_files(&mut self, data: Vec<u8>, pieces: &[Piece], files: Vec<ReadFile>, full: &mut Vec<RawFrame>) {
        let mut start = self.refs.len();
        for ReadFile { file, pieces, fresh } in files {
            self.files.push(SequencedFile { file, refs: start as u32..(start + pieces) as u32, fresh });
            start += pieces;
        }
        self.store(data, pieces, full);
    }

    /// A part is cut as if the file began there. Where the part before ends, that is wrong until a cut falls together
    /// with a right one; from there on all are right.
    fn take_segment(
        &mut self,
        data: Vec<u8>,
        pieces: Vec<Piece>,
        tail: usize,
        is_last: bool,
        full: &mut Vec<RawFrame>,
    ) {
        let joint = join(std::mem::take(&mut self.carry), &data, &pieces, tail, is_last);
        let right = &pieces[joint.first_right..];
        self.carry = joint.carry;
        self.store(joint.data, &joint.pieces, full);
        self.store(data, right, full);
    }

    fn store(&mut self, data: Vec<u8>, pieces: &[Piece], full: &mut Vec<RawFrame>) {
        let mut new: Vec<(Piece, u32)> = Vec::new();
        for piece in pieces {
            let number = match self.numbers.entry(piece.digest) {
                Slot::Occupied(slot) => *slot.get(),
                Slot::Vacant(slot) => {
                    new.push((*piece, self.next_number));
                    self.next_number = self.next_number.checked_add(1).expect("fewer than 2^32 chunks");
                    *slot.insert(self.next_number - 1)
                }
            };
            self.refs.push(number);
        }
        if new.is_empty() {
            return self.pool.give(data);
        }
        let (buffer, new) = self.compact(data, new);
        for piece in new {
            let range = piece.start as usize..(piece.start + piece.bytes) as usize;
            self.add_chunk(piece, &buffer, range, full);
        }
    }

    /// A few new chunks would hold a whole buffer while they wait for compression.
    fn compact(&self, data: Vec<u8>, new: Vec<(Piece, u32)>) -> (Arc<Buffer>, Vec<Piece>) {
        let new_bytes: usize = new.iter().map(|(piece, _)| piece.bytes as usize).sum();
        let mut pieces: Vec<Piece> = new.into_iter().map(|(piece, _)| piece).collect();
        if new_bytes * 2 >= data.len() {
            return (self.pool.share(data), pieces);
        }
        let mut small = Vec::with_capacity(new_bytes);
        for piece in &mut pieces {
            let from = piece.start as usize;
            piece.start = small.len() as u32;
            small.extend_from_slice(&data[from..from + piece.bytes as usize]);
        }
        self.pool.give(data);
        (Pool::default().share(small), pieces)
    }

    fn add_chunk(&mut self, piece: Piece, buffer: &Arc<Buffer>, range: Range<usize>, full: &mut Vec<RawFrame>) {
        let (frame, offset) = (self.new_frames, self.open.bytes as u32);
        self.new_chunks.push(Chunk { digest: piece.digest, bytes: piece.bytes, frame, offset });
        self.open.bytes += range.len();
        match self.open.slices.last_mut() {
            Some((last, before)) if Arc::ptr_eq(last, buffer) && before.end == range.start => before.end = range.end,
            _ => self.open.slices.push((buffer.clone(), range)),
        }
        if self.open.bytes >= FRAME_RAW_BYTES_TARGET {
            self.close_frame(full);
        }
    }

    fn close_frame(&mut self, full: &mut Vec<RawFrame>) {
        full.push(std::mem::replace(&mut self.open, RawFrame { slices: Vec::new(), bytes: 0 }));
        self.new_frames += 1;
    }
}

/// What lies over the end of one part and the beginning of the next.
struct Joint {
    data: Vec<u8>,
    pieces: Vec<Piece>,
    /// From this piece of the next part on, all are right.
    first_right: usize,
    /// What is not cut yet, for the part after.
    carry: Vec<u8>,
}

fn join(carry: Vec<u8>, data: &[u8], pieces: &[Piece], tail: usize, is_last: bool) -> Joint {
    let uncut = |from: usize| data[from..].to_vec();
    if carry.is_empty() {
        return Joint { data: carry, pieces: Vec::new(), first_right: 0, carry: uncut(data.len() - tail) };
    }
    let carried = carry.len();
    let mut joined = carry;
    let mut cuts = Vec::new();
    let mut at = 0;
    loop {
        // A cut never depends on more than the largest chunk.
        let room = (at + CHUNK_BYTES_MAX).saturating_sub(carried).min(data.len());
        joined.extend_from_slice(&data[(joined.len() - carried).min(room)..room]);
        let is_end = is_last && room == data.len();
        if at == joined.len() && room == data.len() {
            break Joint { first_right: pieces.len(), carry: Vec::new(), pieces: hashed(&joined, &cuts), data: joined };
        }
        let Some(bytes) = first_chunk(&joined[at..], is_end) else {
            break Joint {
                first_right: pieces.len(),
                carry: joined[at..].to_vec(),
                pieces: hashed(&joined, &cuts),
                data: joined,
            };
        };
        cuts.push((at, bytes));
        at += bytes;
        if let Some(first_right) = at.checked_sub(carried).and_then(|here| right_from(here, data, pieces, tail)) {
            break Joint { first_right, carry: uncut(data.len() - tail), pieces: hashed(&joined, &cuts), data: joined };
        }
    }
}

/// The piece that begins here, if one does, or the number of pieces if the uncut tail does.
fn right_from(here: usize, data: &[u8], pieces: &[Piece], tail: usize) -> Option<usize> {
    match pieces.binary_search_by(|piece| (piece.start as usize).cmp(&here)) {
        Ok(at) => Some(at),
        Err(at) => (at == pieces.len() && here == data.len() - tail).then_some(at),
    }
}

fn hashed(data: &[u8], cuts: &[(usize, usize)]) -> Vec<Piece> {
    cuts.iter().map(|&(at, bytes)| piece(data, at, bytes)).collect()
}

/// Digests are random already.
#[derive(Default)]
pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunker::chunks_of_file;

    fn noise(seed: &[u8], bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        blake3::Hasher::new().update(seed).finalize_xof().fill(&mut out);
        out
    }

    fn cut_in_parts(whole: &[u8], part_bytes: usize) -> Vec<usize> {
        let mut sequence = Sequence::new(None, &HashSet::new(), true, Pool::default());
        let parts = whole.len().div_ceil(part_bytes);
        let mut full = Vec::new();
        for (n, part) in whole.chunks(part_bytes).enumerate() {
            let is_last = n + 1 == parts;
            let (mut pieces, mut at) = (Vec::new(), 0);
            while at < part.len()
                && let Some(bytes) = first_chunk(&part[at..], is_last)
            {
                pieces.push(piece(part, at, bytes));
                at += bytes;
            }
            let of = Of::Segment { file: 0, is_first: n == 0, is_last, tail: part.len() - at };
            sequence.take(ReadUnit { data: part.to_vec(), pieces, hole_bytes: 0, of }, &mut full);
        }
        assert_eq!(sequence.files[0].refs, 0..sequence.refs.len() as u32);
        sequence.refs.iter().map(|&number| sequence.new_chunks[number as usize].bytes as usize).collect()
    }

    #[test]
    fn a_file_cut_in_parts_is_cut_as_a_whole_one() {
        let mut mixed = noise(b"a", 900_000);
        mixed.extend(vec![0; 700_000]);
        mixed.extend(noise(b"b", 333_333));
        mixed.extend(vec![7; 20_001]);
        for whole in [noise(b"c", 2_000_000), vec![0; 1_700_001], mixed] {
            for part_bytes in [70_000, 100_001, 262_144, 300_000, 524_288, 1_000_000, 1_999_999] {
                assert_eq!(cut_in_parts(&whole, part_bytes), chunks_of_file(&whole), "{} in {part_bytes}", whole.len());
            }
        }
    }
}
