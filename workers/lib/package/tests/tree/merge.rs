//! A merged target: our files among those of others.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Once;

use package::tree::{Held, Installed, Modification, Step, TreeError};
use schemas::ExtractOutcome;

use super::support::*;

fn first() -> Tree {
    Tree::new().file("a", "1").directory("etc").file("etc/b", "2").file("etc/c", content(5, 3 * CHUNK)).link("l", "a")
}

fn shared() -> Site {
    let site = Site::new();
    fs::create_dir_all(site.target().join("etc")).unwrap();
    site.write("theirs", "theirs");
    site.write("etc/theirs", "theirs");
    site
}

fn is_untouched(site: &Site) -> bool {
    site.read("theirs") == "theirs" && site.read("etc/theirs") == "theirs" && !site.has(".tidegate-merge")
}

/// Ours is as the revision says; others may be there too, and move the times of directories.
fn holds(site: &Site, revision: &Revision) -> bool {
    let differences = package::tree::verify(&site.target(), &revision.index).unwrap();
    let is_file = |path: &str| site.target().join(path).symlink_metadata().is_ok_and(|meta| !meta.is_dir());
    let files = differences.modified.iter().filter(|modified| is_file(&modified.path)).count();
    let modes = differences.modified.iter().filter(|modified| modified.what != Modification::Time).count();
    differences.missing.is_empty() && files == 0 && modes == 0
}

#[test]
fn files_are_put_among_those_of_others_and_the_same_again_changes_nothing() {
    let site = shared();
    let one = first().revision(1);
    let done = site.merge(&one).unwrap();
    assert_eq!((done.outcome, done.files_written, done.previous), (ExtractOutcome::Installed, 4, None));
    assert!(holds(&site, &one) && is_untouched(&site));
    let asked = one.asked();
    let again = site.merge(&one).unwrap();
    assert_eq!((again.outcome, again.files_unchanged), (ExtractOutcome::Already, 4));
    assert_eq!(one.asked(), asked);
}

#[test]
fn a_missing_target_is_made() {
    let site = Site::new();
    let one = first().with("", Thing::Directory, 0o750).revision(1);
    site.merge(&one).unwrap();
    assert!(holds(&site, &one));
    assert_eq!(site.mode(""), 0o750);
}

#[test]
fn only_what_changed_is_written_and_what_an_earlier_revision_put_there_goes() {
    let site = shared();
    site.merge(&first().revision(1)).unwrap();
    let two = first().without("a").without("l").file("etc/b", "two").directory("new").file("new/n", "n").revision(2);
    let done = site.merge(&two).unwrap();
    assert_eq!((done.files_written, done.files_removed, done.files_unchanged), (2, 2, 1));
    assert!(holds(&site, &two) && is_untouched(&site));
    assert!(!site.has("a") && !site.has("l"));
    assert!(done.kept.is_empty());
    let three = Tree::new().directory("etc").file("etc/b", "two").revision(3);
    site.merge(&three).unwrap();
    assert!(!site.has("new"), "a directory of ours goes when it is empty");
    assert!(is_untouched(&site));
}

#[test]
fn a_file_changed_on_the_spot_that_would_be_deleted_is_kept_and_reported() {
    let site = shared();
    let one = first().directory("d").file("d/x", "x").revision(1);
    site.merge(&one).unwrap();
    site.write("a", "changed");
    site.write("d/x", "changed");
    let two = Tree::new().directory("etc").file("etc/b", "2").revision(2);
    let done = site.merge(&two).unwrap();
    assert_eq!(done.kept, ["a", "d/x"]);
    assert_eq!((site.read("a"), site.read("d/x")), ("changed".into(), "changed".into()));
    assert!(!site.has("etc/c") && is_untouched(&site));
}

#[test]
fn a_directory_that_others_use_too_stays() {
    let site = shared();
    site.merge(&first().directory("d").file("d/x", "x").revision(1)).unwrap();
    site.write("d/theirs", "t");
    let two = first().revision(2);
    site.merge(&two).unwrap();
    assert!(!site.has("d/x") && site.has("d/theirs"));
    fs::remove_file(site.target().join("d/theirs")).unwrap();
    site.merge(&first().revision(3)).unwrap();
    assert!(!site.has("d"), "once it is empty it goes");
    assert!(site.has("etc"), "one that was there before stays");
}

#[test]
fn what_changes_its_kind_is_replaced_if_it_is_ours() {
    let site = shared();
    let one = Tree::new().directory("a").directory("a/deep").file("a/deep/x", "1").file("b", "2").link("c", "b");
    let two = Tree::new().file("a", "1").directory("b").file("b/x", "2").file("c", "9");
    let mut number = 0;
    for _ in 0..2 {
        for tree in [&one, &two] {
            number += 1;
            let revision = tree.revision(number);
            site.merge(&revision).unwrap();
            assert!(holds(&site, &revision) && is_untouched(&site));
        }
    }
}

#[test]
fn what_others_put_in_the_way_is_refused_by_name_and_nothing_is_written() {
    type Put = fn(&Site);
    let cases: [(&str, Put); 4] = [
        ("a", |site| fs::create_dir(site.target().join("a")).unwrap()),
        ("d", |site| site.write("d", "a file")),
        ("d", |site| symlink("/tmp", site.target().join("d")).unwrap()),
        ("d", |site| symlink("etc", site.target().join("d")).unwrap()),
    ];
    for (path, put) in cases {
        let site = shared();
        put(&site);
        let before = picture(&site.target());
        let error = site.merge(&first().directory("d").file("d/x", "x").revision(1)).unwrap_err();
        assert_eq!(error.code(), "target-in-the-way");
        assert!(error.to_string().contains(&format!("`{path}`")), "{error}");
        assert_eq!(picture(&site.target()), before);
    }
}

#[test]
fn if_one_file_fails_all_are_undone() {
    let two = first().without("a").file("etc/b", "two").directory("new").file("new/n", "n").file("z", "z").revision(2);
    for failing in 0.. {
        let site = shared();
        let one = first().revision(1);
        site.merge(&one).unwrap();
        let before = picture(&site.target());
        let moves = std::sync::atomic::AtomicU64::new(0);
        let result = site.run(MERGE, &two, &|step| {
            let fails = step == Step::Move && moves.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == failing;
            if fails { Err(std::io::Error::from_raw_os_error(5)) } else { Ok(()) }
        });
        if result.is_ok() {
            assert!(failing >= 5, "every move was made to fail once");
            break;
        }
        assert_eq!(code(result), "extract-io");
        assert_eq!(picture(&site.target()), before);
        assert!(holds(&site, &one));
        site.merge(&two).unwrap();
        assert!(holds(&site, &two) && is_untouched(&site));
    }
}

#[test]
fn a_file_that_comes_while_it_works_is_not_overwritten_and_all_is_undone() {
    let site = shared();
    site.merge(&first().revision(1)).unwrap();
    let two = first().file("etc/b", "two").file("z", "ours").revision(2);
    let result = site.run(MERGE, &two, &|step| {
        if step == Step::Swap {
            site.write("z", "theirs");
        }
        Ok(())
    });
    assert_eq!(code(result), "target-in-the-way");
    assert_eq!((site.read("z"), site.read("etc/b")), ("theirs".into(), "2".into()));
}

type Change = fn(&Site, &str);
/// In place, and as most editors do it.
const CHANGES: [Change; 2] = [
    |site, path| site.write(path, "changed"),
    |site, path| {
        site.write("editor", "changed");
        fs::rename(site.target().join("editor"), site.target().join(path)).unwrap();
    },
];

/// Merges while `meanwhile` happens: before the first time of a step.
fn merge_while(site: &Site, two: &Revision, at: Step, meanwhile: impl Fn() + Sync) -> Result<Installed, TreeError> {
    let once = Once::new();
    site.run(MERGE, two, &|step| {
        if step == at {
            once.call_once(&meanwhile);
        }
        Ok(())
    })
}

#[test]
fn a_file_that_is_changed_while_it_would_be_deleted_is_kept_and_reported() {
    for step in [Step::Stage, Step::Swap, Step::Move] {
        for change in CHANGES {
            let site = shared();
            site.merge(&first().revision(1)).unwrap();
            let two = first().without("a").without("l").file("etc/b", "two").revision(2);
            let done = merge_while(&site, &two, step, || change(&site, "a")).unwrap();
            assert_eq!((site.read("a"), done.kept, done.files_removed), ("changed".into(), vec!["a".into()], 1));
            assert!(holds(&site, &two) && is_untouched(&site) && !site.has("l"), "{step:?}");
            let three = site.merge(&first().without("a").without("l").revision(3)).unwrap();
            assert!(three.kept.is_empty() && site.has("a"), "it is no longer ours");
        }
    }
}

#[test]
fn a_file_that_is_touched_or_deleted_while_it_would_be_deleted_goes() {
    let changes: [Change; 2] = [
        |site, path| fs::set_permissions(site.target().join(path), fs::Permissions::from_mode(0o600)).unwrap(),
        |site, path| fs::remove_file(site.target().join(path)).unwrap(),
    ];
    for change in changes {
        let site = shared();
        site.merge(&first().revision(1)).unwrap();
        let two = first().without("a").revision(2);
        let done = merge_while(&site, &two, Step::Swap, || change(&site, "a")).unwrap();
        assert!(done.kept.is_empty() && !site.has("a") && holds(&site, &two));
    }
}

#[test]
fn a_file_that_is_changed_while_a_directory_would_take_its_place_stays_and_all_is_undone() {
    for step in [Step::Swap, Step::Move] {
        for change in CHANGES {
            let site = shared();
            site.merge(&first().revision(1)).unwrap();
            let two = first().directory("a").file("a/x", "x").file("etc/b", "two").revision(2);
            let result = merge_while(&site, &two, step, || change(&site, "a"));
            assert_eq!(code(result), "target-in-the-way");
            assert_eq!((site.read("a"), site.read("etc/b")), ("changed".into(), "2".into()));
            assert!(is_untouched(&site));
        }
    }
}

#[test]
fn a_file_that_is_changed_while_it_would_be_replaced_is_replaced() {
    for change in CHANGES {
        let site = shared();
        site.merge(&first().revision(1)).unwrap();
        let two = first().file("a", "two").revision(2);
        merge_while(&site, &two, Step::Swap, || change(&site, "a")).unwrap();
        assert!(holds(&site, &two) && is_untouched(&site));
    }
}

#[test]
fn a_directory_that_comes_where_a_file_would_be_replaced_stays_and_all_is_undone() {
    let site = shared();
    site.merge(&first().revision(1)).unwrap();
    let two = first().file("a", "two").file("etc/b", "two").revision(2);
    let result = merge_while(&site, &two, Step::Swap, || {
        fs::remove_file(site.target().join("etc/b")).unwrap();
        fs::create_dir(site.target().join("etc/b")).unwrap();
        site.write("etc/b/theirs", "theirs");
    });
    assert_eq!(code(result), "target-in-the-way");
    assert_eq!((site.read("etc/b/theirs"), site.read("a")), ("theirs".into(), "1".into()));
    assert!(is_untouched(&site));
}

#[test]
fn a_file_that_is_changed_once_it_is_moved_in_is_not_taken_for_ours() {
    for step in [Step::Swapped, Step::Commit, Step::Committed] {
        for change in CHANGES {
            let site = shared();
            let one = first().file("n", "12345 7").revision(1);
            merge_while(&site, &one, step, || change(&site, "n")).unwrap();
            assert_eq!(site.merge(&first().revision(2)).unwrap().kept, ["n"], "{step:?}");
            assert_eq!(site.read("n"), "changed");
        }
    }
}

#[test]
fn names_of_one_file_that_go_together_are_not_taken_for_changed() {
    let site = shared();
    site.merge(&first().name("b", "a").name("c", "a").name("d", "a").revision(1)).unwrap();
    let two = first().name("c", "a").name("e", "a").revision(2);
    let done = site.merge(&two).unwrap();
    assert!(done.kept.is_empty() && !site.has("b") && !site.has("d"));
    let three = site.merge(&first().without("a").revision(3)).unwrap();
    assert!(three.kept.is_empty() && three.files_removed == 3, "{three:?}");
}

#[test]
fn older_revisions_are_superseded_unless_pinned() {
    let mut site = shared();
    let (one, two) = (first().revision(1), first().file("a", "2").revision(2));
    site.merge(&two).unwrap();
    assert_eq!(site.merge(&one).unwrap().outcome, ExtractOutcome::Superseded);
    site.pin = true;
    site.merge(&one).unwrap();
    assert!(holds(&site, &one));
}

#[test]
fn a_staging_directory_of_somebody_else_is_refused() {
    let site = shared();
    fs::create_dir(site.target().join(".tidegate-merge")).unwrap();
    assert_eq!(code(site.merge(&first().revision(1))), "staging-foreign");
    assert!(!site.has("a"));
    let site = shared();
    assert_eq!(code(site.merge(&first().directory(".tidegate-merge").revision(1))), "target-in-the-way");
}

#[test]
fn files_that_are_right_already_are_taken_over_without_being_written() {
    let site = shared();
    let one = first().revision(1);
    site.merge(&one).unwrap();
    fs::remove_dir_all(site.state_dir()).unwrap();
    let done = site.merge(&one).unwrap();
    assert_eq!((done.files_written, done.files_unchanged), (0, 4));
    let two = Tree::new().revision(2);
    site.merge(&two).unwrap();
    assert!(!site.has("a") && is_untouched(&site));
}

#[test]
fn chunks_of_merged_files_need_not_be_fetched() {
    let site = shared();
    site.merge(&first().revision(1)).unwrap();
    let mut two = first().without("etc/c").file("moved", content(5, 3 * CHUNK)).revision(2);
    let held = Held::open(&site.target(), &site.state_dir(), &two.index).unwrap();
    assert!(two.index.chunks.iter().all(|chunk| held.contains(&chunk.digest)));
    two.missing = (0..two.index.frames.len() as u32).collect();
    site.merge(&two).unwrap();
    assert!(holds(&site, &two));
}
