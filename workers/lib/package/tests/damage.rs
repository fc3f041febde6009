//! Cut, flipped, swapped and forged objects: an error every time, never a panic, never other content.

mod support;

use std::sync::Arc;

use package::{FormatError, Index, decode_frame, header};
use schemas::definitions::DistributionType;
use schemas::{Digest, Header, StoreId};
use support::{Source, build};

struct Revision {
    header: Vec<u8>,
    digest: Digest,
    index: Vec<u8>,
    head: Header,
    decoded: Index,
    pack: Vec<u8>,
}

fn revision() -> Revision {
    let (built, packs) = build(&Source::with_one_of_each().sources(), None);
    let sealed = built.index.seal();
    let store: StoreId = "01930000-0000-7000-8000-000000000001".parse().unwrap();
    let head = header::header_of(store, 3, DistributionType::File, &built.index, sealed.at);
    let header = header::encode(&head);
    let digest = Digest::of(&header);
    Revision {
        digest,
        header,
        index: sealed.bytes,
        head,
        decoded: Arc::unwrap_or_clone(built.index),
        pack: packs[0].bytes.clone(),
    }
}

#[test]
fn a_whole_manifest_opens() {
    let revision = revision();
    let head = header::open(&revision.header, &revision.digest).unwrap();
    assert_eq!(head, revision.head);
    assert_eq!(header::open_index(&head, &revision.index).unwrap(), revision.decoded);
}

#[test]
fn a_header_cut_anywhere_or_with_any_byte_flipped_is_refused() {
    let Revision { header, digest, .. } = revision();
    for at in 0..header.len() {
        assert!(header::open(&header[..at], &digest).is_err());
        assert!(header::decode(&header[..at]).is_err());
        for bit in 0..8 {
            let mut bad = header.clone();
            bad[at] ^= 1 << bit;
            assert!(matches!(header::open(&bad, &digest), Err(FormatError::DigestMismatch { .. })));
            let _ = header::decode(&bad);
        }
    }
}

#[test]
fn an_index_cut_anywhere_or_with_any_byte_flipped_is_refused() {
    let Revision { head, index, decoded, .. } = revision();
    for at in 0..index.len() {
        assert!(header::open_index(&head, &index[..at]).is_err());
        assert!(Index::decode(&index[..at]).is_err());
        let mut bad = index.clone();
        bad[at] ^= 0x41;
        assert!(header::open_index(&head, &bad).is_err());
        // Without its digest: an error or a sound index, never a panic.
        if let Ok(index) = Index::decode(&bad) {
            assert_eq!(index.entries.len(), decoded.entries.len());
        }
    }
    let mut longer = index.clone();
    longer.push(0);
    assert!(Index::decode(&longer).is_err());
}

#[test]
fn frames_that_are_swapped_are_refused() {
    let Revision { decoded, pack, .. } = revision();
    let stored = |at: usize| {
        let frame = &decoded.frames[at];
        &pack[frame.offset as usize..][..frame.stored_bytes as usize]
    };
    assert!(decoded.frames.len() >= 2);
    for (n, frame) in decoded.frames.iter().enumerate() {
        assert!(decode_frame(frame, stored(n)).is_ok());
        assert!(decode_frame(frame, stored((n + 1) % decoded.frames.len())).is_err());
    }
}

#[test]
fn forged_headers_are_refused() {
    let Revision { header, head, index, .. } = revision();
    let text = String::from_utf8(header).unwrap();
    let refused = |forged: String| header::decode(forged.as_bytes()).unwrap_err().code();
    assert_eq!(refused(text.replace("\"format\":1", "\"format\":3")), "format-unknown");
    assert_eq!(refused(text.replace("\"number\":3", "\"number\":3,\"number\":4")), "format-damaged");
    assert_eq!(refused(text.replace("\"number\":3", "\"number\":NaN")), "format-damaged");
    assert_eq!(refused(text.replace("\"number\":3", "\"number\":18446744073709551616")), "format-damaged");
    assert_eq!(refused(text.replace("\"number\":3", "\"number\":3,\"more\":{}")), "format-damaged");
    assert_eq!(refused(format!("{{\"x\":{}", "[".repeat(100_000))), "format-damaged");
    assert_eq!(refused(" ".repeat(9 << 20)), "format-too-large");
    for forged in [
        Header { files: head.files + 1, ..head.clone() },
        Header { format: 2, ..head.clone() },
        Header { bytes: 0, ..head.clone() },
        Header { stored_bytes: u64::MAX, ..head.clone() },
        Header { packs: Vec::new(), ..head.clone() },
    ] {
        assert_eq!(header::open_index(&forged, &index).unwrap_err().code(), "format-damaged");
    }
    let mut other = head.clone();
    other.index.raw_bytes += 1;
    assert!(header::open_index(&other, &index).is_err());
    other.index.raw_bytes = u64::MAX;
    assert_eq!(header::decode(&header::encode(&other)).unwrap_err().code(), "format-too-large");
}

/// An index with this body, as somebody with bad intentions would write it.
fn indexed(body: &[u8], claimed_bytes: u64) -> Vec<u8> {
    let mut out = b"TIDEIDX\x01".to_vec();
    out.extend_from_slice(&claimed_bytes.to_le_bytes());
    out.extend_from_slice(&zstd::bulk::compress(body, 3).unwrap());
    out
}

fn refused(body: &[u8]) -> String {
    let error = Index::decode(&indexed(body, body.len() as u64)).unwrap_err();
    assert!(["format-damaged", "format-too-large", "entry-unsafe"].contains(&error.code()));
    error.to_string()
}

#[test]
fn bombs_are_refused_without_being_unpacked() {
    let zeros = vec![0; 64 << 20];
    assert!(Index::decode(&indexed(&zeros, 10)).is_err(), "more content than claimed");
    assert_eq!(Index::decode(&indexed(&[], 2 << 30)).unwrap_err().code(), "format-too-large");
    assert_eq!(Index::decode(&indexed(&[], 1 << 30)).unwrap_err().code(), "format-too-large");
    assert!(refused(&[0xff, 0xff, 0xff, 0xff, 0x0f]).contains("packs"));
    assert!(refused(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]).contains("entries"));
}

#[test]
fn entries_out_of_order_unsafe_or_without_a_folder_are_refused() {
    // No packs, frames, chunks and references; then entries: front-coded paths, kinds, modes, times, details.
    let with = |paths: &[&str], kinds: &[u8]| {
        let mut body = vec![0, 0, 0, 0, paths.len() as u8];
        for path in paths {
            body.extend_from_slice(&[0, path.len() as u8]);
            body.extend_from_slice(path.as_bytes());
        }
        body.extend_from_slice(kinds);
        body.extend(vec![0; paths.len() * 2]);
        body.extend(kinds.iter().filter(|kind| **kind == 1).map(|_| 0));
        body
    };
    assert!(Index::decode(&indexed(&with(&["", "a"], &[0, 1]), with(&["", "a"], &[0, 1]).len() as u64)).is_ok());
    assert!(refused(&with(&[], &[])).contains("no root"));
    assert!(refused(&with(&["a"], &[0])).contains("not the root"));
    assert!(refused(&with(&[""], &[1])).contains("not a directory"));
    assert!(refused(&with(&["", "b", "a"], &[0, 1, 1])).contains("not in order"));
    assert!(refused(&with(&["", "a", "a"], &[0, 1, 1])).contains("not in order"));
    assert!(refused(&with(&["", "a/b"], &[0, 1])).contains("stands in no directory"));
    assert!(refused(&with(&["", "a", "a/b"], &[0, 1, 1])).contains("stands in no directory"));
    assert!(refused(&with(&["", "a"], &[0, 3])).contains("of kind 3"));
    for path in ["../x", "/x", "x/", "a//b", "x\0", "x\n", "C:\\x", "."] {
        assert!(refused(&with(&["", path], &[0, 1])).contains("unsafe path"), "{path:?}");
    }
    let mut not_utf8 = with(&["", "a"], &[0, 1]);
    *not_utf8.iter_mut().find(|byte| **byte == b'a').unwrap() = 0xff;
    assert!(refused(&not_utf8).contains("UTF-8"));
}

#[test]
fn offsets_outside_and_things_that_nobody_names_are_refused() {
    let digest = [7u8; 32];
    let pack = |bytes: u8| [&[1][..], &digest, &[bytes]].concat();
    let frame = |step: u8, gap: u8, stored: u8, raw: u8| [&[1][..], &digest, &[step, gap, stored, raw]].concat();
    let chunk = |step: u8, gap: u8, bytes: u8| [&[1][..], &digest, &[step, gap, bytes]].concat();
    let root_and_file = [2, 0, 0, 0, 1, b'f', 0, 1, 0, 0, 0, 0];
    let body = |parts: &[&[u8]], refs: u8| [parts.concat(), root_and_file.to_vec(), vec![refs]].concat();
    let sound = body(&[&pack(9), &frame(0, 0, 9, 9), &chunk(0, 0, 9), &[1, 0]], 1);
    assert_eq!(Index::decode(&indexed(&sound, sound.len() as u64)).unwrap().totals().bytes, 9);
    let cases: [(&[&[u8]], u8, &str); 11] = [
        (&[&pack(9), &frame(0, 1, 9, 9), &chunk(0, 0, 9), &[1, 0]], 1, "outside of its pack"),
        (&[&pack(9), &frame(1, 0, 9, 9), &chunk(0, 0, 9), &[1, 0]], 1, "a pack holds nothing"),
        (&[&pack(9), &frame(0, 0, 9, 8), &chunk(0, 0, 8), &[1, 0]], 1, "impossible lengths"),
        (&[&pack(9), &frame(0, 0, 0, 9), &chunk(0, 0, 9), &[1, 0]], 1, "impossible lengths"),
        (&[&pack(9), &frame(0, 0, 9, 9), &chunk(0, 1, 9), &[1, 0]], 1, "outside of its frame"),
        (&[&pack(9), &frame(0, 0, 9, 9), &chunk(0, 0, 0), &[1, 0]], 1, "outside of its frame"),
        (&[&pack(9), &frame(0, 0, 9, 9), &chunk(1, 0, 9), &[1, 0]], 1, "a frame holds nothing"),
        (&[&pack(9), &frame(0, 0, 9, 9), &chunk(0, 0, 9), &[1, 2]], 1, "does not exist"),
        (&[&pack(9), &frame(0, 0, 9, 9), &chunk(0, 0, 9), &[0]], 0, "no file names"),
        (&[&pack(9), &frame(0, 0, 9, 9), &chunk(0, 0, 9), &[1, 0]], 0, "no file takes"),
        (&[&pack(9), &frame(0, 0, 9, 9), &chunk(0, 0, 9), &[1, 0]], 2, "more chunks"),
    ];
    for (parts, refs, reason) in cases {
        let found = refused(&body(parts, refs));
        assert!(found.contains(reason), "{found} instead of {reason}");
    }
    let twice = [&[2][..], &digest, &digest, &[9, 9]].concat();
    assert!(refused(&twice).contains("twice") || refused(&twice).contains("early"));
}
