//! Frames: chunks compressed together, each checked by the digest of its stored bytes. It knows no pack and no file.

use schemas::Digest;
use zstd::zstd_safe::WriteBuf;

use crate::error::FormatError;
use crate::index::Frame;
use crate::limits::{FRAME_RAW_BYTES_MAX, FRAME_RAW_BYTES_TARGET};

/// Measured: above 3 the bytes saved cost more time than a link of 100 Mbit/s gives back.
const LEVEL: i32 = 3;
/// Bytes looked at to tell whether compressing is worth trying.
const SAMPLE_BYTES: usize = 16 << 10;
/// Bits per byte above which content counts as compressed already. Random bytes sampled so give 7.988 ± 0.002.
const ENTROPY_BITS_MAX: f32 = 7.96;

/// Compresses frames one after the other, with one context.
pub struct FrameEncoder {
    zstd: zstd::bulk::Compressor<'static>,
}

/// A frame as it lies in a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    pub raw_bytes: u32,
    pub bytes: Vec<u8>,
}

impl FrameEncoder {
    pub fn new() -> FrameEncoder {
        // The only failure is an allocation failure.
        FrameEncoder { zstd: zstd::bulk::Compressor::new(LEVEL).expect("a zstd context") }
    }

    /// `out` is reused for the result. Content that does not shrink is stored as it is: then the lengths are equal.
    pub fn encode(&mut self, raw: &[u8], mut out: Vec<u8>) -> Stored {
        assert!(raw.len() <= FRAME_RAW_BYTES_MAX, "a frame of {} bytes", raw.len());
        out.clear();
        let worth = !looks_compressed(raw);
        if worth {
            out.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        }
        let shrunk = worth && matches!(self.zstd.compress_to_buffer(raw, &mut out), Ok(bytes) if bytes < raw.len());
        if !shrunk {
            out.clear();
            out.extend_from_slice(raw);
        }
        Stored { digest: Digest::of(&out), raw_bytes: raw.len() as u32, bytes: out }
    }
}

impl Default for FrameEncoder {
    fn default() -> FrameEncoder {
        FrameEncoder::new()
    }
}

/// The content of a frame, from its stored bytes; refused unless their length, their digest and the content's length
/// are exactly what the index says.
pub fn decode_frame(frame: &Frame, stored: &[u8]) -> Result<Vec<u8>, FormatError> {
    let mut raw = Vec::new();
    decode_frame_into(frame, stored, &mut raw)?;
    Ok(raw)
}

/// The same into a buffer that is used again; it holds nothing of use after an error.
pub fn decode_frame_into(frame: &Frame, stored: &[u8], raw: &mut Vec<u8>) -> Result<(), FormatError> {
    raw.clear();
    verify_frame(frame, stored)?;
    open_into(frame, stored, raw)
}

/// The content of a frame whose stored bytes the caller has verified just now: length and digest are not looked at again.
pub fn open_frame(frame: &Frame, verified: &[u8]) -> Result<Vec<u8>, FormatError> {
    let mut raw = Vec::new();
    open_into(frame, verified, &mut raw)?;
    Ok(raw)
}

fn open_into(frame: &Frame, stored: &[u8], raw: &mut Vec<u8>) -> Result<(), FormatError> {
    let raw_bytes = frame.raw_bytes as usize;
    if raw_bytes > FRAME_RAW_BYTES_MAX {
        return Err(FormatError::TooLarge {
            what: "a frame's content",
            found: raw_bytes as u64,
            max: FRAME_RAW_BYTES_MAX as u64,
        });
    }
    if stored.len() == raw_bytes {
        raw.extend_from_slice(stored);
        return Ok(());
    }
    raw.reserve_exact(raw_bytes);
    decompress_exactly(stored, raw, raw_bytes)
        .map_err(|reason| FormatError::damaged("a frame", format!("{}: {reason}", frame.digest)))
}

/// That the stored bytes are the frame's, without opening them: what wire and store do.
pub fn verify_frame(frame: &Frame, stored: &[u8]) -> Result<(), FormatError> {
    if stored.len() != frame.stored_bytes as usize {
        let reason = format!("{}: {} bytes instead of {}", frame.digest, stored.len(), frame.stored_bytes);
        return Err(FormatError::damaged("a frame", reason));
    }
    let found = Digest::of(stored);
    if found != frame.digest {
        return Err(FormatError::DigestMismatch { what: "a frame", expected: frame.digest, found });
    }
    Ok(())
}

thread_local! {
    // One context per thread: making one costs more than a small frame.
    static DECODER: std::cell::RefCell<zstd::bulk::Decompressor<'static>> =
        std::cell::RefCell::new(zstd::bulk::Decompressor::new().expect("a zstd context"));
}

/// Into `raw`, which has room for `raw_bytes`; never writes more than its capacity.
pub(crate) fn decompress_exactly(stored: &[u8], raw: &mut impl WriteBuf, raw_bytes: usize) -> Result<(), String> {
    let found = DECODER
        .with(|decoder| decoder.borrow_mut().decompress_to_buffer(stored, raw))
        .map_err(|error| error.to_string())?;
    if found == raw_bytes { Ok(()) } else { Err(format!("{found} bytes of content instead of {raw_bytes}")) }
}

/// By the entropy of a sample's bytes: archives, media and encrypted files are near 8 bits, everything else is not.
fn looks_compressed(raw: &[u8]) -> bool {
    if raw.len() < SAMPLE_BYTES {
        return false;
    }
    let mut counts = [0u32; 256];
    // Spread over the frame, so that a compressed file beside a text does not decide for both.
    let stride = raw.len() / SAMPLE_BYTES;
    raw.iter().step_by(stride).take(SAMPLE_BYTES).for_each(|&byte| counts[byte as usize] += 1);
    let total = SAMPLE_BYTES as f32;
    let bits: f32 = counts.iter().filter(|&&n| n > 0).map(|&n| n as f32 / total).map(|p| -p * p.log2()).sum();
    bits > ENTROPY_BITS_MAX
}

const _: () = assert!(FRAME_RAW_BYTES_TARGET + crate::limits::CHUNK_BYTES_MAX <= FRAME_RAW_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn frame_of(stored: &Stored) -> Frame {
        let (digest, raw_bytes) = (stored.digest, stored.raw_bytes);
        Frame { digest, pack: 0, offset: 0, stored_bytes: stored.bytes.len() as u32, raw_bytes }
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut out);
        out
    }

    #[test]
    fn a_frame_reads_back_whether_it_shrinks_or_not() {
        let text = b"the tide comes in, the tide goes out; ".repeat(3000);
        for raw in [Vec::new(), b"x".to_vec(), text, noise(100), noise(300_000)] {
            let stored = FrameEncoder::new().encode(&raw, Vec::new());
            assert_eq!(decode_frame(&frame_of(&stored), &stored.bytes).unwrap(), raw);
        }
    }

    #[test]
    fn compressed_content_is_recognised_and_stored_as_it_is() {
        let raw = noise(300_000);
        assert!(looks_compressed(&raw));
        assert_eq!(FrameEncoder::new().encode(&raw, Vec::new()).bytes, raw);
        assert!(!looks_compressed(&b"plain words ".repeat(20_000)));
    }

    #[test]
    fn a_damaged_frame_is_refused_at_every_byte_and_length() {
        let stored = FrameEncoder::new().encode(&b"definition file ".repeat(40), Vec::new());
        let frame = frame_of(&stored);
        for at in 0..stored.bytes.len() {
            let mut bad = stored.bytes.clone();
            bad[at] ^= 0x10;
            assert!(decode_frame(&frame, &bad).is_err(), "byte {at}");
            assert!(decode_frame(&frame, &stored.bytes[..at]).is_err(), "length {at}");
        }
    }

    #[test]
    fn a_frame_with_the_right_digest_but_another_length_of_content_is_refused() {
        let stored = FrameEncoder::new().encode(&b"bomb".repeat(60_000), Vec::new());
        for raw_bytes in [0, 5, stored.raw_bytes - 1, stored.raw_bytes + 1, FRAME_RAW_BYTES_MAX as u32 + 1, u32::MAX] {
            let frame = Frame { raw_bytes, ..frame_of(&stored) };
            assert!(decode_frame(&frame, &stored.bytes).is_err(), "{raw_bytes}");
        }
    }
}
