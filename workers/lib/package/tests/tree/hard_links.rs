//! Names of one file in the revision are names of one file at the target, and no others are.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use package::tree::{self, Modification};
use proptest::prelude::*;
use schemas::ExtractOutcome;
use schemas::definitions::Unchanged;

use super::support::*;

fn first() -> Tree {
    let tree = Tree::new().directory("d").file("a", content(1, 3 * CHUNK)).file("b", "alone").file("z", "z");
    tree.name("c", "a").name("d/e", "a")
}

fn ino(site: &Site, path: &str) -> u64 {
    fs::metadata(site.target().join(path)).unwrap().ino()
}

/// The names of each file of a tree with several, by inode.
fn are_one(site: &Site, names: &[&str]) -> bool {
    names.iter().all(|name| ino(site, name) == ino(site, names[0]))
}

#[test]
fn a_file_with_three_names_is_written_once_and_linked() {
    for way in [MIRROR, MERGE] {
        let site = Site::new();
        let revision = first().revision(1);
        let done = site.run(way, &revision, &|_| Ok(())).unwrap();
        assert!(are_one(&site, &["a", "c", "d/e"]) && !are_one(&site, &["a", "b"]));
        assert_eq!(fs::metadata(site.target().join("a")).unwrap().nlink(), 3);
        assert_eq!((done.outcome, done.files_written), (ExtractOutcome::Installed, 5));
        let again = site.run(way, &revision, &|_| Ok(())).unwrap();
        assert_eq!(again.outcome, ExtractOutcome::Already);
    }
}

#[test]
fn an_unchanged_file_keeps_its_names_over_revisions_and_nothing_is_read_or_written() {
    let site = Site::new();
    site.mirror(&first().revision(1)).unwrap();
    for number in 2..6 {
        let next = first().file("b", format!("{number}")).revision(number);
        let done = site.mirror(&next).unwrap();
        assert!(site.verified(&next));
        assert!(are_one(&site, &["a", "c", "d/e"]));
        let written = if number == 2 { 3 } else { 1 };
        assert_eq!((done.files_written, next.asked()), (written, 1), "the names are linked once, in revision 2");
        assert_eq!(site.mirror(&next).unwrap().outcome, ExtractOutcome::Already, "the stamps are those of the end");
    }
}

#[test]
fn names_come_go_part_and_join_as_the_revisions_say() {
    for way in [MIRROR, MERGE] {
        for unchanged in [Unchanged::Link, Unchanged::Reflink, Unchanged::Copy] {
            let mut site = Site::new();
            (site.unchanged, site.pin) = (unchanged, true);
            let same = content(1, 3 * CHUNK);
            let trees = [
                first(),
                first().without("c"),
                first().file("c", &same),
                first().name("f", "a"),
                first().without("c").file("c", &same).name("g", "c"),
                first().without("a").without("c").without("d/e").file("d/e", &same),
                first().name("b1", "b").name("b2", "b"),
                first().without("d/e").directory("c2").name("c2/x", "a"),
            ];
            let mut trees: Vec<_> = trees.into_iter().map(fix).collect();
            let back: Vec<_> = trees.iter().rev().cloned().collect();
            trees.extend(back);
            for (number, tree) in trees.iter().enumerate() {
                let revision = tree.revision(number as u64 + 1);
                site.run(way, &revision, &|_| Ok(())).unwrap();
                let differences = tree::verify(&site.target(), &revision.index).unwrap();
                let wrong: Vec<_> = differences.modified.iter().filter(|m| m.what != Modification::Time).collect();
                assert!(wrong.is_empty() && differences.missing.is_empty(), "{number} {unchanged:?}: {differences:?}");
            }
        }
    }
}

/// `file` over a name makes it a file of its own.
fn fix(mut tree: Tree) -> Tree {
    let things = tree.things.clone();
    tree.names.retain(|path, first| things.contains_key(first) && things[path] == things[first]);
    tree
}

#[test]
fn equal_files_that_are_not_one_stay_apart() {
    let mut site = Site::new();
    site.pin = true;
    let apart = Tree::new().file("a", "same").file("b", "same");
    let joined = Tree::new().file("a", "same").name("b", "a");
    for (number, tree) in [&apart, &joined, &apart, &joined, &joined, &apart].into_iter().enumerate() {
        let revision = tree.revision(number as u64 + 1);
        site.mirror(&revision).unwrap();
        assert!(site.verified(&revision), "{number}");
        assert_eq!(are_one(&site, &["a", "b"]), tree.names.len() == 1, "{number}");
    }
}

#[test]
fn names_that_somebody_joined_or_parted_are_drift_and_are_repaired() {
    let site = Site::new();
    let revision = Tree::new().file("a", "same").name("b", "a").file("c", "same").file("d", "same").revision(1);
    site.mirror(&revision).unwrap();
    let path = |name: &str| site.target().join(name);
    fs::remove_file(path("d")).unwrap();
    fs::hard_link(path("c"), path("d")).unwrap();
    fs::remove_file(path("b")).unwrap();
    fs::copy(path("a"), path("b")).unwrap();
    let time = fs::metadata(path("a")).unwrap().modified().unwrap();
    fs::File::options().write(true).open(path("b")).unwrap().set_modified(time).unwrap();
    let found = tree::verify(&site.target(), &revision.index).unwrap();
    let of_files = found.modified.iter().filter(|m| !m.path.is_empty());
    let found: Vec<_> = of_files.map(|m| (m.path.as_str(), m.what)).collect();
    assert_eq!(found, [("b", Modification::Names), ("d", Modification::Names)]);
    site.mirror(&revision).unwrap();
    assert!(site.verified(&revision));
}

#[test]
fn a_program_that_writes_in_place_reaches_all_names_and_copies_keep_the_other_tree_out_of_it() {
    for (unchanged, shared) in [(Unchanged::Link, true), (Unchanged::Reflink, false), (Unchanged::Copy, false)] {
        let mut site = Site::new();
        (site.unchanged, site.pin) = (unchanged, true);
        let (one, two) = (first().revision(1), first().file("b", "2").revision(2));
        site.mirror(&one).unwrap();
        site.mirror(&two).unwrap();
        let path = |root: &Path, name: &str| root.join(name);
        use std::io::Write;
        let mut file = fs::File::options().write(true).open(path(&site.target(), "a")).unwrap();
        file.write_all(b"in place").unwrap();
        assert!(fs::read(path(&site.target(), "d/e")).unwrap().starts_with(b"in place"), "it is one file");
        let reached = fs::read(path(&site.standby(), "c")).unwrap().starts_with(b"in place");
        assert_eq!(reached, shared, "{unchanged:?}");
        site.mirror(&one).unwrap();
        assert!(site.verified(&one), "a rollback brings back what was built");
    }
}

#[test]
fn going_from_links_to_copies_parts_the_trees() {
    let mut site = Site::new();
    let revision = |n: u64| first().file("b", format!("{n}")).revision(n);
    (1..4).for_each(|n| drop(site.mirror(&revision(n)).unwrap()));
    let names = |site: &Site| fs::metadata(site.target().join("z")).unwrap().nlink();
    assert_eq!(names(&site), 2, "one in each tree");
    site.unchanged = Unchanged::Copy;
    let next = revision(4);
    site.mirror(&next).unwrap();
    assert!(site.verified(&next));
    assert_eq!((names(&site), fs::metadata(site.target().join("c")).unwrap().nlink()), (1, 3));
    assert_eq!(next.asked(), 1, "copies are made from the trees");
}

#[test]
fn a_mirror_that_was_cut_short_between_names_goes_on() {
    for stop in 0..12 {
        let site = Site::new();
        site.mirror(&first().revision(1)).unwrap();
        let next = first().file("a", "new").name("c", "a").name("d/e", "a").file("b", "new").revision(2);
        let seen = std::sync::atomic::AtomicU64::new(0);
        let cut = site.run(MIRROR, &next, &|_| match seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            n if n == stop => Err(std::io::Error::other("cut")),
            _ => Ok(()),
        });
        if cut.is_err() {
            site.mirror(&next).unwrap();
        }
        assert!(site.verified(&next), "{stop}");
    }
}

/// Names a to f, each with one of three contents, some of them one file.
fn any_tree() -> impl Strategy<Value = Tree> {
    prop::collection::vec((0u8..6, 0u8..3, any::<bool>()), 0..7).prop_map(|files| {
        let mut tree = Tree::new().directory("m");
        for (name, content, joins) in files {
            let name = ["a", "b", "c", "m/d", "m/e", "f"][name as usize];
            let text = ["0", "11", "222"][content as usize];
            if tree.things.contains_key(name) {
                continue;
            }
            let is_same = |(path, thing): &(&String, &(Thing, u32, i64))| {
                path.as_str() < name && thing.0 == Thing::File(text.into()) && !tree.names.contains_key(*path)
            };
            let first = tree.things.iter().find(is_same).map(|(path, _)| path.clone());
            tree = match first {
                Some(first) if joins => tree.name(name, &first),
                _ => tree.file(name, text),
            };
        }
        tree
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_names_is_mirrored_and_merged_exactly(trees in prop::collection::vec(any_tree(), 1..6)) {
        for way in [MIRROR, MERGE] {
            let site = Site::new();
            for (number, tree) in trees.iter().enumerate() {
                let revision = tree.revision(number as u64 + 1);
                site.run(way, &revision, &|_| Ok(())).unwrap();
                let differences = tree::verify(&site.target(), &revision.index).unwrap();
                let wrong = differences.modified.iter().find(|m| m.what != Modification::Time);
                prop_assert!(wrong.is_none() && differences.missing.is_empty(), "{:?}", differences);
                prop_assert_eq!(site.run(way, &revision, &|_| Ok(())).unwrap().outcome, ExtractOutcome::Already);
            }
        }
    }
}
