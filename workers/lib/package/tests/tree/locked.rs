//! What the kernel does not let go of is told by name, and is no trouble once it is free.

use std::fs;

use rustix::fs::IFlags;

use super::support::*;

/// `chattr`; false if this file system or this user cannot.
fn set_immutable(path: &std::path::Path, immutable: bool) -> bool {
    let file = fs::File::open(path).unwrap();
    let flags = if immutable { IFlags::IMMUTABLE } else { IFlags::empty() };
    rustix::fs::ioctl_setflags(&file, flags).is_ok()
}

/// Files that cannot be replaced, while `work` goes on. The test cannot be done where nothing can be made immutable.
fn while_immutable(site: &Site, paths: &[&str], work: impl FnOnce()) {
    let all = |immutable| {
        let failed = paths.iter().filter(|path| !set_immutable(&site.target().join(path), immutable));
        failed.count() == 0
    };
    if !all(true) {
        assert!(!rustix::process::geteuid().is_root() || !all(true), "root could make only some of them immutable");
        all(false);
        return eprintln!("nothing can be made immutable here: not tried");
    }
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    all(false);
    done.unwrap();
}

fn numbered(number: u64) -> Revision {
    let text = |name: &str| format!("{name} {number}");
    Tree::new()
        .file("a", text("a"))
        .file("b", text("b"))
        .file("c", "c")
        .directory("d")
        .file("d/e", text("e"))
        .revision(number)
}

#[test]
fn a_merge_names_the_immutable_file_undoes_all_and_succeeds_once_it_is_free() {
    let site = Site::new();
    site.merge(&numbered(1)).unwrap();
    while_immutable(&site, &["b"], || {
        let error = site.merge(&numbered(2)).unwrap_err();
        assert_eq!((error.code(), error.permanent()), ("target-locked", false));
        assert!(error.to_string().contains("`b` (it is immutable or append-only"), "{error}");
        assert_eq!(site.read("a"), "a 1", "what was done before is undone");
    });
    site.merge(&numbered(2)).unwrap();
    assert_eq!((site.read("a"), site.read("b")), ("a 2".into(), "b 2".into()));
}

#[test]
fn a_mirror_names_all_immutable_files_and_leaves_the_old_tree() {
    let site = Site::new();
    (1..3).for_each(|number| drop(site.mirror(&numbered(number)).unwrap()));
    let standby = site.standby();
    let freed = |site: &Site| ["a", "d/e"].iter().all(|path| set_immutable(&site.standby().join(path), false));
    if !["a", "d/e"].iter().all(|path| set_immutable(&standby.join(path), true)) {
        freed(&site);
        return eprintln!("nothing can be made immutable here: not tried");
    }
    let tried = site.mirror(&numbered(3));
    let is_old = site.verified(&numbered(2));
    assert!(freed(&site));
    let error = tried.unwrap_err();
    assert!(error.to_string().contains("`a` (") && error.to_string().contains("`d/e` ("), "{error}");
    assert!(is_old && error.code() == "target-locked");
    site.mirror(&numbered(3)).unwrap();
    assert!(site.verified(&numbered(3)));
}

/// An immutable file of the live tree cannot be linked either: the next tree gets a copy.
#[test]
fn an_immutable_live_file_is_copied_instead_of_linked() {
    let site = Site::new();
    site.mirror(&numbered(1)).unwrap();
    while_immutable(&site, &["c"], || {
        site.mirror(&numbered(2)).unwrap();
        assert!(site.verified(&numbered(2)));
        assert!(set_immutable(&site.standby().join("c"), false));
    });
}

#[test]
fn a_directory_of_others_that_is_immutable_is_named() {
    let site = Site::new();
    site.merge(&numbered(1)).unwrap();
    while_immutable(&site, &["d"], || {
        let error = site.merge(&numbered(2)).unwrap_err();
        assert!(error.to_string().contains("`d/e` (its directory is immutable"), "{error}");
    });
}

/// In a mount namespace of its own.
#[test]
fn a_file_that_is_a_mount_point_is_named() {
    const INSIDE: &str = "TIDEGATE_TREE_MOUNT";
    if let Ok(folder) = std::env::var(INSIDE) {
        let (target, state) = (format!("{folder}/target"), format!("{folder}/state"));
        let install = |n| install_at(target.as_ref(), state.as_ref(), &Site::new(), MERGE, &numbered(n), &|_| Ok(()));
        install(1).unwrap();
        let mounted =
            std::process::Command::new("mount").args(["--bind", "/dev/null"]).arg(format!("{target}/b")).status();
        assert!(mounted.unwrap().success());
        let error = install(2).unwrap_err();
        println!("SEEN {} {error}", error.code());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        std::process::Command::new("unshare")
            .args(arguments)
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "locked::a_file_that_is_a_mount_point_is_named", "--nocapture"])
            .env(INSIDE, folder.path())
            .output()
            .unwrap()
    };
    let output = run(&["--map-root-user", "--mount"]);
    let output = if output.status.success() { output } else { run(&["--mount"]) };
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let is_told = text.contains("SEEN target-locked") || text.contains("SEEN target-in-the-way");
    assert!(is_told && text.contains("`b`"), "needs user namespaces or root to mount: {text}");
}
