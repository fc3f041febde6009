//! A new file that is filled from its beginning. Of a sparse one, blocks of zeros are left out: they are holes. It knows
//! not where the bytes come from.

use std::os::fd::BorrowedFd;
use std::sync::OnceLock;

use rustix::io::Errno;
use schemas::Digest;

use crate::index::Chunk;
use crate::limits::CHUNK_BYTES_MAX;

use super::calls;
use super::error::TreeError;

/// Zeros as long as this, at a multiple of it, become a hole: a block of the common file systems.
const HOLE_BYTES: usize = 4 << 10;

pub(super) struct Sheet<'a> {
    file: BorrowedFd<'a>,
    /// For messages.
    pub path: &'a str,
    pub is_sparse: bool,
    at: u64,
}

impl<'a> Sheet<'a> {
    pub fn new(file: BorrowedFd<'a>, path: &'a str, is_sparse: bool) -> Sheet<'a> {
        Sheet { file, path, is_sparse, at: 0 }
    }

    /// Filled from there on, by one of several.
    pub fn from(self, offset: u64) -> Sheet<'a> {
        Sheet { at: offset, ..self }
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), TreeError> {
        if !self.is_sparse {
            return self.put(bytes);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let (is_hole, run) = self.run(rest);
            if is_hole {
                self.skip(run as u64)
            } else {
                self.put(&rest[..run])?
            }
            rest = &rest[run..];
        }
        Ok(())
    }

    /// So many zeros that are not written.
    pub fn skip(&mut self, bytes: u64) {
        self.at += bytes;
    }

    /// A hole at the end is only a length.
    pub fn finish(self) -> Result<(), TreeError> {
        if !self.is_sparse {
            return Ok(());
        }
        calls::ftruncate(self.file, self.at).map_err(|errno| TreeError::of("write", self.path, errno))
    }

    /// How many of the bytes go the same way: parts of blocks that are zeros, or that are not. A block is a hole if all
    /// of its parts are zeros, whatever their number.
    fn run(&self, bytes: &[u8]) -> (bool, usize) {
        let to_block = HOLE_BYTES - (self.at % HOLE_BYTES as u64) as usize;
        let mut end = to_block.min(bytes.len());
        let is_hole = is_zero(&bytes[..end]);
        while end < bytes.len() {
            let next = (end + HOLE_BYTES).min(bytes.len());
            if is_zero(&bytes[end..next]) != is_hole {
                break;
            }
            end = next;
        }
        (is_hole, end)
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), TreeError> {
        while !bytes.is_empty() {
            match calls::pwrite(self.file, bytes, self.at) {
                Ok(0) => return Err(TreeError::of("write", self.path, Errno::IO)),
                Ok(written) => {
                    self.at += written as u64;
                    bytes = &bytes[written..];
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(TreeError::of("write", self.path, errno)),
            }
        }
        Ok(())
    }
}

/// Of at most a block.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; HOLE_BYTES] = [0; HOLE_BYTES];
    *bytes == ZEROS[..bytes.len()]
}

/// True for a chunk of the largest size that is all zeros: a long hole is made of these, and costs no look at them.
pub(super) fn is_zeros(chunk: &Chunk) -> bool {
    static DIGEST: OnceLock<Digest> = OnceLock::new();
    let digest = || *DIGEST.get_or_init(|| Digest::of(&vec![0; CHUNK_BYTES_MAX]));
    chunk.bytes as usize == CHUNK_BYTES_MAX && chunk.digest == digest()
}
