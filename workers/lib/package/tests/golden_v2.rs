//! The frozen revision of version 2, with extras: it is read as it was for ever.

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use package::build::build_keeping;
use package::extras::Account;
use package::{Attribute, Index, Keeps, header};
use schemas::definitions::DistributionType;
use schemas::{Digest, Header};
use support::{Source, Store};

const KEPT: Keeps = Keeps::OWNERS.with(Keeps::XATTRS).with(Keeps::SECURITY);

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/v2")
}

fn read(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

fn open() -> (Header, Index, Store) {
    let digest: Digest = String::from_utf8(read("header.digest")).unwrap().trim().parse().unwrap();
    let head = header::open(&read("header.json"), &digest).unwrap();
    let index = header::open_index(&head, &read("index")).unwrap();
    let mut store = Store::default();
    for pack in &index.packs {
        store.packs.insert(pack.digest, read(&format!("{}.pack", pack.digest)));
    }
    (head, index, store)
}

#[test]
fn the_second_version_reads_as_it_was_written() {
    let (head, index, store) = open();
    assert_eq!((head.format, head.files, head.directories, head.links), (2, 5, 2, 1));
    assert_eq!(head.bytes, (5 << 20) + 14, "a file with three names counts once");
    let at = |path: &str| index.find(path).unwrap() as u32;
    let extras = &index.extras;
    assert_eq!(extras.keeps, KEPT);
    let links: Vec<_> = extras.hard_links.iter().map(|link| (link.entry, link.first)).collect();
    assert_eq!(links, [(at("d/two"), at("a")), (at("three"), at("a"))]);
    assert_eq!(extras.sparse, [at("image")]);
    let root = |name: &str| Account { id: 0, name: Some(name.into()) };
    assert_eq!(extras.owner_of(at("link")), Some((&root("root"), &root("root"))));
    let nameless = Account { id: 4_242, name: None };
    let (user, group) = extras.owner_of(at("d")).unwrap();
    assert_eq!((user, group), (&Account { id: 1, name: Some("daemon".into()) }, &nameless));
    let attribute = |name: &str, value: &[u8]| Attribute { name: name.into(), value: value.into() };
    let of_file = [attribute("security.tide", b"s"), attribute("user.colour", b"red\0")];
    assert_eq!(extras.attributes_of(at("a")), of_file);
    assert_eq!(extras.attributes_of(at("three")), of_file);
    assert_eq!(extras.attributes_of(at("d")), [attribute("user.shelf", b"3")]);
    assert!(extras.attributes_of(at("plain")).is_empty());
    let files = store.reassemble(&index);
    assert_eq!((files["a"].as_slice(), files["d/two"].as_slice()), (&b"tide in\n"[..], &b"tide in\n"[..]));
    assert!(files["image"].iter().filter(|byte| **byte != 0).count() == 4);
}

#[test]
fn a_version_2_index_written_again_is_the_same_index() {
    let (_, index, _) = open();
    let sealed = index.seal();
    assert_eq!(sealed.bytes[7], 2);
    assert_eq!(Index::open(&sealed.bytes, &sealed.at).unwrap(), index);
}

#[test]
fn extras_cut_anywhere_or_changed_are_an_error_or_a_sound_index() {
    let (_, index, _) = open();
    let encoded = index.encode();
    let body = zstd::bulk::decompress(&encoded[16..], 1 << 20).unwrap();
    let packed = |body: &[u8]| {
        let head = [&encoded[..8], &(body.len() as u64).to_le_bytes()].concat();
        [head, zstd::bulk::compress(body, 1).unwrap()].concat()
    };
    for at in 0..body.len() {
        assert!(Index::decode(&packed(&body[..at])).is_err(), "{at}");
        for with in [0, 1, 2, 0x7f, 0x80, 0xff] {
            let mut bad = body.clone();
            bad[at] = with;
            if let Ok(read) = Index::decode(&packed(&bad)) {
                assert_eq!(Index::decode(&read.encode()).unwrap(), read, "{at}");
            }
        }
    }
    let mut plain = index.clone();
    plain.extras = Default::default();
    let mut as_second = plain.encode();
    as_second[7] = 2;
    assert!(Index::decode(&as_second).is_err(), "version 2 has a sixth section");
    let mut as_first = encoded.clone();
    as_first[7] = 1;
    assert!(Index::decode(&as_first).is_err(), "version 1 has none");
}

#[test]
fn a_hard_link_between_different_files_is_refused() {
    let (_, index, _) = open();
    let refused = |change: &dyn Fn(&mut Index)| {
        let mut bad = index.clone();
        change(&mut bad);
        Index::decode(&bad.encode()).unwrap_err().code()
    };
    let plain = index.find("plain").unwrap() as u32;
    assert_eq!(refused(&|bad| bad.extras.hard_links[1].first = plain), "format-damaged");
    assert_eq!(refused(&|bad| bad.extras.hard_links[1].first = bad.extras.hard_links[0].entry), "format-damaged");
    assert_eq!(refused(&|bad| bad.entries[index.find("three").unwrap()].mode = 0o600), "format-damaged");
    assert_eq!(refused(&|bad| bad.extras.sparse = vec![0]), "format-damaged");
    assert_eq!(refused(&|bad| bad.extras.attribute_sets[0][0].name = "trusted.x".into()), "format-damaged");
    assert_eq!(refused(&|bad| bad.extras.owners.users[0].name = Some("a:b".into())), "format-damaged");
}

/// How the sample was made, as root on Linux. It is never made again.
#[test]
#[ignore = "the sample is frozen"]
fn write_the_sample() {
    let source = Source::new();
    source.write("a", "tide in\n").write("plain", "tide\n\n").link("link", "plain");
    fs::create_dir(source.path("d")).unwrap();
    fs::hard_link(source.path("a"), source.path("d/two")).unwrap();
    fs::hard_link(source.path("a"), source.path("three")).unwrap();
    let image = fs::File::create(source.path("image")).unwrap();
    image.set_len(5 << 20).unwrap();
    image.write_all_at(b"deep", 4_500_000).unwrap();
    image.sync_all().unwrap();
    let xattr = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::setxattr(source.path(path), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    xattr("a", "user.colour", b"red\0");
    xattr("a", "security.tide", b"s");
    xattr("d", "user.shelf", b"3");
    std::os::unix::fs::chown(source.path("d"), Some(1), Some(4_242)).unwrap();
    for path in ["a", "plain", "image", "d", ""] {
        source.time(path, 1_700_000_000);
    }
    let (built, packs) = build_keeping(&source.sources(), KEPT, None).unwrap();
    let sealed = built.index.seal();
    let store = "01930000-0000-7000-8000-000000000001".parse().unwrap();
    let head = header::encode(&header::header_of(store, 1, DistributionType::File, &built.index, sealed.at));
    fs::create_dir_all(folder()).unwrap();
    let write = |name: String, bytes: &[u8]| fs::write(folder().join(name), bytes).unwrap();
    write("header.json".into(), &head);
    write("header.digest".into(), format!("{}\n", Digest::of(&head)).as_bytes());
    write("index".into(), &sealed.bytes);
    packs.iter().for_each(|pack| write(format!("{}.pack", pack.digest), &pack.bytes));
}
