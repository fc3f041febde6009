//! Frozen revisions of every version of the format: they are read as they were for ever.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use package::{EntryKind, Index, decode_frame, header};
use schemas::{Digest, Header};
use support::Store;

struct Sample {
    head: Header,
    index: Index,
    store: Store,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/v1")
}

/// Files are named by what they are; the header's digest is in `header.digest`.
fn open() -> Sample {
    let read = |name: &str| fs::read(folder().join(name)).unwrap();
    let digest: Digest = String::from_utf8(read("header.digest")).unwrap().trim().parse().unwrap();
    let head = header::open(&read("header.json"), &digest).unwrap();
    let index = header::open_index(&head, &read("index")).unwrap();
    let mut store = Store::default();
    for pack in &index.packs {
        store.packs.insert(pack.digest, read(&format!("{}.pack", pack.digest)));
    }
    Sample { head, index, store }
}

#[test]
fn the_first_version_reads_as_it_was_written() {
    let Sample { head, index, store } = open();
    assert_eq!((head.format, head.number, head.files, head.directories, head.links), (1, 2, 6, 3, 2));
    let listed: Vec<_> = index.entries.iter().map(|e| (e.path.as_str(), e.mode, e.mtime_ns)).collect();
    assert_eq!(listed, LISTED);
    let files: BTreeMap<String, Vec<u8>> = store.reassemble(&index).into_iter().collect();
    let expected = [
        ("big.txt", numbered_lines()),
        ("empty", Vec::new()),
        ("notes-é.txt", b"changed\n".to_vec()),
        ("sub/a.txt", b"the same\n".to_vec()),
        ("sub/deep/b.txt", b"the same\n".to_vec()),
        ("sub/text.txt", b"tide in, tide out; ".repeat(500)),
    ];
    assert_eq!(files, expected.into_iter().map(|(path, content)| (path.to_owned(), content)).collect());
    let says = |path: &str| index.entries[index.find(path).unwrap()].kind.clone();
    assert_eq!(says("link"), EntryKind::Link { target: "sub/a.txt".to_owned() });
}

#[test]
fn the_sample_has_a_plain_and_a_compressed_frame_and_two_packs() {
    let Sample { index, store, .. } = open();
    assert_eq!(index.packs.len(), 2);
    let plain = |frame: &&package::Frame| frame.stored_bytes == frame.raw_bytes;
    assert!(index.frames.iter().any(|frame| plain(&frame)) && index.frames.iter().any(|frame| !plain(&frame)));
    for frame in &index.frames {
        let pack = &store.packs[&index.packs[frame.pack as usize].digest];
        let stored = &pack[frame.offset as usize..][..frame.stored_bytes as usize];
        assert_eq!(decode_frame(frame, stored).unwrap().len(), frame.raw_bytes as usize);
    }
}

/// The boundaries and the layout are the format; compressed bytes are not, so only what is in them is compared.
#[test]
fn todays_builder_cuts_and_lays_out_as_version_1_did() {
    let Sample { index, .. } = open();
    let (first, second) = golden_source();
    let (one, _) = support::build(&first.sources(), None);
    let source = second(first);
    let (two, _) = support::build(&source.sources(), Some(&one.index));
    let chunks =
        |index: &Index| -> Vec<_> { index.chunks.iter().map(|c| (c.digest, c.bytes, c.frame, c.offset)).collect() };
    assert_eq!(chunks(&two.index), chunks(&index));
    assert_eq!(two.index.chunk_refs, index.chunk_refs);
}

const LISTED: &[(&str, u32, i64)] = &[
    ("", 0o755, 1_700_000_000_000_000_000),
    ("big.txt", 0o644, 1_700_000_000_000_000_000),
    ("empty", 0o644, 1_700_000_001_000_000_000),
    ("link", 0o777, 1_600_000_000_000_000_000),
    ("notes-é.txt", 0o644, 1_700_000_002_000_000_000),
    ("sub", 0o755, 1_700_000_000_000_000_000),
    ("sub/a.txt", 0o600, 1_700_000_003_000_000_000),
    ("sub/deep", 0o750, 1_700_000_000_000_000_000),
    ("sub/deep/b.txt", 0o644, 1_700_000_004_000_000_000),
    ("sub/text.txt", 0o644, 1_700_000_005_000_000_000),
    ("sub/up", 0o777, 1_600_000_000_000_000_000),
];

#[path = "support/golden_source.rs"]
mod golden_source;
use golden_source::{golden_source, numbered_lines};
