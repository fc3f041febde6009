//! Patches of frames: the content of some, against chunks of the base revision. Applying one gives exactly the frames that
//! the index names, as a builder stored them, or nothing: their digests decide. It knows no store and no tree.

use std::ops::Range;

use super::delta;
use super::name::{PatchName, open, seal};
use crate::error::FormatError;
use crate::frame::FrameEncoder;
use crate::index::{Chunk, Index};
use crate::limits::{PATCH_BASE_BYTES_MAX, PATCH_BYTES_MAX, PATCH_PARTS_MAX, PATCH_REGION_BYTES_MAX};
use crate::wire::{Reader, put_signed, put_varint};

const WHAT: &str = "a frame patch";
/// Measured on 33 MB of new frames: 3 gives 11.9 MB in 0.4 s, 5 gives 11.7 MB in 0.9 s, 9 gives 11.6 MB in 1.8 s; 19 gave 11.0 MB in 39 s.
const LEVEL: i32 = 5;
/// A region is offered if it spares at least one byte in so many.
const WORTH: u64 = 10;

/// Frames of the new index and chunks of the base index (positions), compared with each other as two pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Region {
    /// Ascending.
    pub frames: Vec<u32>,
    pub bases: Vec<u32>,
}

impl Region {
    pub fn content_bytes(&self, new: &Index) -> u64 {
        self.frames.iter().map(|&at| u64::from(new.frames[at as usize].raw_bytes)).sum()
    }

    pub fn stored_bytes(&self, new: &Index) -> u64 {
        self.frames.iter().map(|&at| u64::from(new.frames[at as usize].stored_bytes)).sum()
    }

    pub fn base_bytes(&self, base: &[Chunk]) -> u64 {
        self.bases.iter().map(|&at| u64::from(base[at as usize].bytes)).sum()
    }

    /// `content` against `base`: what the region's frames and its chunks hold. `None` if it is not worth it.
    pub fn compare(&self, new: &Index, base: &[u8], content: &[u8]) -> Option<Vec<u8>> {
        let delta = delta::make(base, content, LEVEL)?;
        let stored_bytes = self.stored_bytes(new);
        (delta.len() as u64 <= stored_bytes - stored_bytes / WORTH).then_some(delta)
    }
}

/// Puts a part together.
#[derive(Debug, Default)]
pub struct PartWriter {
    regions: u64,
    table: Vec<u8>,
    deltas: Vec<u8>,
    next_frame: u32,
    next_base: i64,
}

impl PartWriter {
    /// Regions come in the order of their frames. One that would make the part too large is left out.
    pub fn add(&mut self, region: &Region, delta: &[u8]) {
        if (self.table.len() + self.deltas.len() + delta.len()) as u64 > PATCH_BYTES_MAX / 2 {
            return;
        }
        self.regions += 1;
        put_varint(&mut self.table, region.frames.len() as u64);
        for &frame in &region.frames {
            put_varint(&mut self.table, (frame - self.next_frame).into());
            self.next_frame = frame + 1;
        }
        put_varint(&mut self.table, region.bases.len() as u64);
        for &base in &region.bases {
            put_signed(&mut self.table, i64::from(base) - self.next_base);
            self.next_base = i64::from(base) + 1;
        }
        put_varint(&mut self.table, delta.len() as u64);
        self.deltas.extend_from_slice(delta);
    }

    pub fn is_empty(&self) -> bool {
        self.regions == 0
    }

    /// The object to store, under the name's digest. `parts` is how many there are in all.
    pub fn finish(self, name: &PatchName, parts: u32) -> Vec<u8> {
        let mut body = Vec::with_capacity(16 + self.table.len() + self.deltas.len());
        put_varint(&mut body, parts.into());
        put_varint(&mut body, self.regions);
        body.extend_from_slice(&self.table);
        body.extend_from_slice(&self.deltas);
        seal(name, &body)
    }
}

/// A part that was read: everything that it names exists.
#[derive(Debug, PartialEq, Eq)]
pub struct FramesPatch {
    pub parts: u32,
    pub regions: Vec<(Region, Range<usize>)>,
    deltas_at: usize,
}

impl FramesPatch {
    /// Reads the table of the object with this name.
    pub fn open(name: &PatchName, object: &[u8], base: &[Chunk], new: &Index) -> Result<FramesPatch, FormatError> {
        let body = open(name, object)?;
        let mut reader = Reader::new(body);
        let parts = reader.u32("the number of parts")?;
        if parts > PATCH_PARTS_MAX || name.part >= parts {
            return Err(FormatError::damaged(WHAT, format!("part {} of {parts}", name.part)));
        }
        let count = reader.count("regions", 4, new.frames.len())?;
        let mut table = TableReader { base, new, next_frame: 0, next_base: 0, deltas_end: 0 };
        let regions: Vec<_> = (0..count).map(|_| table.region(&mut reader)).collect::<Result<_, _>>()?;
        if reader.left() != table.deltas_end {
            return Err(FormatError::damaged(WHAT, "it is not as long as its regions say"));
        }
        // The body lies within the object, and the deltas end it.
        let head = body.as_ptr() as usize - object.as_ptr() as usize;
        Ok(FramesPatch { parts, regions, deltas_at: head + body.len() - reader.left() })
    }

    /// The frames of a region, by position, as they are stored; `base` is what its chunks hold, one after the other.
    pub fn frames(
        &self,
        region: usize,
        object: &[u8],
        base: &[u8],
        new: &Index,
    ) -> Result<Vec<(u32, Vec<u8>)>, FormatError> {
        let content = self.content(region, object, base, new)?;
        let frames_wanted = &self.regions[region].0.frames;
        let mut encoder = FrameEncoder::new();
        let mut frames = Vec::with_capacity(frames_wanted.len());
        let mut rest = &content[..];
        for &at in frames_wanted {
            let frame = &new.frames[at as usize];
            let (raw, after) = rest.split_at(frame.raw_bytes as usize);
            let stored = encoder.encode(raw, Vec::new());
            if stored.digest != frame.digest {
                let (expected, found) = (frame.digest, stored.digest);
                return Err(FormatError::DigestMismatch { what: "a patched frame", expected, found });
            }
            frames.push((at, stored.bytes));
            rest = after;
        }
        Ok(frames)
    }

    /// What the patch says that a region's frames hold, one after the other: nothing vouches for it but the patch.
    pub fn content(&self, region: usize, object: &[u8], base: &[u8], new: &Index) -> Result<Vec<u8>, FormatError> {
        let (region, delta) = &self.regions[region];
        let delta = &object[self.deltas_at + delta.start..self.deltas_at + delta.end];
        delta::apply(WHAT, base, delta, region.content_bytes(new) as usize)
    }
}

struct TableReader<'a> {
    base: &'a [Chunk],
    new: &'a Index,
    next_frame: u64,
    next_base: i64,
    deltas_end: usize,
}

impl TableReader<'_> {
    fn region(&mut self, reader: &mut Reader) -> Result<(Region, Range<usize>), FormatError> {
        let region = Region { frames: self.frames(reader)?, bases: self.bases(reader)? };
        if region.frames.is_empty() {
            return Err(FormatError::damaged(WHAT, "a region brings nothing"));
        }
        let within = region.content_bytes(self.new) <= PATCH_REGION_BYTES_MAX;
        if !within || region.base_bytes(self.base) > PATCH_BASE_BYTES_MAX {
            return Err(FormatError::damaged(WHAT, "a region is too large"));
        }
        let bytes = reader.varint()?;
        if bytes > PATCH_BYTES_MAX {
            return Err(FormatError::damaged(WHAT, "a region has an impossible length"));
        }
        let delta = self.deltas_end..self.deltas_end + bytes as usize;
        self.deltas_end = delta.end;
        Ok((region, delta))
    }

    fn frames(&mut self, reader: &mut Reader) -> Result<Vec<u32>, FormatError> {
        let count = reader.count("frames", 1, self.new.frames.len())?;
        let mut frames = Vec::with_capacity(count);
        for _ in 0..count {
            let at = self.next_frame.saturating_add(reader.varint()?);
            if at >= self.new.frames.len() as u64 {
                return Err(FormatError::damaged(WHAT, format!("frame {at} does not exist")));
            }
            frames.push(at as u32);
            self.next_frame = at + 1;
        }
        Ok(frames)
    }

    fn bases(&mut self, reader: &mut Reader) -> Result<Vec<u32>, FormatError> {
        let count = reader.count("chunks", 1, usize::MAX)?;
        let mut bases = Vec::with_capacity(count);
        for _ in 0..count {
            let at = self.next_base.wrapping_add(reader.signed()?);
            let known = u32::try_from(at).ok().filter(|&at| (at as usize) < self.base.len());
            bases.push(known.ok_or_else(|| FormatError::damaged(WHAT, format!("chunk {at} does not exist")))?);
            self.next_base = at + 1;
        }
        Ok(bases)
    }
}
