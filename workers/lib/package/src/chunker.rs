//! Where a file is cut (FastCDC, v2020). The places are part of the format: another version of the algorithm or other
//! sizes would make all content new. It knows bytes, no files.

use fastcdc::v2020::{MASKS, cut};

use crate::limits::{CHUNK_BYTES_AVERAGE, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN};

/// A cut is 2^-16 likely at each byte before the average, 2^-15 behind it: chunks of 60 KiB on average. Measured on
/// large binaries with 2 % changed: a tenth less to move than with the paper's steeper masks, whose chunks have 85 KiB.
const MASK_STRICT: u64 = MASKS[16];
const MASK_LOOSE: u64 = MASKS[15];

/// Length of the chunk at the front of `data`. `None` if that depends on bytes that follow; `is_end` says that none do.
pub fn first_chunk(data: &[u8], is_end: bool) -> Option<usize> {
    let (_, bytes) = cut(
        data,
        CHUNK_BYTES_MIN,
        CHUNK_BYTES_AVERAGE,
        CHUNK_BYTES_MAX,
        MASK_STRICT,
        MASK_LOOSE,
        MASK_STRICT << 1,
        MASK_LOOSE << 1,
    );
    let certain = is_end || bytes < data.len() || data.len() >= CHUNK_BYTES_MAX;
    certain.then_some(bytes)
}

/// Lengths of all chunks of a whole file.
pub fn chunks_of_file(mut data: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    if !data.is_empty() && data.len() <= CHUNK_BYTES_AVERAGE {
        return vec![data.len()];
    }
    while !data.is_empty() {
        let bytes = first_chunk(data, true).expect("the end is known");
        lengths.push(bytes);
        data = &data[bytes..];
    }
    lengths
}

const _: () = assert!(CHUNK_BYTES_AVERAGE == 1 << 16);

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        blake3::Hasher::new().update(b"boundaries").finalize_xof().fill(&mut out);
        out
    }

    #[test]
    fn boundaries_are_where_version_1_put_them() {
        let cuts = chunks_of_file(&noise(1_000_000));
        assert_eq!(cuts, GOLDEN_CUTS);
    }

    const GOLDEN_CUTS: &[usize] = &[
        37920, 98435, 80550, 27854, 53555, 31583, 57958, 32896, 78240, 94888, 31298, 67589, 74346, 78145, 96922, 57821,
    ];

    #[test]
    fn a_small_file_is_one_chunk_and_an_empty_one_has_none() {
        assert_eq!(chunks_of_file(&[]), Vec::<usize>::new());
        assert_eq!(chunks_of_file(b"x"), [1]);
        assert_eq!(chunks_of_file(&noise(CHUNK_BYTES_AVERAGE)), [CHUNK_BYTES_AVERAGE]);
        assert_eq!(
            chunks_of_file(&vec![0; 600_000]),
            [CHUNK_BYTES_MAX, CHUNK_BYTES_MAX, 600_000 - 2 * CHUNK_BYTES_MAX]
        );
    }

    #[test]
    fn a_cut_that_is_certain_stays_where_it_is_when_more_follows() {
        let data = noise(700_000);
        let whole = first_chunk(&data, false).unwrap();
        for seen in [whole, whole + 1, whole + 2, whole + 1001, CHUNK_BYTES_MAX] {
            let early = first_chunk(&data[..seen], false);
            assert!(early.is_none_or(|bytes| bytes == whole), "{seen}: {early:?} instead of {whole}");
        }
        assert_eq!(first_chunk(&data[..whole], false), None);
    }
}
