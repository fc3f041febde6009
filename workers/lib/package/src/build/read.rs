//! Reads one portion, cuts it and hashes the chunks. A file that changes meanwhile is read again or refused.

use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use schemas::Digest;

use super::holes;
use super::plan::Unit;
use crate::beneath;
use crate::chunker::{chunks_of_file, first_chunk};
use crate::source_error::BuildError;
use crate::walk::{Extra, Found, FoundKind, Stat, Tree, extra_of, stat_of};
use crate::watch::Watch;

/// A file that changes more often than this while being read is refused.
const READS_MAX: usize = 4;

pub(super) struct Reading<'a> {
    pub tree: &'a Tree,
    pub units: &'a [Unit],
    pub watch: &'a Watch,
}

/// A portion that was read: bytes, and where in them which chunk lies.
pub(super) struct ReadUnit {
    pub data: Vec<u8>,
    pub pieces: Vec<Piece>,
    /// Of `data`, what is zeros without having been read.
    pub hole_bytes: u64,
    pub of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub start: u32,
    pub bytes: u32,
    pub digest: Digest,
}

pub(super) enum Of {
    Files(Vec<ReadFile>),
    /// The first `tail` bytes from the end are in no piece: where they are cut depends on what follows.
    Segment {
        file: u32,
        is_first: bool,
        is_last: bool,
        tail: usize,
    },
}

/// The next `pieces` pieces are this file's.
pub(super) struct ReadFile {
    pub file: u32,
    pub pieces: usize,
    /// If the file changed since it was listed: how it is now.
    pub fresh: Option<Box<Fresh>>,
}

pub(super) struct Fresh {
    pub stat: Stat,
    pub mode: u32,
    pub extra: Option<Box<Extra>>,
}

impl Reading<'_> {
    pub fn read(&self, unit: usize, data: Vec<u8>) -> Result<ReadUnit, BuildError> {
        self.watch.check()?;
        match &self.units[unit] {
            Unit::Batch { files, segment_bytes } => self.read_batch(files, *segment_bytes, data),
            Unit::Segment { file, range, is_last } => self.read_segment(*file, range.clone(), *is_last, data),
        }
    }

    fn read_batch(&self, files: &[u32], bytes_max: u64, mut data: Vec<u8>) -> Result<ReadUnit, BuildError> {
        let mut pieces = Vec::with_capacity(files.len());
        let mut read = Vec::with_capacity(files.len());
        for &file in files {
            let (start, first) = (data.len(), pieces.len());
            let fresh = self.read_file(file, bytes_max, &mut data)?;
            let mut at = start;
            for bytes in chunks_of_file(&data[start..]) {
                pieces.push(piece(&data, at, bytes));
                at += bytes;
            }
            self.watch.done(1, (data.len() - start) as u64);
            read.push(ReadFile { file, pieces: pieces.len() - first, fresh });
        }
        Ok(ReadUnit { data, pieces, hole_bytes: 0, of: Of::Files(read) })
    }

    /// Appends the whole file. Its stat is compared after reading, so that one look says "not changed since listed".
    fn read_file(&self, file: u32, bytes_max: u64, data: &mut Vec<u8>) -> Result<Option<Box<Fresh>>, BuildError> {
        let (entry, listed) = self.entry(file);
        let opened = self.open(entry)?;
        let mut expected = *listed;
        let mut fresh = None;
        for _ in 0..READS_MAX {
            let start = data.len();
            fill(&opened, data, 0, expected.bytes).map_err(|error| self.unreadable(entry, error))?;
            let raw = rustix::fs::fstat(&opened).map_err(|error| self.unreadable(entry, error))?;
            let now = stat_of(&raw);
            if now == expected && (data.len() - start) as u64 == expected.bytes {
                return Ok(fresh);
            }
            let is_file = FileType::from_raw_mode(raw.st_mode) == FileType::RegularFile;
            if !is_file || now.bytes > bytes_max {
                break;
            }
            data.truncate(start);
            expected = now;
            let extra = extra_of(&opened, &raw, self.tree.keeps).map_err(|error| self.unreadable(entry, error))?;
            fresh = Some(Box::new(Fresh { stat: now, mode: raw.st_mode & 0o7777, extra }));
        }
        Err(self.changed(entry))
    }

    fn read_segment(
        &self,
        file: u32,
        range: std::ops::Range<u64>,
        is_last: bool,
        mut data: Vec<u8>,
    ) -> Result<ReadUnit, BuildError> {
        let (entry, listed) = self.entry(file);
        let opened = self.open(entry)?;
        let unreadable = |error| self.unreadable(entry, error);
        let is_hole = entry.is_sparse && holes::is_hole(&opened, &range);
        let hole_bytes = match entry.is_sparse {
            _ if is_hole => range.end - range.start,
            true => holes::fill_written(&opened, &mut data, range.clone()).map_err(unreadable)?,
            false => fill(&opened, &mut data, range.start, range.end - range.start).map_err(unreadable).map(|()| 0)?,
        };
        let now = rustix::fs::fstat(&opened).map_err(|error| self.unreadable(entry, error))?;
        // Parts of two versions would make a file that never was.
        if stat_of(&now) != *listed || (!is_hole && data.len() as u64 != range.end - range.start) {
            return Err(self.changed(entry));
        }
        self.watch.done(u64::from(is_last), range.end - range.start);
        if is_hole {
            let (data, pieces, tail) = holes::zeros(hole_bytes as usize, is_last);
            let of = Of::Segment { file, is_first: range.start == 0, is_last, tail };
            return Ok(ReadUnit { data, pieces, hole_bytes, of });
        }
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < data.len()
            && let Some(bytes) = first_chunk(&data[at..], is_last)
        {
            pieces.push(piece(&data, at, bytes));
            at += bytes;
        }
        let tail = data.len() - at;
        Ok(ReadUnit { data, pieces, hole_bytes, of: Of::Segment { file, is_first: range.start == 0, is_last, tail } })
    }

    fn entry(&self, file: u32) -> (&Found, &Stat) {
        let entry = &self.tree.entries[file as usize];
        match &entry.kind {
            FoundKind::File(stat) => (entry, stat),
            _ => unreachable!("only files are planned for reading"),
        }
    }

    fn open(&self, entry: &Found) -> Result<OwnedFd, BuildError> {
        let root = &self.tree.roots[entry.root as usize];
        // Without NONBLOCK a file that became a FIFO would hold the build for ever.
        let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK;
        let (folder, below) = (root.folder.as_fd(), root.below(&entry.path));
        beneath::open(folder, below, flags, Mode::empty(), ResolveFlags::empty()).map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => self.changed(entry),
            other => self.unreadable(entry, other),
        })
    }

    fn changed(&self, entry: &Found) -> BuildError {
        BuildError::Changed { path: self.tree.roots[entry.root as usize].display(&entry.path) }
    }

    fn unreadable(&self, entry: &Found, error: Errno) -> BuildError {
        BuildError::unreadable(self.tree.roots[entry.root as usize].display(&entry.path), error)
    }
}

pub(super) fn piece(data: &[u8], at: usize, bytes: usize) -> Piece {
    Piece { start: at as u32, bytes: bytes as u32, digest: Digest::of(&data[at..at + bytes]) }
}

/// Appends `bytes` bytes from `offset` on, fewer if the file ends before.
pub(super) fn fill(file: &OwnedFd, data: &mut Vec<u8>, offset: u64, bytes: u64) -> Result<(), Errno> {
    let wanted = data.len() + bytes as usize;
    data.reserve(bytes as usize);
    let start = data.len();
    while data.len() < wanted {
        let at = offset + (data.len() - start) as u64;
        match rustix::io::pread(file, spare_capacity(data), at) {
            Ok(0) => break,
            Ok(_) => {}
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    data.truncate(wanted);
    Ok(())
}
