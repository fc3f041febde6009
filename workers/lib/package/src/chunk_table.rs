//! Chunks found by their digests. It holds positions alone, four bytes and a mark for each: the digests stand where the chunks
//! do, and whoever asks shows them.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use schemas::Digest;

use crate::index::Chunk;

#[derive(Debug, Default)]
pub(crate) struct ChunkTable {
    positions: HashTable<u32>,
    /// An index from elsewhere may name any digests, and many that begin alike.
    hash: RandomState,
}

impl ChunkTable {
    pub fn with_capacity(chunks: usize) -> ChunkTable {
        ChunkTable { positions: HashTable::with_capacity(chunks), ..ChunkTable::default() }
    }

    pub fn of(chunks: &[Chunk]) -> ChunkTable {
        let mut table = ChunkTable::with_capacity(chunks.len());
        for (chunk, at) in chunks.iter().zip(0..) {
            table.first(&chunk.digest, at, |at| &chunks[at as usize].digest);
        }
        table
    }

    /// In a table `of` these chunks.
    pub fn find_in(&self, chunks: &[Chunk], digest: &Digest) -> Option<u32> {
        self.find(digest, |at| &chunks[at as usize].digest)
    }

    pub fn find<'a>(&self, digest: &Digest, digest_at: impl Fn(u32) -> &'a Digest) -> Option<u32> {
        self.positions.find(self.hash.hash_one(digest), |&at| digest_at(at) == digest).copied()
    }

    /// The position of the first chunk with this digest: `at`, if there was none.
    pub fn first<'a>(&mut self, digest: &Digest, at: u32, digest_at: impl Fn(u32) -> &'a Digest) -> u32 {
        let hash = &self.hash;
        let slot = self.positions.entry(
            hash.hash_one(digest),
            |&at| digest_at(at) == digest,
            |&at| hash.hash_one(digest_at(at)),
        );
        *slot.or_insert(at).get()
    }
}
