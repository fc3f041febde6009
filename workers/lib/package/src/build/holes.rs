//! Parts of a file that were never written: they are zeros without being read. It cuts and hashes as `read` does.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use schemas::Digest;

use super::read::{Piece, fill, piece};
use crate::chunker::first_chunk;
use crate::limits::CHUNK_BYTES_MAX;

/// True if nothing was written there. A file system that does not say so has no holes.
pub(super) fn is_hole(file: &OwnedFd, range: &Range<u64>) -> bool {
    match rustix::fs::seek(file, SeekFrom::Data(range.start)) {
        Ok(data) => data >= range.end,
        // No data up to the end.
        Err(Errno::NXIO) => true,
        Err(_) => false,
    }
}

/// Appends the range, reading only what was written; gives how much of it was not. Fewer bytes if the file ends before.
pub(super) fn fill_written(file: &OwnedFd, data: &mut Vec<u8>, range: Range<u64>) -> Result<u64, Errno> {
    let (mut at, mut hole_bytes) = (range.start, 0);
    while at < range.end {
        let written = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(written) => written.clamp(at, range.end),
            Err(Errno::NXIO) => range.end.min(rustix::fs::fstat(file)?.st_size as u64).max(at),
            Err(errno) => return Err(errno),
        };
        data.resize(data.len() + (written - at) as usize, 0);
        hole_bytes += written - at;
        let hole = match rustix::fs::seek(file, SeekFrom::Hole(written)) {
            Ok(hole) => hole.min(range.end),
            Err(Errno::NXIO) => return Ok(hole_bytes),
            Err(errno) => return Err(errno),
        };
        let before = data.len();
        fill(file, data, written, hole.saturating_sub(written))?;
        if ((data.len() - before) as u64) < hole.saturating_sub(written) || hole <= at {
            return Ok(hole_bytes);
        }
        at = hole;
    }
    Ok(hole_bytes)
}

/// As many zeros, cut and named, and how many of them are left uncut. Their memory is not touched.
pub(super) fn zeros(bytes: usize, is_last: bool) -> (Vec<u8>, Vec<Piece>, usize) {
    let data = vec![0; bytes];
    let (mut pieces, mut at) = (Vec::new(), 0);
    while bytes - at >= CHUNK_BYTES_MAX {
        let Piece { bytes, digest, .. } = *zero_piece();
        pieces.push(Piece { start: at as u32, bytes, digest });
        at += bytes as usize;
    }
    while at < bytes
        && let Some(length) = first_chunk(&data[at..], is_last)
    {
        pieces.push(piece(&data, at, length));
        at += length;
    }
    (data, pieces, bytes - at)
}

/// The chunk at the front of enough zeros.
fn zero_piece() -> &'static Piece {
    static PIECE: OnceLock<Piece> = OnceLock::new();
    PIECE.get_or_init(|| {
        let zeros = vec![0; CHUNK_BYTES_MAX];
        let bytes = first_chunk(&zeros, false).expect("enough bytes to cut");
        Piece { start: 0, bytes: bytes as u32, digest: Digest::of(&zeros[..bytes]) }
    })
}
