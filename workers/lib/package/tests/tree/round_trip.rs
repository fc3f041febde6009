//! From a real folder through a build, its stored form and an installation: what comes out is what went in.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use package::build::build_keeping;
use package::tree::Policy;
use package::{Index, Keeps, header};
use schemas::Digest;
use schemas::definitions::{DistributionType, FileSource};

use super::built::source;
use super::built::target::{Revision, Target};
use super::support::*;

/// By way of bytes, as a site gets it.
fn reread(index: &Index) -> Index {
    let sealed = index.seal();
    let store = "01930000-0000-7000-8000-000000000001".parse().unwrap();
    let head = header::header_of(store, 1, DistributionType::File, index, sealed.at);
    let bytes = header::encode(&head);
    let head = header::open(&bytes, &Digest::of(&bytes)).unwrap();
    header::open_index(&head, &sealed.bytes).unwrap()
}

/// Everything that is kept of a tree, as other programs see it.
fn picture(root: &Path) -> BTreeMap<String, String> {
    let list = Command::new("find").arg(root).args(["-printf", "%P %y %m %U:%G %n %T@ %l\n"]).output().unwrap();
    let attributes = |path: &Path| {
        let mut list = vec![0; 4096];
        let bytes = rustix::fs::llistxattr(path, list.as_mut_slice()).unwrap_or(0);
        let mut names: Vec<_> =
            list[..bytes].split(|b| *b == 0).filter(|n| !n.is_empty()).map(<[u8]>::to_vec).collect();
        names.sort();
        let value = |name: &Vec<u8>| {
            let mut value = vec![0; 4096];
            let bytes = rustix::fs::lgetxattr(path, name.as_slice(), value.as_mut_slice()).unwrap();
            (String::from_utf8(name.clone()).unwrap(), value[..bytes].to_vec())
        };
        format!("{:?}", names.iter().map(value).collect::<Vec<_>>())
    };
    let text = String::from_utf8(list.stdout).unwrap();
    let line = |line: &str| {
        let path = root.join(line.split(' ').next().unwrap());
        let is_file = fs::symlink_metadata(&path).unwrap().is_file();
        let content = if is_file { Digest::of(&fs::read(&path).unwrap()).hex() } else { String::new() };
        (line.to_owned(), format!("{} {content}", attributes(&path)))
    };
    text.lines().map(line).collect()
}

fn furnish(root: &Path) {
    fs::create_dir_all(root.join("d")).unwrap();
    fs::write(root.join("a"), content(1, 300_000)).unwrap();
    fs::hard_link(root.join("a"), root.join("d/again")).unwrap();
    fs::hard_link(root.join("a"), root.join("third")).unwrap();
    fs::write(root.join("plain"), "plain").unwrap();
    std::os::unix::fs::symlink("plain", root.join("link")).unwrap();
    let xattr = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::setxattr(root.join(path), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    xattr("a", "user.origin", b"tide\0table");
    xattr("d", "user.of", b"a directory");
    if rustix::process::geteuid().is_root() {
        xattr("plain", "security.tidegate", b"s");
        // An access list: owner rw-, user 1 r--, group r--, mask r--, others none.
        let entry =
            |tag: u16, perm: u16, id: u32| [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat();
        let none = u32::MAX;
        let acl = [
            &2u32.to_le_bytes()[..],
            &entry(1, 6, none),
            &entry(2, 4, 1),
            &entry(4, 4, none),
            &entry(16, 4, none),
            &entry(32, 0, none),
        ];
        xattr("plain", "system.posix_acl_access", &acl.concat());
        std::os::unix::fs::chown(root.join("d"), Some(1), Some(4_242)).unwrap();
        std::os::unix::fs::lchown(root.join("link"), Some(4_243), Some(1)).unwrap();
    }
    let image = fs::File::create(root.join("image")).unwrap();
    image.set_len(40 << 20).unwrap();
    image.write_all_at(&content(2, 100_000), 9 << 20).unwrap();
    image.sync_all().unwrap();
}

fn all() -> Keeps {
    Keeps::OWNERS.with(Keeps::XATTRS).with(Keeps::ACLS).with(Keeps::SECURITY)
}

#[test]
fn links_owners_attributes_and_holes_go_through_build_and_installation() {
    for way in [MIRROR, MERGE] {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("source");
        fs::create_dir(&from).unwrap();
        furnish(&from);
        let (built, packs) = build_keeping(&[source(&from)], all(), None).unwrap();
        let index = reread(&built.index);
        assert_eq!(index, *built.index);
        let site = Target::with(Policy { security_attributes: true, ..Policy::default() });
        site.install(&Revision::new(1, Arc::new(index), &packs), way);
        let target = site.path();
        let (mut expected, mut found) = (picture(&from), picture(&target));
        if way as usize == MERGE as usize {
            // The target's own directory is everybody's.
            [&mut expected, &mut found].into_iter().for_each(|tree| tree.retain(|line, _| !line.starts_with(' ')));
        }
        assert_eq!(found, expected);
        let image = fs::metadata(target.join("image")).unwrap();
        assert_eq!(image.len(), 40 << 20);
        assert!(image.blocks() * 512 < 400_000, "{} blocks", image.blocks());
    }
}

#[test]
fn a_sparse_source_is_read_where_it_was_written_and_cut_as_if_it_were_full() {
    let folder = tempfile::tempdir().unwrap();
    let (sparse, full) = (folder.path().join("sparse"), folder.path().join("full"));
    fs::create_dir_all(&sparse).unwrap();
    fs::create_dir_all(&full).unwrap();
    furnish(&sparse);
    fs::write(full.join("image"), fs::read(sparse.join("image")).unwrap()).unwrap();
    let time = fs::metadata(sparse.join("image")).unwrap().modified().unwrap();
    fs::File::options().write(true).open(full.join("image")).unwrap().set_modified(time).unwrap();
    let only = |path: &Path| FileSource { path: path.join("image").to_str().unwrap().into(), ..source(path) };
    let (holes, _) = build_keeping(&[only(&sparse)], Keeps::default(), None).unwrap();
    let (zeros, _) = build_keeping(&[only(&full)], Keeps::default(), None).unwrap();
    assert!(holes.bytes_read < 200_000 && zeros.bytes_read == 40 << 20, "{} {}", holes.bytes_read, zeros.bytes_read);
    assert_eq!((&holes.index.chunks, &holes.index.chunk_refs), (&zeros.index.chunks, &zeros.index.chunk_refs));
    assert_eq!((holes.index.extras.sparse.len(), zeros.index.extras.sparse.len()), (1, 0));
    assert!(holes.is_same_as(&zeros.index), "how a file is allocated makes no revision");
}

#[test]
fn a_file_with_several_names_is_read_and_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path());
    fs::remove_file(folder.path().join("image")).unwrap();
    let (built, _) = build_keeping(&[source(folder.path())], Keeps::default(), None).unwrap();
    assert_eq!((built.files_read, built.bytes_read), (2, 300_005));
    let totals = built.index.totals();
    assert_eq!((totals.files, totals.bytes), (4, 300_005));
    let path = |at: u32| built.index.entries[at as usize].path.as_str();
    let links: Vec<_> = built.index.extras.hard_links.iter().map(|link| (path(link.entry), path(link.first))).collect();
    assert_eq!(links, [("d/again", "a"), ("third", "a")]);
    fs::remove_file(folder.path().join("third")).unwrap();
    fs::copy(folder.path().join("a"), folder.path().join("third")).unwrap();
    let time = fs::metadata(folder.path().join("a")).unwrap().modified().unwrap();
    fs::File::options().write(true).open(folder.path().join("third")).unwrap().set_modified(time).unwrap();
    let (parted, _) = build_keeping(&[source(folder.path())], Keeps::default(), Some(&built.index)).unwrap();
    assert!(!parted.is_same_as(&built.index), "a file that is no longer the same file is a change");
}

#[test]
fn without_being_asked_nothing_but_modes_and_times_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "a").unwrap();
    rustix::fs::setxattr(folder.path().join("a"), "user.x", b"x", rustix::fs::XattrFlags::empty()).unwrap();
    let (built, _) = build_keeping(&[source(folder.path())], Keeps::default(), None).unwrap();
    assert!(built.index.extras.is_empty());
    assert_eq!(built.index.encode()[7], 1, "it is written in the first version");
    let (kept, _) = build_keeping(&[source(folder.path())], Keeps::XATTRS, Some(&built.index)).unwrap();
    assert_eq!(kept.index.encode()[7], 2);
    assert!(!kept.is_same_as(&built.index), "asking for more is a change");
}
