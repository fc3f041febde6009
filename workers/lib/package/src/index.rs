//! The index of a revision: what its tree holds, and where the bytes are. In memory it is flat tables with positions
//! instead of pointers, so that a million files load fast and cost little.

use std::ops::Range;

use schemas::{Digest, PackRef};

use crate::extras::Extras;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// Sorted by the bytes of their paths; a directory stands before what is in it. The first is the root, path "".
    pub entries: Vec<Entry>,
    /// Chunk positions of all files, one after the other; a file names a range of it.
    pub chunk_refs: Vec<u32>,
    /// Each distinct chunk once, in order of (frame, offset).
    pub chunks: Vec<Chunk>,
    /// In order of (pack, offset). Every one holds a chunk that a file names.
    pub frames: Vec<Frame>,
    /// Every one holds a frame.
    pub packs: Vec<PackRef>,
    pub extras: Extras,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative, UTF-8, parts joined by `/`, none of them empty, `.` or `..`.
    pub path: String,
    pub kind: EntryKind,
    /// Permission bits (07777).
    pub mode: u32,
    /// Nanoseconds since 1970.
    pub mtime_ns: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    Directory,
    File {
        bytes: u64,
        /// Positions in `chunk_refs`.
        refs: Range<u32>,
    },
    /// A symbolic link and what it says.
    Link {
        target: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Of its content.
    pub digest: Digest,
    pub bytes: u32,
    /// Position in `frames`, and where it begins in that frame's content.
    pub frame: u32,
    pub offset: u32,
}

/// Chunks compressed together: the unit of fetching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Of its stored (compressed) bytes.
    pub digest: Digest,
    /// Position in `packs`, and where its stored bytes begin in that pack.
    pub pack: u32,
    pub offset: u64,
    pub stored_bytes: u32,
    /// Uncompressed.
    pub raw_bytes: u32,
}

/// Figures of a whole revision, as its header repeats them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub files: u64,
    pub directories: u64,
    pub links: u64,
    /// Content, uncompressed; that of a file with several names once.
    pub bytes: u64,
    /// All frames, compressed.
    pub stored_bytes: u64,
}

impl Index {
    /// The chunks of a file, in order.
    pub fn chunks_of(&self, refs: &Range<u32>) -> impl ExactSizeIterator<Item = &Chunk> {
        self.chunk_refs[refs.start as usize..refs.end as usize].iter().map(|&i| &self.chunks[i as usize])
    }

    /// Where a chunk of this index lies.
    pub fn pack_of(&self, chunk: &Chunk) -> &PackRef {
        &self.packs[self.frames[chunk.frame as usize].pack as usize]
    }

    /// The position of the entry with this path.
    pub fn find(&self, path: &str) -> Option<usize> {
        self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()
    }

    /// What an entry takes on a disk, as far as that is known: a sparse file takes what it takes.
    pub fn room_bytes(&self, at: u32) -> u64 {
        match self.entries[at as usize].kind {
            EntryKind::File { bytes, .. } if !self.extras.is_sparse(at) => bytes,
            _ => 0,
        }
    }

    /// The positions in `chunks` that lie in a frame: they stand together, in order of their offsets.
    pub fn chunks_in(&self, frame: u32) -> Range<usize> {
        let start = self.chunks.partition_point(|chunk| chunk.frame < frame);
        start..start + self.chunks[start..].partition_point(|chunk| chunk.frame == frame)
    }

    pub fn totals(&self) -> Totals {
        let mut totals =
            Totals { stored_bytes: self.frames.iter().map(|f| u64::from(f.stored_bytes)).sum(), ..Totals::default() };
        for (at, entry) in self.entries.iter().enumerate() {
            match &entry.kind {
                EntryKind::Directory => totals.directories += 1,
                EntryKind::Link { .. } => totals.links += 1,
                EntryKind::File { bytes, .. } => {
                    totals.files += 1;
                    let is_counted = self.extras.first_of(at as u32).is_some();
                    totals.bytes = totals.bytes.saturating_add(if is_counted { 0 } else { *bytes });
                }
            }
        }
        totals
    }
}
