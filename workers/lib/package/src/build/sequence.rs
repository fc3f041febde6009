//! Takes the portions in order: which chunks are new, into which frame they go, and where two parts of a large file
//! meet. It knows no thread and compresses nothing.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use schemas::Digest;

use super::buffer::{Buffer, Pool};
use super::read::{Fresh, Of, Piece, ReadFile, ReadUnit, piece};
use crate::chunk_table::ChunkTable;
use crate::chunker::first_chunk;
use crate::index::{Chunk, Index};
use crate::limits::{CHUNK_BYTES_MAX, FRAME_RAW_BYTES_TARGET};

/// A frame's content, in pieces, on its way to compression.
pub(super) struct RawFrame {
    pub slices: Vec<(Arc<Buffer>, Range<usize>)>,
    pub bytes: usize,
}

pub(super) struct Sequence<'a> {
    /// Chunks have numbers: those of the previous index first, then new ones. What is lost is not known by its old one.
    numbers: ChunkTable,
    known: &'a [Chunk],
    /// `frame` counts from 0 among the new ones.
    pub new_chunks: Vec<Chunk>,
    /// Of those, the ones that have a place in a frame.
    placed: usize,
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

impl<'a> Sequence<'a> {
    pub fn new(previous: Option<&'a Index>, lost: &HashSet<Digest>, will_read: bool, pool: Pool) -> Sequence<'a> {
        let known = previous.map_or(&[][..], |index| &index.chunks);
        let is_lost = |chunk: &Chunk| previous.is_some_and(|index| lost.contains(&index.pack_of(chunk).digest));
        let looked_up = if will_read { known } else { &[] };
        let mut numbers = ChunkTable::with_capacity(looked_up.len());
        for (chunk, number) in looked_up.iter().zip(0..).filter(|(chunk, _)| !is_lost(chunk)) {
            numbers.first(&chunk.digest, number, |at| &known[at as usize].digest);
        }
        Sequence {
            numbers,
            known,
            new_chunks: Vec::new(),
            placed: 0,
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
        self.numbers = ChunkTable::default();
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
        let mut new: Vec<Piece> = Vec::new();
        for piece in pieces {
            let number = self.number(piece);
            if (number as usize) == self.known.len() + self.new_chunks.len() {
                self.new_chunks.push(Chunk { digest: piece.digest, bytes: piece.bytes, frame: 0, offset: 0 });
                new.push(*piece);
            }
            self.refs.push(number);
        }
        if new.is_empty() {
            return self.pool.give(data);
        }
        let (buffer, new) = self.compact(data, new);
        for piece in new {
            let range = piece.start as usize..(piece.start + piece.bytes) as usize;
            self.place_chunk(&buffer, range, full);
        }
    }

    /// The next one if its content is new.
    fn number(&mut self, piece: &Piece) -> u32 {
        let next = u32::try_from(self.known.len() + self.new_chunks.len()).expect("fewer than 2^32 chunks");
        let (known, new) = (self.known, &self.new_chunks);
        self.numbers.first(&piece.digest, next, |at| match known.get(at as usize) {
            Some(chunk) => &chunk.digest,
            None => &new[at as usize - known.len()].digest,
        })
    }

    /// A few new chunks would hold a whole buffer while they wait for compression.
    fn compact(&self, data: Vec<u8>, mut pieces: Vec<Piece>) -> (Arc<Buffer>, Vec<Piece>) {
        let new_bytes: usize = pieces.iter().map(|piece| piece.bytes as usize).sum();
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

    /// The next new chunk comes into the open frame.
    fn place_chunk(&mut self, buffer: &Arc<Buffer>, range: Range<usize>, full: &mut Vec<RawFrame>) {
        let chunk = &mut self.new_chunks[self.placed];
        (chunk.frame, chunk.offset) = (self.new_frames, self.open.bytes as u32);
        self.placed += 1;
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
