//! Content of files: written from chunks and compared with chunks, each checked by its digest. It knows not where in
//! the tree a file stands.

use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;
use schemas::Digest;

use crate::index::{Chunk, Index};

use super::error::TreeError;
use super::frames::FrameCache;
use super::held::{Held, HeldReader};
pub(super) use super::sheet::{Sheet, is_zeros};

/// Chunks of an index, from the site's trees if they hold them, else from frames.
pub(super) struct Source<'a> {
    pub index: &'a Index,
    pub frames: FrameCache<'a>,
    pub held: Option<&'a Held>,
}

/// One thread's hold on the source: what it used last.
pub(super) struct Pen<'a> {
    source: &'a Source<'a>,
    held: Option<HeldReader<'a>>,
    frame: Option<(u32, Arc<Vec<u8>>)>,
    buffer: Vec<u8>,
}

impl<'a> Pen<'a> {
    pub fn new(source: &'a Source<'a>) -> Pen<'a> {
        Pen { source, held: source.held.map(Held::reader), frame: None, buffer: Vec::new() }
    }

    /// Writes a file's content from its beginning to its end.
    pub fn write(&mut self, mut sheet: Sheet, refs: &Range<u32>) -> Result<(), TreeError> {
        self.fill(&mut sheet, refs)?;
        sheet.finish()
    }

    /// Writes these chunks where the sheet stands.
    pub fn fill(&mut self, sheet: &mut Sheet, refs: &Range<u32>) -> Result<(), TreeError> {
        let index = self.source.index;
        let chunks: Vec<&Chunk> = index.chunks_of(refs).collect();
        let mut at = 0;
        while at < chunks.len() {
            if sheet.is_sparse && is_zeros(chunks[at]) {
                sheet.skip(chunks[at].bytes.into());
                at += 1;
                continue;
            }
            if self.read_held(&chunks[at].digest) {
                sheet.write(&self.buffer)?;
                at += 1;
                continue;
            }
            let run = run_length(&chunks[at..]);
            self.write_run(sheet, &chunks[at..at + run])?;
            at += run;
        }
        Ok(())
    }

    fn read_held(&mut self, digest: &Digest) -> bool {
        self.held.as_mut().is_some_and(|held| held.read_into(digest, &mut self.buffer))
    }

    /// Chunks that stand together in one frame go out in one call.
    fn write_run(&mut self, sheet: &mut Sheet, run: &[&Chunk]) -> Result<(), TreeError> {
        let (first, last) = (run[0], run[run.len() - 1]);
        let content = self.frame(first.frame)?;
        for chunk in run {
            let bytes = &content[chunk.offset as usize..(chunk.offset + chunk.bytes) as usize];
            if Digest::of(bytes) != chunk.digest {
                return Err(TreeError::ChunkCorrupt { path: sheet.path.into(), digest: chunk.digest });
            }
        }
        sheet.write(&content[first.offset as usize..(last.offset + last.bytes) as usize])
    }

    fn frame(&mut self, frame: u32) -> Result<Arc<Vec<u8>>, TreeError> {
        if let Some((kept, content)) = &self.frame
            && *kept == frame
        {
            return Ok(content.clone());
        }
        let raw_bytes = self.source.index.frames[frame as usize].raw_bytes;
        let content = self.source.frames.get(frame, raw_bytes).map_err(|fault| TreeError::Frame { frame, fault })?;
        self.frame = Some((frame, content.clone()));
        Ok(content)
    }

    /// True if a file holds exactly these chunks.
    pub fn matches(&mut self, file: impl AsFd, refs: &Range<u32>) -> Result<bool, Errno> {
        matches(file, self.source.index, refs, &mut self.buffer)
    }
}

pub(super) fn matches(file: impl AsFd, index: &Index, refs: &Range<u32>, buffer: &mut Vec<u8>) -> Result<bool, Errno> {
    let mut offset = 0;
    for chunk in index.chunks_of(refs) {
        if !read_exact(&file, offset, chunk.bytes, buffer)? || Digest::of(buffer) != chunk.digest {
            return Ok(false);
        }
        offset += u64::from(chunk.bytes);
    }
    Ok(rustix::io::pread(&file, &mut [0u8; 1], offset)? == 0)
}

/// False if the file ends before.
pub(super) fn read_exact(file: impl AsFd, offset: u64, bytes: u32, buffer: &mut Vec<u8>) -> Result<bool, Errno> {
    buffer.resize(bytes as usize, 0);
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::pread(&file, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => return Ok(false),
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

fn run_length(chunks: &[&Chunk]) -> usize {
    let together = |pair: &[&Chunk]| pair[0].frame == pair[1].frame && pair[0].offset + pair[0].bytes == pair[1].offset;
    1 + chunks.windows(2).take_while(|pair| together(pair)).count()
}
