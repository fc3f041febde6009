//! A standby tree that is made before it is needed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use package::tree;
use schemas::ExtractOutcome;
use schemas::definitions::Unchanged;

use super::support::*;

fn tree(text: &str) -> Tree {
    let plain = Tree::new().directory("bin").with("bin/run", Thing::File(content(1, 5 * CHUNK + 7)), 0o755);
    let plain = plain.file("bin/none", "").link("bin/again", "run").with("private", Thing::Directory, 0o500);
    (0..30).fold(plain, |tree, n| tree.file(&format!("f{n:02}"), format!("{n}"))).file("readme", text)
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path.join("bin/run")).unwrap().ino()
}

#[test]
fn the_second_revision_touches_only_what_changed_if_the_standby_tree_was_made_before() {
    let site = Site::new();
    let (one, two) = (tree("one").revision(1), tree("two").revision(2));
    site.mirror(&one).unwrap();
    let asked = one.asked();
    assert!(site.prepare(&one).unwrap());
    assert!(site.verified(&one));
    assert!(tree::verify(&site.standby(), &one.index).unwrap().is_empty());
    assert_eq!(inode(&site.target()), inode(&site.standby()));
    assert_eq!(one.asked(), asked, "no content was asked for");
    let standing = tree::installed(&site.target(), &site.state_dir()).unwrap().unwrap();
    assert_eq!((standing.live, standing.standby), (Some(one.at), Some(one.at)));
    assert_eq!(site.mirror(&one).unwrap().outcome, ExtractOutcome::Already, "its links moved no stamp unseen");
    let done = site.mirror(&two).unwrap();
    assert_eq!((done.files_written, done.files_linked, two.asked()), (1, 0, 1));
    assert!(site.verified(&two));
    let mut back = site;
    back.pin = true;
    let asked = one.asked();
    assert_eq!(back.mirror(&one).unwrap().files_written, 0);
    assert!(back.verified(&one) && one.asked() == asked, "a step back is free");
}

#[test]
fn it_is_made_once_and_only_of_what_is_installed_and_where_files_are_shared() {
    let mut site = Site::new();
    let (one, two) = (tree("one").revision(1), tree("two").revision(2));
    site.mirror(&one).unwrap();
    assert!(!site.prepare(&two).unwrap(), "that is not what stands there");
    site.unchanged = Unchanged::Copy;
    assert!(!site.prepare(&one).unwrap());
    assert!(!site.standby().exists());
    site.unchanged = Unchanged::Link;
    assert!(site.prepare(&one).unwrap());
    assert!(!site.prepare(&one).unwrap(), "it is there");
    site.mirror(&two).unwrap();
    assert!(!site.prepare(&two).unwrap(), "the tree before is the standby tree");
}

#[test]
fn nothing_is_made_for_a_target_that_is_gone() {
    let site = Site::new();
    let one = tree("one").revision(1);
    site.mirror(&one).unwrap();
    fs::rename(site.target(), site.folder.path().join("elsewhere")).unwrap();
    assert!(!site.prepare(&one).unwrap());
    assert!(!site.standby().exists());
}

#[test]
fn a_file_that_was_changed_on_the_spot_is_neither_shared_nor_taken_for_good() {
    let site = Site::new();
    let one = tree("one").revision(1);
    site.mirror(&one).unwrap();
    site.write("readme", "spoilt");
    assert!(site.prepare(&one).unwrap());
    assert_eq!(fs::read_to_string(site.standby().join("readme")).unwrap(), "one");
    assert_eq!(site.mirror(&one).unwrap().outcome, ExtractOutcome::Installed, "the change is still noticed");
    assert!(site.verified(&one));
}

#[test]
fn one_that_is_stopped_leaves_what_the_next_revision_can_use() {
    let site = Site::new();
    let (one, two) = (tree("one").revision(1), tree("two").revision(2));
    site.mirror(&one).unwrap();
    let stopped = prepare_at(&site.target(), &site.state_dir(), &site, &one, &AtomicBool::new(true));
    assert_eq!(stopped.unwrap_err().code(), "cancelled");
    assert!(site.verified(&one));
    site.mirror(&two).unwrap();
    assert!(site.verified(&two));
}
