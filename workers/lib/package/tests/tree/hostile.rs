//! Trees that must not be extracted: each has its code, and nothing is written.

use std::ops::Range;

use package::tree::{Policy, check};
use package::{Entry, EntryKind, Index};

use super::support::*;

/// The codes of a tree by default, and nothing written by either way.
fn refused(index: Index, policy: &Policy) -> &'static str {
    let code = check(&index, policy).expect_err("it must be refused").code();
    let mut revision = Tree::new().revision(1);
    revision.index = index;
    for way in [MIRROR, MERGE] {
        let mut site = Site::new();
        site.policy = policy.clone();
        let result = site.run(way, &revision, &|_| panic!("a step was begun"));
        assert_eq!(super::support::code(result), code);
        assert!(picture(site.folder.path()).is_empty(), "something was written");
    }
    code
}

fn with_path(path: &str) -> Index {
    let mut index = Tree::new().revision(1).index;
    index.entries.push(entry(path, EntryKind::File { bytes: 0, refs: 0..0 }));
    index
}

fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry { path: path.into(), kind, mode: 0o644, mtime_ns: 0 }
}

#[test]
fn paths_that_lead_elsewhere_or_mislead_are_refused() {
    let long = "x".repeat(256);
    let bad = [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "C:\\x",
        "C:/x",
        "c:x",
        "\\\\host\\share",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\u{1b}[31m",
        "a\u{7f}",
        "a\u{85}b",
        "",
        "a//b",
        "a/",
        "./a",
        "a/.",
        "a/..",
        "..",
        "\u{202e}gpj.exe",
        &long,
    ];
    for path in bad {
        assert_eq!(refused(with_path(path), &Policy::default()), "unsafe-path", "{path:?}");
    }
}

#[test]
fn names_that_windows_changes_are_refused_unless_allowed() {
    for path in ["CON", "con", "aux.c", "NUL.tar.gz", "com1", "LPT9.txt", "com¹", "a.", "a ", "..."] {
        assert_eq!(refused(with_path(path), &Policy::default()), "windows-name", "{path:?}");
        let allowing = Policy { windows_names: true, ..Policy::default() };
        assert_eq!(check(&with_path(path), &allowing), Ok(()), "{path:?}");
    }
    for path in ["console", "com", "com10", "lpt", "nulls.txt", ".con", "a.b"] {
        assert_eq!(check(&with_path(path), &Policy::default()), Ok(()), "{path:?}");
    }
}

#[test]
fn a_thing_in_a_file_in_a_link_or_in_nothing_is_refused() {
    let tree = |under: Tree| under.file("a/x", "1").revision(1).index;
    assert_eq!(refused(tree(Tree::new().file("a", "file")), &Policy::default()), "file-as-directory");
    assert_eq!(refused(tree(Tree::new().directory("b").link("a", "b")), &Policy::default()), "through-link");
    assert_eq!(refused(tree(Tree::new().link("a", "/etc")), &Policy::default()), "through-link");
    let mut orphan = Tree::new().revision(1).index;
    orphan.entries.push(entry("a/x", EntryKind::File { bytes: 0, refs: 0..0 }));
    assert_eq!(refused(orphan, &Policy::default()), "parent-missing");
}

#[test]
fn the_same_path_twice_as_link_and_directory_or_out_of_order_is_refused() {
    let link = EntryKind::Link { target: "b".into() };
    for (first, second) in [(EntryKind::Directory, link.clone()), (link, EntryKind::Directory)] {
        let mut index = Tree::new().revision(1).index;
        index.entries.extend([entry("a", first), entry("a", second)]);
        assert_eq!(refused(index, &Policy::default()), "duplicate-path");
    }
    let mut index = Tree::new().revision(1).index;
    index.entries.extend([entry("b", EntryKind::Directory), entry("a", EntryKind::Directory)]);
    assert_eq!(refused(index, &Policy::default()), "duplicate-path");
}

#[test]
fn a_tree_without_a_root_directory_is_refused() {
    assert_eq!(refused(Index::default(), &Policy::default()), "root-missing");
    let mut index = Tree::new().revision(1).index;
    index.entries[0].kind = EntryKind::File { bytes: 0, refs: 0..0 };
    assert_eq!(refused(index, &Policy::default()), "root-missing");
}

#[test]
fn names_equal_but_for_case_are_refused_unless_allowed() {
    for (one, other) in [("README", "readme"), ("straße", "STRASSE"), ("É", "é"), ("k", "\u{212a}")] {
        let index = Tree::new().file(one, "1").file(other, "2").revision(1).index;
        assert_eq!(refused(index.clone(), &Policy::default()), "case-twins", "{one} {other}");
        assert_eq!(check(&index, &Policy::allowing(&["case-twins"]).unwrap()), Ok(()));
    }
    let apart = Tree::new().directory("a").file("a/x", "1").directory("b").file("b/X", "2").revision(1).index;
    assert_eq!(check(&apart, &Policy::default()), Ok(()));
    let within = Tree::new().directory("A").file("A/x", "1").directory("a").file("a/y", "2").revision(1).index;
    assert_eq!(refused(within, &Policy::default()), "case-twins");
}

#[test]
fn names_equal_but_for_composition_are_refused_unless_allowed() {
    let index = Tree::new().file("\u{e9}", "1").file("e\u{301}", "2").revision(1).index;
    assert_eq!(refused(index.clone(), &Policy::default()), "unicode-twins");
    assert_eq!(refused(index.clone(), &Policy::allowing(&["case-twins"]).unwrap()), "unicode-twins");
    assert_eq!(check(&index, &Policy::allowing(&["unicode-twins"]).unwrap()), Ok(()));
}

#[test]
fn links_that_lead_out_are_refused_through_other_links_too() {
    let base = || Tree::new().directory("a").directory("a/b").directory("a/b/c");
    let out = [
        base().link("l", "/etc/passwd"),
        base().link("l", "../x"),
        base().link("a/l", "../../x"),
        base().link("l", "a/b/../../.."),
        base().link("a/b/c/root", "../../..").link("l", "a/b/c/root/../x"),
        base().link("a/up", "..").link("m", "a/up").link("n", "m/.."),
    ];
    for tree in out {
        let index = tree.revision(1).index;
        assert_eq!(refused(index.clone(), &Policy::default()), "link-out");
        assert_eq!(check(&index, &Policy::allowing(&["link-out"]).unwrap()), Ok(()));
    }
    let within = base().link("l", "a/b/../b/c").link("a/l", "../l").link("loop", "loop").link("x", "nowhere/../y");
    assert_eq!(check(&within.revision(1).index, &Policy::default()), Ok(()));
    for says in ["", "a\0b", "a\nb", &"x".repeat(5_000)] {
        assert_eq!(refused(Tree::new().link("l", says).revision(1).index, &Policy::default()), "link-invalid");
    }
}

#[test]
fn set_uid_and_its_like_are_refused_unless_allowed_and_modes_beyond_are_refused() {
    for mode in [0o4755, 0o2755, 0o1777] {
        for thing in [Thing::Directory, Thing::File(b"x".to_vec())] {
            let index = Tree::new().with("a", thing, mode).revision(1).index;
            assert_eq!(refused(index.clone(), &Policy::default()), "set-id");
            assert_eq!(check(&index, &Policy::allowing(&["set-id"]).unwrap()), Ok(()));
        }
    }
    assert_eq!(refused(Tree::new().with("", Thing::Directory, 0o1777).revision(1).index, &Policy::default()), "set-id");
    let device = Tree::new().with("a", Thing::File(Vec::new()), 0o020_666).revision(1).index;
    assert_eq!(refused(device, &Policy::default()), "mode-invalid");
}

#[test]
fn a_tree_that_is_too_large_deep_or_many_is_refused() {
    let tree = Tree::new().file("a", "12345").directory("d").directory("d/e").file("d/e/f", "x").revision(1).index;
    let small = [
        Policy { bytes_max: 5, ..Policy::default() },
        Policy { entries_max: 4, ..Policy::default() },
        Policy { depth_max: 2, ..Policy::default() },
    ];
    for policy in small {
        assert_eq!(refused(tree.clone(), &policy), "tree-too-large");
    }
    let mut deep = Tree::new().revision(1).index;
    for depth in 1..=200 {
        deep.entries.push(entry(&["d"].repeat(depth).join("/"), EntryKind::Directory));
    }
    assert!(matches!(refused(deep, &Policy::default()), "tree-too-large" | "unsafe-path"));
}

#[test]
fn a_bomb_is_refused_by_what_it_would_become() {
    let mut bomb = Tree::new().file("a", content(1, CHUNK)).revision(1).index;
    let times = (5u64 << 30) / CHUNK as u64;
    bomb.chunk_refs = vec![0; times as usize];
    bomb.entries[1].kind = EntryKind::File { bytes: times * CHUNK as u64, refs: 0..times as u32 };
    assert_eq!(refused(bomb, &Policy::default()), "expansion");
    let mut sparse = Tree::new().file("a", "x").revision(1).index;
    let EntryKind::File { bytes, .. } = &mut sparse.entries[1].kind else { panic!() };
    *bytes = 1 << 60;
    assert_eq!(refused(sparse, &Policy::default()), "content-invalid");
}

#[test]
fn tables_that_do_not_fit_together_are_refused() {
    let whole = || Tree::new().file("a", content(1, 3 * CHUNK)).revision(1).index;
    type Damage = fn(&mut Index);
    let tables: [Damage; 8] = [
        |index| index.chunk_refs[0] = 99,
        |index| index.chunks[0].frame = 99,
        |index| index.chunks[2].offset = u32::MAX,
        |index| index.chunks[0].bytes = 0,
        |index| index.frames[0].pack = 1,
        |index| index.frames[0].offset = u64::MAX,
        |index| index.frames[0].stored_bytes = u32::MAX,
        |index| index.packs.clear(),
    ];
    for (at, damage) in tables.iter().enumerate() {
        let mut index = whole();
        damage(&mut index);
        assert_eq!(refused(index, &Policy::default()), "index-invalid", "{at}");
    }
    let ranges = [(0, 99), (2, 1), (0, 2), (u32::MAX - 1, u32::MAX)];
    for (start, end) in ranges {
        let refs = Range { start, end };
        let mut index = whole();
        index.entries[1].kind = EntryKind::File { bytes: 3 * CHUNK as u64, refs };
        assert_eq!(refused(index, &Policy::default()), "content-invalid");
    }
}

#[test]
fn an_unknown_permission_is_not_skipped() {
    assert_eq!(Policy::allowing(&["everything"]), Err("everything".into()));
}
