//! Owners, extended attributes and holes at the target.

use std::fs;
use std::os::unix::fs::MetadataExt;

use package::Keeps;
use package::extras::Account;
use package::tree::{self, Modification, Policy};
use schemas::ExtractOutcome;

use super::support::*;

fn with_attributes() -> Tree {
    let tree = Tree::new().directory("d").file("a", "a").file("d/b", "b").keeping(Keeps::XATTRS);
    tree.attribute("a", "user.colour", "red").attribute("d", "user.shelf", "3")
}

fn number(id: u32) -> Account {
    Account { id, name: None }
}

fn attribute(site: &Site, path: &str, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 100];
    let bytes = rustix::fs::getxattr(site.target().join(path), name, value.as_mut_slice()).ok()?;
    value.truncate(bytes);
    Some(value)
}

fn set(site: &Site, path: &str, name: &str, value: &str) {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(site.target().join(path), name, value.as_bytes(), flags).unwrap();
}

#[test]
fn attributes_come_with_files_and_directories_and_go_with_them() {
    for way in [MIRROR, MERGE] {
        let site = Site::new();
        let one = with_attributes().revision(1);
        site.run(way, &one, &|_| Ok(())).unwrap();
        assert_eq!(attribute(&site, "a", "user.colour"), Some(b"red".to_vec()));
        assert_eq!(attribute(&site, "d", "user.shelf"), Some(b"3".to_vec()));
        assert_eq!(site.run(way, &one, &|_| Ok(())).unwrap().outcome, ExtractOutcome::Already);
        let mut tree = with_attributes();
        tree.attributes.remove("a");
        let two = tree.attribute("d/b", "user.new", "n").revision(2);
        site.run(way, &two, &|_| Ok(())).unwrap();
        assert_eq!(
            (attribute(&site, "a", "user.colour"), attribute(&site, "d/b", "user.new")),
            (None, Some(b"n".to_vec()))
        );
    }
}

#[test]
fn an_attribute_changed_on_the_spot_is_drift_and_is_repaired() {
    for way in [MIRROR, MERGE] {
        let site = Site::new();
        let revision = with_attributes().revision(1);
        site.run(way, &revision, &|_| Ok(())).unwrap();
        set(&site, "a", "user.colour", "blue");
        set(&site, "d/b", "user.extra", "x");
        let found = tree::verify(&site.target(), &revision.index).unwrap();
        let found: Vec<_> = found.modified.iter().filter(|m| m.what != Modification::Time).collect();
        assert_eq!(found.iter().map(|m| m.path.as_str()).collect::<Vec<_>>(), ["a", "d/b"]);
        assert!(found.iter().all(|m| m.what == Modification::Attributes));
        site.run(way, &revision, &|_| Ok(())).unwrap();
        assert_eq!(
            (attribute(&site, "a", "user.colour"), attribute(&site, "d/b", "user.extra")),
            (Some(b"red".to_vec()), None)
        );
    }
}

#[test]
fn a_directorys_attribute_changed_on_the_spot_is_repaired() {
    let site = Site::new();
    let revision = with_attributes().revision(1);
    site.mirror(&revision).unwrap();
    set(&site, "d", "user.shelf", "4");
    assert!(!tree::verify(&site.target(), &revision.index).unwrap().is_empty());
    site.mirror(&revision).unwrap();
    assert!(site.verified(&revision));
}

#[test]
fn attributes_that_nobody_asked_to_keep_are_left_alone() {
    let site = Site::new();
    let revision = Tree::new().file("a", "a").revision(1);
    site.mirror(&revision).unwrap();
    set(&site, "a", "user.mine", "x");
    assert!(site.verified(&revision));
}

#[test]
fn security_attributes_are_refused_unless_they_are_allowed() {
    let mut site = Site::new();
    let capable = |name: &str| Tree::new().file("a", "a").keeping(Keeps::SECURITY).attribute("a", name, "x");
    let revision = capable("security.tidegate").revision(1);
    assert_eq!(code(site.mirror(&revision)), "security-attributes");
    assert!(!site.target().exists(), "nothing was written");
    site.policy.security_attributes = true;
    if rustix::process::geteuid().is_root() {
        site.mirror(&revision).unwrap();
        assert_eq!(attribute(&site, "a", "security.tidegate"), Some(b"x".to_vec()));
    }
    let mut forged = capable("security.x").revision(2);
    forged.index.extras.attribute_sets[0][0].name = "trusted.overlay.opaque".into();
    assert_eq!(code(site.mirror(&forged)), "index-invalid");
}

#[test]
fn a_file_system_without_attributes_is_refused_by_name() {
    let site = Site::new();
    // procfs cannot hold a target, but a value larger than any file system takes says the same.
    let huge = "x".repeat(65_536);
    let revision = Tree::new().file("a", "a").keeping(Keeps::XATTRS).attribute("a", "user.huge", &huge).revision(1);
    let error = site.mirror(&revision).unwrap_err();
    assert_eq!((error.code(), error.permanent()), ("attribute-unsupported", true));
    assert!(error.to_string().contains("user.huge") && error.to_string().contains("`a`"), "{error}");
    assert!(!site.target().exists());
}

#[test]
fn an_account_that_the_machine_does_not_know_is_refused_by_name_before_anything_is_written() {
    let nobody = |name: &str| Account { id: 7, name: Some(name.into()) };
    for (user, group, name) in
        [("nobody-of-this-name", "root", "nobody-of-this-name"), ("root", "no-such-group", "no-such-group")]
    {
        let site = Site::new();
        let revision = Tree::new().file("a", "a").owner(nobody(user), nobody(group)).revision(1);
        let error = site.mirror(&revision).unwrap_err();
        assert_eq!((error.code(), error.permanent()), ("account-unknown", true));
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(picture(site.folder.path()).len(), 0);
    }
}

/// A name wins over its number; a number without a name is taken as it is.
#[test]
fn owners_are_set_by_name_else_by_number() {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    for way in [MIRROR, MERGE] {
        let site = Site::new();
        let revision = Tree::new().directory("d").file("d/a", "a").link("l", "d").owner(number(user), number(group));
        let revision = revision.revision(1);
        site.run(way, &revision, &|_| Ok(())).unwrap();
        assert!(tree::verify(&site.target(), &revision.index).unwrap().missing.is_empty());
    }
    if user != 0 {
        eprintln!("only root can give files away: the rest is not tried");
        return;
    }
    let owner_of = |site: &Site, path: &str| {
        let meta = fs::symlink_metadata(site.target().join(path)).unwrap();
        (meta.uid(), meta.gid())
    };
    for way in [MIRROR, MERGE] {
        let site = Site::new();
        let daemon = Account { id: 54_321, name: Some("daemon".into()) };
        let tree = Tree::new().directory("d").file("d/a", "a").name("d/b", "d/a").link("l", "d");
        let one = tree.clone().owner(daemon, number(4_242)).revision(1);
        site.run(way, &one, &|_| Ok(())).unwrap();
        for path in ["d", "d/a", "d/b", "l"] {
            assert_eq!(owner_of(&site, path), (1, 4_242), "{path}");
        }
        let two = tree.owner(number(4_243), number(4_242)).revision(2);
        site.run(way, &two, &|_| Ok(())).unwrap();
        assert_eq!((owner_of(&site, "d/a"), owner_of(&site, "l")), ((4_243, 4_242), (4_243, 4_242)));
    }
}

#[test]
fn an_owner_changed_on_the_spot_is_drift_and_is_repaired() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("only root can give files away: not tried");
    }
    let site = Site::new();
    let revision = Tree::new().directory("d").file("a", "a").owner(number(4_242), number(4_242)).revision(1);
    site.mirror(&revision).unwrap();
    for path in ["a", "d"] {
        std::os::unix::fs::chown(site.target().join(path), Some(7), None).unwrap();
    }
    let found = tree::verify(&site.target(), &revision.index).unwrap();
    assert_eq!(found.modified.iter().map(|m| m.what).collect::<Vec<_>>(), [Modification::Owner, Modification::Owner]);
    site.mirror(&revision).unwrap();
    assert!(site.verified(&revision));
}

fn with_zeros() -> Vec<u8> {
    let mut bytes = content(1, 5_000);
    bytes.resize(700_000, 0);
    bytes.extend(content(2, 5_000));
    bytes.resize(1_000_000, 0);
    bytes
}

#[test]
fn a_sparse_file_is_sparse_again_and_another_is_not() {
    for way in [MIRROR, MERGE] {
        let site = Site::new();
        let revision = Tree::new().file("full", with_zeros()).file("holes", with_zeros()).sparse("holes");
        let revision = revision.file("all", vec![0; 300_001]).sparse("all").revision(1);
        site.run(way, &revision, &|_| Ok(())).unwrap();
        let on_disk = |path: &str| fs::metadata(site.target().join(path)).unwrap().blocks() * 512;
        assert!(fs::read(site.target().join("holes")).unwrap() == with_zeros());
        assert!(fs::read(site.target().join("all")).unwrap() == vec![0; 300_001]);
        assert!(
            on_disk("full") >= 1_000_000 && on_disk("holes") <= 100_000,
            "{} {}",
            on_disk("full"),
            on_disk("holes")
        );
        assert!(on_disk("all") <= 8_192);
    }
}

#[test]
fn a_sparse_tree_may_be_far_larger_than_what_is_stored_and_a_full_one_may_not() {
    let zeros = vec![0; package::limits::CHUNK_BYTES_MAX];
    let tree = |n: u64| Tree::new().file("big", &zeros).revision(n);
    let mut huge = tree(1);
    let chunk = package::Chunk { digest: schemas::Digest::of(&zeros), bytes: zeros.len() as u32, frame: 0, offset: 0 };
    let frame =
        package::Frame { raw_bytes: zeros.len() as u32, stored_bytes: zeros.len() as u32, ..huge.index.frames[0] };
    let count = 1u64 << 18;
    huge.index.chunks = vec![chunk];
    huge.index.frames = vec![frame];
    huge.index.packs[0].bytes = zeros.len() as u64;
    huge.index.chunk_refs = vec![0; count as usize];
    huge.index.entries[1].kind = package::EntryKind::File { bytes: count * zeros.len() as u64, refs: 0..count as u32 };
    let site = Site::new();
    let policy = Policy { expansion_max: 10, ..site.policy.clone() };
    assert_eq!(tree::check(&huge.index, &policy).unwrap_err().code(), "expansion");
    assert_eq!(tree::check(&huge.index, &Policy { expansion: true, ..policy }), Ok(()));
    huge.index.extras.sparse = vec![1];
    site.mirror(&huge).unwrap();
    let meta = fs::metadata(site.target().join("big")).unwrap();
    assert_eq!((meta.len(), meta.blocks()), (64 << 30, 0), "64 GiB of hole cost nothing");
    assert_eq!(huge.asked(), 0, "no frame is read for it");
}
