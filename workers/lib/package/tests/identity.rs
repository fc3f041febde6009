//! Whatever the tree: build, index, frames and chunks give it back.

mod support;

use std::collections::BTreeMap;

use package::{EntryKind, Index};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use support::{Source, Store, build, noise};

#[derive(Debug, Clone)]
enum Content {
    Text(Vec<u8>),
    Noise { seed: u8, bytes: usize },
    Run { byte: u8, bytes: usize },
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Content::Text(bytes) => bytes.clone(),
            Content::Noise { seed, bytes } => noise(&seed.to_string(), *bytes),
            Content::Run { byte, bytes } => vec![*byte; *bytes],
        }
    }
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..300).prop_map(Content::Text),
        2 => (0u8..3, 0usize..400_000).prop_map(|(seed, bytes)| Content::Noise { seed, bytes }),
        1 => (any::<u8>(), 0usize..700_000).prop_map(|(byte, bytes)| Content::Run { byte, bytes }),
    ]
}

/// Folders and files have different names, so that none is both.
fn tree() -> impl Strategy<Value = BTreeMap<String, Content>> {
    btree_map("(d[a-c\\-é]{0,2}/){0,3}f[a-d\\. ü]{0,3}", content(), 0..14)
}

fn written(tree: &BTreeMap<String, Content>) -> Source {
    let source = Source::new();
    tree.iter().for_each(|(path, content)| {
        source.write(path, content.bytes());
    });
    source
}

fn assert_is(index: &Index, store: &Store, tree: &BTreeMap<String, Content>) {
    let sealed = index.seal();
    let opened = Index::open(&sealed.bytes, &sealed.at).unwrap();
    assert_eq!(opened, *index);
    let files = store.reassemble(&opened);
    assert_eq!(files.len(), tree.len());
    for (path, content) in tree {
        assert!(files[path] == content.bytes(), "{path}");
    }
    for chunk in &index.chunks {
        assert!(index.chunks_in(chunk.frame).any(|at| index.chunks[at].digest == chunk.digest));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_comes_back_from_its_first_build_and_from_one_on_top_of_another(first in tree(), second in tree()) {
        let (one, packs) = build(&written(&first).sources(), None);
        let mut store = Store::with(&packs);
        assert_is(&one.index, &store, &first);
        let source = written(&second);
        let (two, packs) = build(&source.sources(), Some(&one.index));
        store.add(&packs);
        assert_is(&two.index, &store, &second);
        let (again, packs) = build(&source.sources(), Some(&two.index));
        prop_assert!(packs.is_empty());
        prop_assert_eq!(again.index, two.index);
    }

    #[test]
    fn no_bytes_make_the_decoders_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = Index::decode(&bytes);
        let _ = package::header::decode(&bytes);
        let mut index = b"TIDEIDX\x01".to_vec();
        index.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        index.extend_from_slice(&zstd::bulk::compress(&bytes, 1).unwrap());
        let _ = Index::decode(&index);
    }

    #[test]
    fn a_sound_looking_body_with_wrong_bytes_is_an_error_or_a_sound_index(at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let (built, _) = build(&Source::with_one_of_each().sources(), None);
        let encoded = built.index.encode();
        let mut body = zstd::bulk::decompress(&encoded[16..], 1 << 20).unwrap();
        let at = at.index(body.len());
        body[at] = with;
        let mut bad = encoded[..16].to_vec();
        bad.extend_from_slice(&zstd::bulk::compress(&body, 1).unwrap());
        if let Ok(index) = Index::decode(&bad) {
            let files = |index: &Index| index.entries.iter().filter(|e| matches!(e.kind, EntryKind::File { .. })).count();
            prop_assert!(index.find("").is_some() && files(&index) <= index.entries.len());
            prop_assert_eq!(Index::decode(&index.encode()).unwrap(), index);
        }
    }
}
