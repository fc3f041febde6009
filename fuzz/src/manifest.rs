//! Headers, indexes and frames.

use package::{Frame, Index, decode_frame, header as format};
use schemas::Digest;

pub fn header(bytes: &[u8]) {
    let Ok(read) = format::decode(bytes) else { return };
    assert_eq!(format::decode(&format::encode(&read)), Ok(read));
}

pub fn index(bytes: &[u8]) {
    let Ok(read) = Index::decode(bytes) else { return };
    let totals = read.totals();
    assert_eq!(totals.files + totals.directories + totals.links, read.entries.len() as u64);
    for entry in &read.entries {
        if let package::EntryKind::File { bytes, refs } = &entry.kind {
            assert_eq!(read.chunks_of(refs).map(|chunk| u64::from(chunk.bytes)).sum::<u64>(), *bytes);
        }
    }
    for (at, frame) in (0..).zip(&read.frames) {
        assert!(frame.offset + u64::from(frame.stored_bytes) <= read.packs[frame.pack as usize].bytes);
        assert!(read.chunks[read.chunks_in(at)].iter().all(|chunk| chunk.offset + chunk.bytes <= frame.raw_bytes));
    }
    assert_eq!(Index::decode(&read.encode()), Ok(read), "what was read is written as it was");
}

/// The inside of an index: its first byte picks the version, the rest is what is compressed.
pub fn index_body(bytes: &[u8]) {
    let Some((version, body)) = bytes.split_first() else { return };
    let mut object = b"TIDEIDX".to_vec();
    object.push(1 + version % 2);
    object.extend_from_slice(&(body.len() as u64).to_le_bytes());
    object.extend_from_slice(&zstd::bulk::compress(body, 1).expect("it compresses"));
    index(&object);
}

/// A frame of a pack whose digest holds: four bytes say how long its content is, the rest is what is stored.
pub fn frame(bytes: &[u8]) {
    let Some((raw_bytes, stored)) = bytes.split_first_chunk::<4>() else { return };
    let raw_bytes = u32::from_le_bytes(*raw_bytes);
    let of = |digest| Frame { digest, pack: 0, offset: 0, stored_bytes: stored.len() as u32, raw_bytes };
    if let Ok(raw) = decode_frame(&of(Digest::of(stored)), stored) {
        assert_eq!(raw.len(), raw_bytes as usize);
    }
    assert!(decode_frame(&of(Digest([0; 32])), stored).is_err(), "a digest that does not hold");
}
