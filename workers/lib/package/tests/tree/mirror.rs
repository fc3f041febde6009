//! A mirrored target: exactly the revision, at every instant.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use package::tree::{self, Held, Step};
use schemas::ExtractOutcome;

use super::support::*;

fn first() -> Tree {
    Tree::new()
        .file("readme", "one")
        .directory("bin")
        .with("bin/run", Thing::File(content(1, 5 * CHUNK + 7)), 0o755)
        .directory("bin/empty")
        .file("bin/none", "")
        .link("bin/again", "run")
        .file("bin-x", "sorts between bin and bin/run")
        .with("private", Thing::Directory, 0o500)
        .with("private/key", Thing::File(b"k".to_vec()), 0o400)
}

#[test]
fn a_first_installation_makes_exactly_the_revision() {
    let site = Site::new();
    let revision = first().revision(1);
    let done = site.mirror(&revision).unwrap();
    assert_eq!((done.outcome, done.files_written, done.previous), (ExtractOutcome::Installed, 6, None));
    assert!(site.verified(&revision));
    assert_eq!(site.mode("bin/run"), 0o755);
    assert_eq!(fs::metadata(site.target()).unwrap().mtime_nsec(), MTIME % 1_000_000_000);
    assert!(!site.standby().exists());
    assert_eq!(revision.asked(), revision.content.len() as u64, "each frame is decoded once");
}

#[test]
fn parents_of_the_target_are_made() {
    let site = Site::new();
    let revision = first().revision(1);
    let target = site.folder.path().join("a/b/c");
    install_at(&target, &site.state_dir(), &site, MIRROR, &revision, &|_| Ok(())).unwrap();
    assert!(tree::verify(&target, &revision.index).unwrap().is_empty());
}

#[test]
fn the_same_revision_again_changes_nothing() {
    let site = Site::new();
    let revision = first().revision(1);
    site.mirror(&revision).unwrap();
    let asked = revision.asked();
    let done = site.mirror(&revision).unwrap();
    assert_eq!((done.outcome, done.files_unchanged, done.previous), (ExtractOutcome::Already, 6, Some(1)));
    assert_eq!(revision.asked(), asked);
    assert!(!site.standby().exists());
}

#[test]
fn an_older_revision_is_superseded_unless_it_is_pinned() {
    let mut site = Site::new();
    let (one, two) = (first().revision(1), first().file("readme", "two").revision(2));
    site.mirror(&two).unwrap();
    assert_eq!(site.mirror(&one).unwrap().outcome, ExtractOutcome::Superseded);
    assert!(site.verified(&two));
    site.pin = true;
    assert_eq!(site.mirror(&one).unwrap().outcome, ExtractOutcome::Installed);
    assert!(site.verified(&one));
}

#[test]
fn the_second_revision_links_what_is_unchanged_and_writes_what_is_not() {
    let site = Site::new();
    let (one, two) = (first().revision(1), first().file("readme", "two").without("bin/none").revision(2));
    site.mirror(&one).unwrap();
    let done = site.mirror(&two).unwrap();
    assert!(site.verified(&two));
    let counted = (done.files_written, done.files_linked, done.files_unchanged, done.files_removed);
    assert_eq!(counted, (1, 4, 4, 1), "a symbolic link that is made anew as it was counts as unchanged");
    let inode = |path: &std::path::Path| fs::metadata(path.join("bin/run")).unwrap().ino();
    assert_eq!(inode(&site.target()), inode(&site.standby()));
}

#[test]
fn a_symbolic_link_that_says_something_else_counts_as_written() {
    let site = Site::new();
    site.mirror(&first().revision(1)).unwrap();
    let done = site.mirror(&first().link("bin/again", "none").link("bin/more", "run").revision(2)).unwrap();
    assert_eq!((done.files_written, done.files_linked), (2, 5));
}

#[test]
fn a_symbolic_link_that_somebody_bent_counts_as_written() {
    let site = Site::new();
    site.mirror(&first().revision(1)).unwrap();
    fs::remove_file(site.target().join("bin/again")).unwrap();
    std::os::unix::fs::symlink("none", site.target().join("bin/again")).unwrap();
    let two = first().file("readme", "two").revision(2);
    let done = site.mirror(&two).unwrap();
    assert_eq!((done.files_written, done.files_linked), (2, 4));
    assert!(site.verified(&two));
}

#[test]
fn from_the_third_revision_on_only_what_changed_is_touched() {
    let site = Site::new();
    let tree = |text: &str| {
        (0..50).fold(first(), |tree, n| tree.file(&format!("f{n:02}"), format!("{n}"))).file("readme", text)
    };
    site.mirror(&tree("one").revision(1)).unwrap();
    site.mirror(&tree("two").revision(2)).unwrap();
    let three = tree("three").revision(3);
    let done = site.mirror(&three).unwrap();
    assert!(site.verified(&three));
    assert_eq!((done.files_written, done.files_linked, done.files_removed), (1, 0, 0));
    assert_eq!(three.asked(), 1);
}

#[test]
fn a_rollback_to_the_standby_revision_asks_for_no_content() {
    let mut site = Site::new();
    site.pin = true;
    let (one, two) = (first().revision(1), first().file("readme", "two").file("new", "n").revision(2));
    site.mirror(&one).unwrap();
    site.mirror(&two).unwrap();
    let asked = one.asked();
    for (to, other) in [(&one, &two), (&two, &one), (&one, &two)] {
        let done = site.mirror(to).unwrap();
        assert_eq!(
            (done.outcome, done.files_written, done.previous),
            (ExtractOutcome::Installed, 0, Some(other.at.number))
        );
        assert!(site.verified(to));
        let standing = tree::installed(&site.target(), &site.state_dir()).unwrap().unwrap();
        assert_eq!((standing.live, standing.standby), (Some(to.at), Some(other.at)));
    }
    assert_eq!((one.asked(), two.asked()), (asked, 2));
}

#[test]
fn a_change_of_mode_or_time_alone_leaves_the_shared_file_of_the_other_tree_alone() {
    let mut site = Site::new();
    site.pin = true;
    let one = first().revision(1);
    let two = first().with("readme", Thing::File(b"one".to_vec()), 0o600).time("bin-x", MTIME + 5).revision(2);
    let three = first().with("readme", Thing::File(b"one".to_vec()), 0o640).revision(3);
    site.mirror(&one).unwrap();
    for next in [&two, &three, &two, &one] {
        site.mirror(next).unwrap();
        assert!(site.verified(next));
    }
    assert_eq!(two.asked() + three.asked(), 0, "content came from the trees");
}

#[test]
fn what_changes_its_kind_is_replaced() {
    let site = Site::new();
    let one = Tree::new().directory("a").file("a/x", "1").file("b", "2").link("c", "b").directory("d").file("d/y", "3");
    let two = Tree::new().file("a", "1").directory("b").file("b/x", "2").directory("c").file("c/z", "9").link("d", "c");
    let mut number = 0;
    for _ in 0..2 {
        for tree in [&one, &two] {
            number += 1;
            let revision = tree.revision(number);
            site.mirror(&revision).unwrap();
            assert!(site.verified(&revision));
        }
    }
}

#[test]
fn extra_and_changed_files_in_the_target_are_gone_after_the_next_revisions() {
    let site = Site::new();
    site.mirror(&first().revision(1)).unwrap();
    for number in 2..6 {
        site.write("readme", "changed on the spot");
        site.write("extra", "x");
        fs::create_dir_all(site.target().join("bin/deep/er")).unwrap();
        site.write("bin/deep/er/file", "x");
        fs::remove_file(site.target().join("bin/run")).unwrap();
        let next = first().file("n", format!("{number}")).revision(number);
        site.mirror(&next).unwrap();
        assert!(site.verified(&next));
    }
}

#[test]
fn drift_is_repaired_by_the_same_revision_and_only_drift_is_written() {
    let site = Site::new();
    let revision = first().revision(1);
    site.mirror(&revision).unwrap();
    site.write("readme", "eno");
    fs::set_permissions(site.target().join("bin-x"), fs::Permissions::from_mode(0o666)).unwrap();
    let done = site.mirror(&revision).unwrap();
    assert_eq!((done.outcome, done.files_written), (ExtractOutcome::Installed, 2));
    assert!(site.verified(&revision));
}

#[test]
fn a_change_that_keeps_size_and_time_is_seen() {
    let site = Site::new();
    let revision = first().revision(1);
    site.mirror(&revision).unwrap();
    let path = site.target().join("readme");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    site.write("readme", "eno");
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    assert!(!tree::verify(&site.target(), &revision.index).unwrap().is_empty());
    site.mirror(&revision).unwrap();
    assert!(site.verified(&revision));
}

#[test]
fn a_change_in_place_reaches_the_standby_file_and_is_not_rolled_back_to() {
    let mut site = Site::new();
    site.pin = true;
    let (one, two) = (first().revision(1), first().file("new", "n").revision(2));
    site.mirror(&one).unwrap();
    site.mirror(&two).unwrap();
    site.write("readme", "both");
    site.mirror(&one).unwrap();
    assert!(site.verified(&one));
}

#[test]
fn a_foreign_target_needs_adoption_and_an_empty_one_does_not() {
    let mut site = Site::new();
    let revision = first().revision(1);
    fs::create_dir(site.target()).unwrap();
    site.write("mine", "precious");
    assert_eq!(code(site.mirror(&revision)), "target-foreign");
    assert_eq!(site.read("mine"), "precious");
    assert!(!site.standby().exists());
    site.adopt = true;
    site.mirror(&revision).unwrap();
    assert!(site.verified(&revision));
    assert_eq!(fs::read_to_string(site.standby().join("mine")).unwrap(), "precious", "set aside until the next one");
    let next = first().file("readme", "two").revision(2);
    site.mirror(&next).unwrap();
    assert!(site.verified(&next));
    assert!(!site.standby().join("mine").exists());

    let site = Site::new();
    fs::create_dir(site.target()).unwrap();
    site.mirror(&revision).unwrap();
    assert!(site.verified(&revision));
}

#[test]
fn a_target_that_somebody_replaced_is_foreign_again() {
    let site = Site::new();
    site.mirror(&first().revision(1)).unwrap();
    fs::rename(site.target(), site.folder.path().join("moved")).unwrap();
    fs::create_dir(site.target()).unwrap();
    site.write("mine", "precious");
    assert_eq!(code(site.mirror(&first().revision(2))), "target-foreign");
    assert_eq!(site.read("mine"), "precious");
}

#[test]
fn a_removed_target_is_installed_again() {
    let site = Site::new();
    let revision = first().revision(1);
    site.mirror(&revision).unwrap();
    site.mirror(&first().file("readme", "2").revision(2)).unwrap();
    fs::rename(site.target(), site.folder.path().join("gone")).unwrap();
    let next = first().file("readme", "3").revision(3);
    site.mirror(&next).unwrap();
    assert!(site.verified(&next));
}

#[test]
fn a_target_that_is_a_link_or_a_file_or_unspeakable_is_refused() {
    let site = Site::new();
    let revision = first().revision(1);
    let other = site.folder.path().join("other");
    fs::create_dir(&other).unwrap();
    std::os::unix::fs::symlink(&other, site.target()).unwrap();
    assert_eq!(code(site.mirror(&revision)), "target-is-link");
    fs::remove_file(site.target()).unwrap();
    fs::write(site.target(), "a file").unwrap();
    assert_eq!(code(site.mirror(&revision)), "target-not-directory");
    assert_eq!(fs::read_dir(other).unwrap().count(), 0);
    for bad in ["relative/path", "/", "/a/../b"] {
        let result = install_at(bad.as_ref(), &site.state_dir(), &site, MIRROR, &revision, &|_| Ok(()));
        assert_eq!(code(result), "target-invalid", "{bad}");
    }
    let within =
        install_at(&site.folder.path().join("t"), &site.folder.path().join("t/s"), &site, MIRROR, &revision, &|_| {
            Ok(())
        });
    assert_eq!(code(within), "target-invalid");
}

#[test]
fn a_staging_directory_that_somebody_else_made_is_refused() {
    let revision = first().revision(1);
    for before in [false, true] {
        let site = Site::new();
        if before {
            site.mirror(&first().file("readme", "0").revision(0)).unwrap();
        }
        fs::create_dir(site.standby()).unwrap();
        fs::write(site.standby().join("trap"), "x").unwrap();
        assert_eq!(code(site.mirror(&revision)), "staging-foreign");
        fs::remove_dir_all(site.standby()).unwrap();
        std::os::unix::fs::symlink("/etc", site.standby()).unwrap();
        assert_eq!(code(site.mirror(&revision)), "staging-foreign");
        fs::remove_file(site.standby()).unwrap();
        fs::create_dir(site.standby()).unwrap();
        assert_eq!(code(site.mirror(&revision)), "staging-foreign", "an empty one too");
    }
    let site = Site::new();
    std::os::unix::fs::symlink("/etc/passwd", site.folder.path().join(".target.tidegate-lock")).unwrap();
    assert_eq!(code(site.mirror(&revision)), "staging-foreign");
}

#[test]
fn a_second_installer_is_told_that_the_target_is_busy() {
    let site = Site::new();
    let revision = first().revision(1);
    let busy = std::sync::Mutex::new(None);
    site.run(MIRROR, &revision, &|step| {
        if step == tree::Step::Sync {
            let other = site.folder.path().join("other-state");
            let result = install_at(&site.target(), &other, &site, MIRROR, &revision, &|_| Ok(()));
            *busy.lock().unwrap() = Some(result.unwrap_err());
        }
        Ok(())
    })
    .unwrap();
    let busy = busy.into_inner().unwrap().unwrap();
    assert_eq!((busy.code(), busy.permanent()), ("target-busy", false));
}

#[test]
fn a_link_that_somebody_puts_into_the_standby_tree_is_not_written_through() {
    let site = Site::new();
    site.mirror(&first().revision(1)).unwrap();
    site.mirror(&first().file("bin/none", "2").revision(2)).unwrap();
    let outside = site.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::remove_dir_all(site.standby().join("bin")).unwrap();
    std::os::unix::fs::symlink(&outside, site.standby().join("bin")).unwrap();
    let three = first().file("bin/none", "3").revision(3);
    site.mirror(&three).unwrap();
    assert!(site.verified(&three));
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn an_open_file_in_the_target_neither_hinders_nor_changes() {
    use std::io::Read;
    let site = Site::new();
    site.mirror(&first().revision(1)).unwrap();
    let mut open = fs::File::open(site.target().join("readme")).unwrap();
    site.mirror(&first().file("readme", "two").revision(2)).unwrap();
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one");
}

#[test]
fn a_failed_step_fails_the_installation_and_leaves_the_old_tree() {
    for bad in [tree::Step::Stage, tree::Step::File, tree::Step::Sync, tree::Step::Swap] {
        let site = Site::new();
        let (one, two) = (first().revision(1), first().file("readme", "two").revision(2));
        site.mirror(&one).unwrap();
        let failed = site.run(MIRROR, &two, &|step| {
            if step == bad { Err(std::io::Error::from_raw_os_error(5)) } else { Ok(()) }
        });
        assert_eq!(code(failed), "extract-io", "{bad:?}");
        assert!(site.verified(&one));
        site.mirror(&two).unwrap();
        assert!(site.verified(&two));
    }
}

#[test]
fn a_cancelled_installation_leaves_the_old_tree_and_can_be_taken_up_again() {
    let site = Site::new();
    let (one, two) = (first().revision(1), first().file("readme", "two").revision(2));
    site.mirror(&one).unwrap();
    let cancel = AtomicBool::new(true);
    let install = tree::Install {
        target: &site.target(),
        state_dir: &site.state_dir(),
        revision: two.at,
        index: &Arc::new(two.index.clone()),
        policy: &site.policy,
        frames: &two,
        adopt: false,
        pin: false,
        unchanged: site.unchanged,
        floor: 0,
        cancel: &cancel,
        progress: &tree::Progress::default(),
        observe: &|_| Ok(()),
    };
    assert_eq!(code(tree::mirror(&install)), "cancelled");
    assert!(site.verified(&one));
    site.mirror(&two).unwrap();
    assert!(site.verified(&two));
}

#[test]
fn a_frame_that_is_missing_is_named_and_fetching_it_is_enough() {
    let site = Site::new();
    let mut revision = first().revision(1);
    revision.missing = vec![1];
    let error = site.mirror(&revision).unwrap_err();
    assert_eq!((error.code(), error.frame_missing(), error.permanent()), ("frame-missing", Some(1), false));
    assert!(!site.target().exists());
    revision.missing.clear();
    site.mirror(&revision).unwrap();
    assert!(site.verified(&revision));
}

#[test]
fn content_that_is_not_what_its_digest_says_is_never_visible() {
    let site = Site::new();
    let mut revision = first().revision(1);
    let mut bytes = revision.content[0].to_vec();
    bytes[0] ^= 1;
    revision.content[0] = bytes.into();
    assert_eq!(code(site.mirror(&revision)), "chunk-corrupt");
    assert!(!site.target().exists());
    revision.content[0] = vec![0].into();
    assert_eq!(code(site.mirror(&revision)), "frame-corrupt");
}

#[test]
fn chunks_of_the_trees_need_not_be_fetched() {
    let site = Site::new();
    let big = content(7, 20 * CHUNK);
    let one = Tree::new().file("big", &big).file("other", "o").revision(1);
    let mut changed = big.clone();
    changed[10 * CHUNK] ^= 1;
    let two = Tree::new().file("moved", &changed).file("other", "o").revision(2);
    assert!(!Held::open(&site.target(), &site.state_dir(), &one.index).unwrap().contains(&one.index.chunks[0].digest));
    site.mirror(&one).unwrap();
    let held = Held::open(&site.target(), &site.state_dir(), &two.index).unwrap();
    let lacking: Vec<_> = two.index.chunks.iter().filter(|chunk| !held.contains(&chunk.digest)).collect();
    assert_eq!(lacking.len(), 1);
    assert_eq!(held.read(&two.index.chunks[0].digest).unwrap(), &changed[..CHUNK]);
    let mut two = two;
    let only = lacking_frame(&two, &held);
    two.missing = (0..two.index.frames.len() as u32).filter(|frame| *frame != only).collect();
    site.mirror(&two).unwrap();
    assert!(site.verified(&two));
    assert_eq!(two.asked(), 1);
}

fn lacking_frame(revision: &Revision, held: &Held) -> u32 {
    revision.index.chunks.iter().find(|chunk| !held.contains(&chunk.digest)).unwrap().frame
}

#[test]
fn a_file_changed_since_is_no_source_of_chunks() {
    let site = Site::new();
    let one = Tree::new().file("a", content(3, 3 * CHUNK)).revision(1);
    site.mirror(&one).unwrap();
    site.write("a", "short");
    let held = Held::open(&site.target(), &site.state_dir(), &one.index).unwrap();
    let digest = &one.index.chunks[0].digest;
    assert!(!held.contains(digest));
    assert_eq!(held.read(digest), None);
}

#[test]
fn lost_or_damaged_catalogs_cost_reading_and_nothing_else() {
    let site = Site::new();
    let (one, two) = (first().revision(1), first().file("readme", "two").revision(2));
    site.mirror(&one).unwrap();
    site.mirror(&two).unwrap();
    for entry in fs::read_dir(site.state_dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() != "mirror.json" {
            fs::write(path, "damaged").unwrap();
        }
    }
    let three = first().file("readme", "three").revision(3);
    let done = site.mirror(&three).unwrap();
    assert!(site.verified(&three));
    assert_eq!(done.files_written, 2, "the changed file, and the link");
}

#[test]
fn a_damaged_record_is_an_error_that_names_it() {
    let site = Site::new();
    site.mirror(&first().revision(1)).unwrap();
    fs::write(site.state_dir().join("mirror.json"), "{}").unwrap();
    assert_eq!(code(site.mirror(&first().revision(2))), "record-damaged");
}

#[test]
fn records_of_trees_that_are_gone_are_swept() {
    let site = Site::new();
    for number in 1..6 {
        site.mirror(&first().file("readme", format!("{number}")).revision(number)).unwrap();
        assert!(fs::read_dir(site.state_dir()).unwrap().count() <= 5);
    }
}

/// On a file system of 2 MiB of its own, in a mount namespace of its own.
#[test]
fn a_full_disk_is_told_with_the_file_and_leaves_the_old_tree() {
    const INSIDE: &str = "TIDEGATE_TREE_SMALL_DISK";
    if let Ok(folder) = std::env::var(INSIDE) {
        return full_disk(folder.as_ref());
    }
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=2m tmpfs \"$1\" && exec \"$2\" --exact \"$3\" --nocapture";
    let run = |arguments: &[&str]| {
        std::process::Command::new("unshare")
            .args(arguments)
            .args(["sh", "-c", script, "sh"])
            .arg(folder.path())
            .arg(std::env::current_exe().unwrap())
            .arg("mirror::a_full_disk_is_told_with_the_file_and_leaves_the_old_tree")
            .env(INSIDE, folder.path())
            .output()
            .unwrap()
    };
    let output = run(&["--map-root-user", "--mount"]);
    let output = if output.status.success() { output } else { run(&["--mount"]) };
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("DISK-FULL-SEEN"), "needs user namespaces or root to mount a small disk: {text}");
}

#[test]
fn what_would_not_leave_the_floor_free_is_refused_before_a_byte_is_written() {
    for way in [MIRROR, MERGE] {
        let mut site = Site::new();
        let (one, two) = (first().revision(1), first().file("readme", "a larger one").revision(2));
        site.run(way, &one, &|_| Ok(())).unwrap();
        site.floor = u64::MAX;
        let error = site.run(way, &two, &|_| Ok(())).unwrap_err();
        assert_eq!((error.code(), error.permanent()), ("free-space-floor", false));
        let text = error.to_string();
        assert!(text.contains(&u64::MAX.to_string()) && text.contains("with the 12 bytes"), "{text}");
        assert!(text.contains(site.target().to_str().unwrap()), "{text}");
        assert_eq!(site.read("readme"), "one");
        site.floor = 0;
        site.run(way, &two, &|_| Ok(())).unwrap();
        assert_eq!(site.read("readme"), "a larger one");
    }
}

#[test]
fn what_only_links_and_removes_needs_no_room() {
    let mut site = Site::new();
    site.mirror(&first().file("large", content(1, CHUNK)).revision(1)).unwrap();
    site.floor = u64::MAX;
    let two = first().revision(2);
    site.mirror(&two).unwrap();
    assert!(site.verified(&two));
}

fn full_disk(folder: &std::path::Path) {
    let (target, state, site) = (folder.join("target"), folder.join("state"), Site::new());
    let one = Tree::new().file("a", content(1, 200 * CHUNK)).revision(1);
    let two = Tree::new().file("a", content(2, 200 * CHUNK)).file("b", content(3, 3_000 * CHUNK)).revision(2);
    let three = Tree::new().file("a", content(2, 300 * CHUNK)).revision(3);
    install_at(&target, &state, &site, MIRROR, &one, &|_| Ok(())).unwrap();
    let error = install_at(&target, &state, &site, MIRROR, &two, &|_| Ok(())).unwrap_err();
    assert_eq!((error.code(), error.permanent()), ("disk-full", false));
    let needed = ((200 + 3_000) * CHUNK).to_string();
    assert!(error.to_string().contains(&needed), "told before it begins: {error}");
    let others = folder.join("others");
    let take_all = |step| match step {
        Step::File => fs::write(&others, vec![0; 2 << 20]).or(Ok(())),
        _ => Ok(()),
    };
    let error = install_at(&target, &state, &site, MIRROR, &three, &take_all).unwrap_err();
    assert_eq!((error.code(), error.permanent()), ("disk-full", false));
    assert!(error.to_string().contains("`a`: 0 bytes are free there"), "told while it writes: {error}");
    assert!(tree::verify(&target, &one.index).unwrap().is_empty());
    fs::remove_file(others).unwrap();
    install_at(&target, &state, &site, MIRROR, &three, &|_| Ok(())).unwrap();
    assert!(tree::verify(&target, &three.index).unwrap().is_empty());
    println!("DISK-FULL-SEEN");
}
