//! A process that ends at any step: the target is the old or the new tree, and the next call brings it to its end.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use package::tree::{Step, cut_off, recover, verify};
use schemas::ExtractOutcome;

use super::support::*;

const FOLDER: &str = "TIDEGATE_TREE_FOLDER";
const CRASH: &str = "TIDEGATE_TREE_CRASH";
/// The files of one installation at which it is made to crash.
const FILES: [u64; 4] = [0, 1, 7, 13];

fn revision(number: u64) -> Revision {
    let mut tree =
        Tree::new().directory("d").directory("d/e").link("l", "d").file("big", content(number / 2, 9 * CHUNK));
    for n in 0..24u64 {
        let text = if n % 4 == number % 4 { format!("{n} of {number}") } else { format!("{n}") };
        tree = tree.file(&format!("d/e/f{n}"), text);
    }
    tree = tree.file(&format!("only-{number}"), "x").directory(&format!("in-{number}"));
    tree.file(&format!("in-{number}/x"), "x").revision(number)
}

#[test]
fn child() {
    let (Ok(folder), Ok(crash)) = (std::env::var(FOLDER), std::env::var(CRASH)) else { return };
    let words: Vec<&str> = crash.split(' ').collect();
    let [way, number, step, at] = words[..] else { panic!("{crash}") };
    let (number, at): (u64, u64) = (number.parse().unwrap(), at.parse().unwrap());
    let folder = Path::new(&folder);
    let seen = AtomicU64::new(0);
    let way = if way == "mirror" { MIRROR } else { MERGE };
    let done =
        install_at(&folder.join("target"), &folder.join("state"), &Site::new(), way, &revision(number), &|now| {
            if now.name() == step && seen.fetch_add(1, Ordering::SeqCst) == at {
                std::process::abort();
            }
            Ok(())
        });
    panic!("it did not come to {step} {at}: {done:?}");
}

/// Runs one installation in a process of its own that ends at a step.
fn crash(site: &Site, way: &str, number: u64, step: Step, at: u64) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(FOLDER, site.folder.path())
        .env("TMPDIR", site.folder.path())
        .env(CRASH, format!("{way} {number} {} {at}", step.name()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !text.contains("it did not come to"), "{text}");
}

fn is(site: &Site, number: u64) -> bool {
    match number {
        0 => !site.target().exists(),
        _ => verify(&site.target(), &revision(number).index).unwrap().is_empty(),
    }
}

/// The installations that differ: the first, the second (which links), and those after it (which change the standby).
#[test]
fn a_mirror_that_dies_at_any_step_shows_the_old_or_the_new_tree_and_is_finished_by_the_next_call() {
    let one_each = [Step::Stage, Step::Sync, Step::Swap, Step::Swapped, Step::Commit, Step::Committed];
    let steps = one_each.into_iter().map(|step| (step, 0)).chain(FILES.map(|at| (Step::File, at)));
    for (step, at) in steps {
        for before in 0..4 {
            if (step, before) == (Step::File, 3) && at > 10 {
                continue;
            }
            let site = Site::new();
            (1..=before).for_each(|number| {
                site.mirror(&revision(number)).unwrap();
            });
            crash(&site, "mirror", before + 1, step, at);
            let visible = matches!(step, Step::Swapped | Step::Commit | Step::Committed);
            assert!(is(&site, before + u64::from(visible)), "{step:?} {at} after {before}");
            let next = revision(before + 1);
            let done = site.mirror(&next).unwrap();
            assert!(is(&site, before + 1), "{step:?} {at} after {before}");
            assert_eq!(
                done.previous,
                if step == Step::Committed { Some(before + 1) } else { (before > 0).then_some(before) }
            );
            if !matches!(step, Step::Stage | Step::File) {
                assert_eq!(next.asked(), 0, "{step:?}: nothing is read again");
            }
            if step != Step::Committed {
                assert_eq!(done.outcome, ExtractOutcome::Installed);
            }
            site.mirror(&revision(before + 2)).unwrap();
            assert!(is(&site, before + 2), "{step:?} {at} after {before}");
        }
    }
}

#[test]
fn another_revision_may_follow_a_mirror_that_died() {
    for step in [Step::File, Step::Swap, Step::Swapped, Step::Commit] {
        let mut site = Site::new();
        site.pin = true;
        for number in [1, 2] {
            site.mirror(&revision(number)).unwrap();
        }
        crash(&site, "mirror", 3, step, 0);
        for number in [5, 2, 1, 3] {
            site.mirror(&revision(number)).unwrap();
            assert!(is(&site, number), "{step:?} {number}");
        }
    }
}

#[test]
fn a_mirror_may_die_again_and_again() {
    let site = Site::new();
    site.mirror(&revision(1)).unwrap();
    for step in [Step::Stage, Step::File, Step::Sync, Step::Swap, Step::Swap, Step::Swapped] {
        crash(&site, "mirror", 2, step, 0);
        assert!(is(&site, if step == Step::Swapped { 2 } else { 1 }));
    }
    assert_eq!(site.mirror(&revision(2)).unwrap().outcome, ExtractOutcome::Installed);
    assert_eq!(site.mirror(&revision(2)).unwrap().outcome, ExtractOutcome::Already);
}

#[test]
fn a_merge_that_dies_at_any_step_is_undone_and_done_again() {
    let one_each = [Step::Stage, Step::Sync, Step::Swap, Step::Swapped, Step::Commit, Step::Committed];
    let moves = [0, 1, 2, 3, 5, 8].map(|at| (Step::Move, at));
    let steps = one_each.into_iter().map(|step| (step, 0)).chain([(Step::File, 0), (Step::File, 4)]).chain(moves);
    for (step, at) in steps {
        for before in 0..3u64 {
            let site = Site::new();
            std::fs::create_dir(site.target()).unwrap();
            site.write("theirs", "t");
            (1..=before).for_each(|number| {
                site.merge(&revision(number)).unwrap();
            });
            crash(&site, "merge", before + 1, step, at);
            every_file_is_old_or_new(&site, before);
            if before > 0 && step != Step::Committed {
                site.merge(&revision(before)).unwrap();
                assert!(
                    holds(&site, before) && !site.has(&format!("only-{}", before + 1)),
                    "{step:?} {at}: all undone"
                );
            }
            site.merge(&revision(before + 1)).unwrap();
            assert!(holds(&site, before + 1), "{step:?} {at} after {before}");
            assert_eq!(site.read("theirs"), "t");
            assert!(!site.has(".tidegate-merge"));
            assert!(before == 0 || !site.has(&format!("in-{before}")));
        }
    }
}

#[test]
fn a_merge_that_died_is_undone_without_the_next_one() {
    for (step, at) in [(Step::File, 4), (Step::Swap, 0), (Step::Move, 1), (Step::Move, 5), (Step::Swapped, 0)] {
        let site = Site::new();
        site.merge(&revision(1)).unwrap();
        crash(&site, "merge", 2, step, at);
        assert_eq!(cut_off(&site.state_dir()).unwrap(), Some(site.target()), "{step:?} {at}");
        assert!(recover(&site.target(), &site.state_dir()).unwrap());
        assert!(holds(&site, 1) && !site.has("only-2") && !site.has("in-2") && !site.has(".tidegate-merge"));
        assert_eq!(cut_off(&site.state_dir()).unwrap(), None);
        assert!(recover(&site.target(), &site.state_dir()).unwrap(), "once more does no harm");
        assert!(holds(&site, 1), "{step:?} {at}");
    }
}

#[test]
fn a_merge_that_was_recorded_is_not_undone() {
    let site = Site::new();
    site.merge(&revision(1)).unwrap();
    crash(&site, "merge", 2, Step::Committed, 0);
    assert!(recover(&site.target(), &site.state_dir()).unwrap());
    assert!(holds(&site, 2) && !site.has("in-1") && !site.has(".tidegate-merge"));
}

/// A volume that is not mounted, and a directory in its place.
#[test]
fn a_merge_that_died_is_not_forgotten_while_its_target_is_elsewhere() {
    let site = Site::new();
    site.merge(&revision(1)).unwrap();
    crash(&site, "merge", 2, Step::Move, 5);
    let elsewhere = site.folder.path().join("elsewhere");
    std::fs::rename(site.target(), &elsewhere).unwrap();
    assert!(!recover(&site.target(), &site.state_dir()).unwrap());
    std::fs::create_dir(site.target()).unwrap();
    assert!(!recover(&site.target(), &site.state_dir()).unwrap());
    std::fs::remove_dir(site.target()).unwrap();
    std::fs::rename(&elsewhere, site.target()).unwrap();
    assert!(recover(&site.target(), &site.state_dir()).unwrap());
    assert!(holds(&site, 1) && !site.has("only-2"));
}

fn holds(site: &Site, number: u64) -> bool {
    let differences = verify(&site.target(), &revision(number).index).unwrap();
    let is_directory = |path: &str| site.target().join(path).symlink_metadata().is_ok_and(|meta| meta.is_dir());
    differences.missing.is_empty() && differences.modified.iter().all(|modified| is_directory(&modified.path))
}

fn every_file_is_old_or_new(site: &Site, before: u64) {
    if before == 0 {
        return;
    }
    for n in 0..24 {
        let text = site.read(&format!("d/e/f{n}"));
        let allowed = [format!("{n}"), format!("{n} of {before}"), format!("{n} of {}", before + 1)];
        assert!(allowed.contains(&text), "{text}");
    }
}
