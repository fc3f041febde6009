//! What a site says of its own targets, by its own records.

use std::fs;

use package::tree::{Modification, drift};

use super::support::*;

fn tree() -> Tree {
    Tree::new().directory("d").file("a", "a").file("d/b", "b").file("z", "z")
}

fn found(site: &Site) -> Vec<String> {
    let drift = drift(&site.target(), &site.state_dir()).unwrap().unwrap();
    assert_eq!(drift.revision.number, 2);
    let of = drift.differences;
    let modified =
        of.modified.iter().filter(|m| m.what != Modification::Time).map(|m| format!("{} {}", m.what.as_str(), m.path));
    let missing = of.missing.iter().map(|path| format!("missing {path}"));
    missing.chain(modified).chain(of.extra.iter().map(|path| format!("extra {path}"))).collect()
}

#[test]
fn drift_is_found_by_the_records_alone_in_mirror_and_in_merge() {
    for (way, is_merge) in [(MIRROR, false), (MERGE, true)] {
        let site = Site::new();
        fs::create_dir(site.folder.path().join("target")).unwrap();
        assert!(drift(&site.target(), &site.state_dir()).unwrap().is_none());
        site.run(way, &tree().file("z", "old").revision(1), &|_| Ok(())).unwrap();
        site.run(way, &tree().revision(2), &|_| Ok(())).unwrap();
        assert!(found(&site).is_empty());
        site.write("a", "other");
        fs::remove_file(site.target().join("z")).unwrap();
        site.write("d/theirs", "x");
        let expected: &[&str] =
            if is_merge { &["missing z", "content a"] } else { &["missing z", "content a", "extra d/theirs"] };
        assert_eq!(found(&site), expected);
    }
}

#[test]
fn a_target_that_is_gone_or_was_replaced_lacks_what_it_had() {
    let site = Site::new();
    (1..3).for_each(|number| drop(site.mirror(&tree().revision(number)).unwrap()));
    fs::remove_dir_all(site.target()).unwrap();
    assert_eq!(found(&site).len(), 5, "and the root");
    fs::create_dir(site.target()).unwrap();
    site.write("mine", "x");
    let found = found(&site);
    assert!(found.contains(&"missing a".into()) && found.contains(&"extra mine".into()), "{found:?}");
}
