//! What a build makes of a tree, and what it leaves alone.

mod support;

use std::collections::HashSet;
use std::os::unix::net::UnixListener;
use std::time::{SystemTime, UNIX_EPOCH};

use package::build::{Input, build as build_with};
use package::hints::{CLOCK_GRAIN_NS, Hints, HintsWriter, content_id};
use package::walk::walk;
use package::{BuildError, Built, EntryKind, Index, Pack, PackSink, SinkClosed, Watch};
use schemas::Digest;
use schemas::definitions::FileSource;
use support::{Source, Store, build, noise, paths};

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

fn built(
    sources: &[FileSource],
    previous: Option<&Index>,
    hints: Option<&Hints>,
    threads: usize,
) -> (Built, Vec<Pack>) {
    built_without(&HashSet::new(), sources, previous, hints, threads)
}

/// These packs of the previous revision are lost.
fn built_without(
    lost: &HashSet<Digest>,
    sources: &[FileSource],
    previous: Option<&Index>,
    hints: Option<&Hints>,
    threads: usize,
) -> (Built, Vec<Pack>) {
    let watch = Watch::default();
    let tree = walk(sources, threads, &watch).unwrap();
    let mut packs = Vec::new();
    let input = Input { tree, previous, lost, hints, threads, watch: &watch };
    (build_with(input, &mut packs).unwrap(), packs)
}

fn refused(sources: &[FileSource]) -> BuildError {
    package::build::build_simply(sources, None).unwrap_err()
}

#[test]
fn a_folder_that_a_link_replaces_while_it_is_read_leads_nowhere() {
    let (source, outside) = (Source::new(), Source::new());
    source.write("sub/deep/secret", "ours").write("z", "last");
    outside.write("deep/secret", "theirs");
    let watch = Watch::default();
    let tree = walk(&source.sources(), 1, &watch).unwrap();
    std::fs::remove_dir_all(source.path("sub")).unwrap();
    source.link("sub", outside.path("").to_str().unwrap());
    let input = Input { tree, previous: None, lost: &HashSet::new(), hints: None, threads: 1, watch: &watch };
    let refused = build_with(input, &mut Vec::new()).unwrap_err();
    assert!(matches!(&refused, BuildError::Changed { path } if path.ends_with("sub/deep/secret")), "{refused}");
}

/// A tree that fills several packs and has files that are read in parts.
fn large() -> Source {
    let source = Source::new();
    for n in 0..400 {
        source.write(&format!("small/{:02}/{n}.txt", n % 40), format!("file {n} of many\n").repeat(n));
    }
    source.write("iso/a.img", noise("a", 21_000_000)).write("iso/b.img", noise("b", 9_999_999));
    let mut shifted = b"inserted in front".to_vec();
    shifted.extend(noise("a", 21_000_000));
    source.write("iso/c.img", shifted).write("zeros", vec![0; 13_000_001]);
    source
}

#[test]
fn entries_have_kind_mode_time_and_content_and_stand_in_order() {
    let source = Source::with_one_of_each();
    let (built, packs) = build(&source.sources(), None);
    let index = &built.index;
    assert_eq!(
        paths(index),
        [
            "",
            "big.bin",
            "empty",
            "link",
            "outside",
            "readme.txt",
            "sub",
            "sub-x",
            "sub/deep",
            "sub/deep/a.txt",
            "twin.txt",
            "void"
        ]
    );
    let entry = |path: &str| &index.entries[index.find(path).unwrap()];
    assert_eq!((entry("readme.txt").mode, entry("sub").mode), (0o640, 0o750));
    assert_eq!(entry("readme.txt").mtime_ns, 1_700_000_000_000_000_000);
    assert_eq!(entry("link").kind, EntryKind::Link { target: "sub/deep/a.txt".to_owned() });
    let files = Store::with(&packs).reassemble(index);
    assert_eq!(files["readme.txt"], b"hello\n");
    assert_eq!(files["empty"], b"");
    assert_eq!(files["big.bin"], noise("big", 700_000));
    let totals = index.totals();
    assert_eq!((totals.files, totals.directories, totals.links), (6, 4, 2));
    assert_eq!(built.files_read, 5, "an empty file needs no reading");
}

#[test]
fn equal_content_is_stored_once() {
    let source = Source::new();
    source.write("a", noise("x", 200_000)).write("b", noise("x", 200_000)).write("c", "s").write("d", "s");
    let (built, packs) = build(&source.sources(), None);
    let chunk_bytes: u64 = built.index.chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum();
    assert_eq!(chunk_bytes, 200_001);
    assert_eq!(Store::with(&packs).reassemble(&built.index)["b"], noise("x", 200_000));
}

#[test]
fn threads_and_listing_order_change_nothing_in_the_output() {
    let source = large();
    let (one, packs_of_one) = built(&source.sources(), None, None, 1);
    assert!(packs_of_one.len() >= 2, "{} packs", packs_of_one.len());
    for threads in [2, 5] {
        let (many, packs) = built(&source.sources(), None, None, threads);
        assert_eq!(many.index.encode(), one.index.encode());
        assert_eq!(packs, packs_of_one);
    }
    let files = Store::with(&packs_of_one).reassemble(&one.index);
    assert_eq!(files["iso/a.img"], noise("a", 21_000_000));
    assert_eq!(files["zeros"], vec![0; 13_000_001]);
    let stored: u64 = one.index.packs.iter().map(|pack| pack.bytes).sum();
    assert!(stored < 33_000_000, "the shifted copy costs little: {stored}");
    assert_eq!(Index::open(&one.index.encode(), &one.index.seal().at).unwrap(), *one.index);
}

#[test]
fn a_second_build_stores_only_what_changed_and_keeps_the_rest_where_it_is() {
    let source = large();
    let (first, packs) = built(&source.sources(), None, None, 2);
    let mut store = Store::with(&packs);
    source.write("small/07/7.txt", "changed").write("small/new.txt", "new");
    std::fs::remove_file(source.path("iso/b.img")).unwrap();
    let (second, packs) = built(&source.sources(), Some(&first.index), None, 2);
    assert_eq!(packs.len(), 1);
    assert!(packs[0].bytes.len() < 200, "{} bytes", packs[0].bytes.len());
    assert_eq!(second.new_packs, [packs[0].digest].into());
    store.add(&packs);
    let files = store.reassemble(&second.index);
    assert_eq!(files["small/07/7.txt"], b"changed");
    assert_eq!(files["iso/a.img"], noise("a", 21_000_000));
    assert!(!files.contains_key("iso/b.img"));
    assert!(!second.is_same_as(&first.index));
    assert_eq!(Index::decode(&second.index.encode()).unwrap(), *second.index);
}

#[test]
fn an_unchanged_tree_gives_the_same_index_and_no_pack() {
    let source = Source::with_one_of_each();
    let (first, _) = build(&source.sources(), None);
    let (second, packs) = build(&source.sources(), Some(&first.index));
    assert_eq!(second.index, first.index);
    assert!(packs.is_empty() && second.new_packs.is_empty());
    assert!(second.is_same_as(&first.index));
}

#[test]
fn a_changed_time_or_mode_is_a_revision_without_packs_but_a_directorys_time_is_none() {
    let source = Source::with_one_of_each();
    let (first, _) = build(&source.sources(), None);
    source.time("void", 1_600_000_000);
    let (second, packs) = build(&source.sources(), Some(&first.index));
    assert!(second.is_same_as(&first.index) && packs.is_empty());
    source.time("twin.txt", 1_600_000_000);
    let (third, packs) = build(&source.sources(), Some(&first.index));
    assert!(!third.is_same_as(&first.index) && packs.is_empty());
    source.mode("void", 0o700);
    let (fourth, _) = build(&source.sources(), Some(&third.index));
    assert!(!fourth.is_same_as(&third.index));
}

#[test]
fn with_hints_only_changed_files_are_read_and_the_result_is_the_same() {
    let source = large();
    let began_ns = now_ns() + 2 * CLOCK_GRAIN_NS;
    let (first, _) = built(&source.sources(), None, None, 2);
    let hints = Hints::open(first.hints("here", began_ns), "here").unwrap();
    let (second, _) = built(&source.sources(), Some(&first.index), Some(&hints), 2);
    assert_eq!((second.files_read, second.bytes_read), (0, 0));
    assert_eq!(second.index, first.index);
    source.write("small/07/7.txt", "changed").write("aaa", "new");
    let (with, packs_with) = built(&source.sources(), Some(&first.index), Some(&hints), 2);
    let (without, packs_without) = built(&source.sources(), Some(&first.index), None, 2);
    assert_eq!((with.files_read, with.bytes_read), (2, 10));
    assert_eq!((with.index, packs_with), (without.index, packs_without));
}

#[test]
fn what_lies_in_a_lost_pack_is_read_and_stored_again_and_nothing_else() {
    let source = large();
    let (first, packs) = built(&source.sources(), None, None, 2);
    let hints = Hints::open(first.hints("here", now_ns() + 2 * CLOCK_GRAIN_NS), "here").unwrap();
    let whole = Store::with(&packs).reassemble(&first.index);
    assert!(packs.len() > 1);
    for gone in &packs {
        let lost = HashSet::from([gone.digest]);
        let again = |hints, threads| built_without(&lost, &source.sources(), Some(&first.index), hints, threads);
        let (second, stored) = again(Some(&hints), 2);
        let names_it = |entry: &&package::Entry| match &entry.kind {
            EntryKind::File { refs, .. } => {
                first.index.chunks_of(refs).any(|chunk| first.index.pack_of(chunk).digest == gone.digest)
            }
            _ => false,
        };
        assert_eq!(second.files_read, first.index.entries.iter().filter(names_it).count() as u64);
        let raw = |index: &Index| index.chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum::<u64>();
        assert_eq!(raw(&second.index), raw(&first.index), "every chunk is stored once");
        let mut left = Store::with(&packs);
        left.packs.remove(&gone.digest);
        left.add(&stored);
        assert!(left.reassemble(&second.index) == whole && second.is_same_as(&first.index));
        let (unhinted, stored_unhinted) = again(None, 1);
        assert_eq!((unhinted.index, stored_unhinted), (second.index, stored));
    }
}

#[test]
fn the_further_names_of_a_file_whose_content_is_lost_have_it_again() {
    let source = Source::new();
    source.write("a", "shared").write("c", "apart");
    std::fs::hard_link(source.path("a"), source.path("b")).unwrap();
    let (first, packs) = built(&source.sources(), None, None, 1);
    let hints = Hints::open(first.hints("here", now_ns() + 2 * CLOCK_GRAIN_NS), "here").unwrap();
    let lost = HashSet::from([packs[0].digest]);
    let (second, stored) = built_without(&lost, &source.sources(), Some(&first.index), Some(&hints), 1);
    assert_eq!((second.files_read, &stored), (2, &packs));
    assert_eq!(Store::with(&stored).reassemble(&second.index)["b"], b"shared");
}

#[test]
fn a_hint_that_the_previous_revision_does_not_bear_out_is_not_used() {
    let (a, b) = (Source::new(), Source::new());
    a.write("f", "aaaa");
    b.write("f", "bbbb");
    let (of_a, _) = build(&a.sources(), None);
    let (of_b, _) = build(&b.sources(), None);
    let hints = Hints::open(of_a.hints("here", now_ns() + 2 * CLOCK_GRAIN_NS), "here").unwrap();
    let (again, packs) = built(&a.sources(), Some(&of_b.index), Some(&hints), 1);
    assert_eq!(again.files_read, 1);
    assert_eq!(Store::with(&packs).reassemble(&again.index)["f"], b"aaaa");
}

#[test]
fn a_hint_written_right_after_a_change_does_not_hide_the_next_one() {
    let source = Source::new();
    source.write("f", "one");
    let began_ns = now_ns();
    let (first, _) = build(&source.sources(), None);
    let hints = Hints::open(first.hints("here", began_ns), "here").unwrap();
    let (second, _) = built(&source.sources(), Some(&first.index), Some(&hints), 1);
    assert_eq!(second.files_read, 1, "its time is too young to be trusted");
}

/// As a file system with a coarse clock, or a program that sets the time back, leaves it: other content, the same stat.
#[test]
fn a_file_changed_twice_within_the_clocks_grain_is_read_again() {
    let source = Source::new();
    source.write("young", "one").write("old", "one").time("old", 1_000_000_000);
    let long_ago = Hints::open(build(&source.sources(), None).0.hints("here", now_ns()), "here").unwrap();
    let (first, _) = build(&source.sources(), None);
    // The next change falls into the same tick: neither size nor any time tells.
    let young = Hints::open(first.hints("here", now_ns() + CLOCK_GRAIN_NS / 2), "here").unwrap();
    let settled = Hints::open(first.hints("here", now_ns() + 2 * CLOCK_GRAIN_NS), "here").unwrap();
    let read = |hints: &Hints| built(&source.sources(), Some(&first.index), Some(hints), 1).0.files_read;
    assert_eq!((read(&long_ago), read(&young), read(&settled)), (2, 2, 0));
}

#[test]
fn what_hints_would_hide_is_found_by_reading_everything() {
    let source = Source::new();
    source.write("same", "one").write("changed", "one").write("new size", "one");
    let (first, _) = build(&source.sources(), None);
    let hints = Hints::open(first.hints("here", now_ns() + 2 * CLOCK_GRAIN_NS), "here").unwrap();
    assert_eq!(build(&source.sources(), Some(&first.index)).0.unseen_by(&hints), [0u32; 0]);
    // What a change within a tick looks like: the hint is of this stat, and of other content.
    source.write("changed", "two").write("new size", "longer");
    let (other, _) = build(&source.sources(), None);
    let stale = Hints::open(with_content_of(&first, &other), "here").unwrap();
    let (second, _) = build(&source.sources(), Some(&first.index));
    let unseen: Vec<&str> =
        second.unseen_by(&stale).into_iter().map(|at| second.index.entries[at as usize].path.as_str()).collect();
    assert_eq!(unseen, ["changed", "new size"]);
}

/// Hints with the stats of `stats` and the content of `of`, two builds of the same paths.
fn with_content_of(of: &Built, stats: &Built) -> Vec<u8> {
    let mut writer = HintsWriter::new("here", now_ns() + 2 * CLOCK_GRAIN_NS);
    for entry in &of.index.entries {
        let EntryKind::File { refs, .. } = &entry.kind else { continue };
        let stat = stats.stat_of(&entry.path).unwrap();
        writer.add(&entry.path, &stat, &content_id(of.index.chunks_of(refs).map(|chunk| &chunk.digest)));
    }
    writer.finish()
}

#[test]
fn globs_say_what_is_taken_and_an_excluded_directory_is_not_entered() {
    let source = Source::new();
    source.write("a.txt", "1").write("b.tmp", "2").write("cache/x.txt", "3").write("docs/deep/c.txt", "4");
    source.write("docs/c.bin", "5").write("bare/only.bin", "6");
    let _unreadable_kind = UnixListener::bind(source.path("cache/socket")).unwrap();
    let mut of = source.source();
    of.exclude = vec!["*.tmp".to_owned(), "cache".to_owned()];
    let (built, _) = build(&[of.clone()], None);
    assert_eq!(
        paths(&built.index),
        ["", "a.txt", "bare", "bare/only.bin", "docs", "docs/c.bin", "docs/deep", "docs/deep/c.txt"]
    );
    of.include = vec!["*.txt".to_owned()];
    let (built, _) = build(&[of.clone()], None);
    assert_eq!(paths(&built.index), ["", "a.txt", "docs", "docs/deep", "docs/deep/c.txt"]);
    of.include = vec!["docs".to_owned()];
    let (built, _) = build(&[of.clone()], None);
    assert_eq!(paths(&built.index), ["", "docs", "docs/c.bin", "docs/deep", "docs/deep/c.txt"]);
    of.include = vec!["a[".to_owned()];
    assert_eq!(refused(&[of]).code(), "source-glob-invalid");
}

#[test]
fn sources_go_where_into_says_and_a_single_file_is_a_source() {
    let (one, two) = (Source::new(), Source::new());
    one.write("a.txt", "1").write("lib/x", "2").time("a.txt", 1_500_000_000);
    two.write("lib/y", "3");
    let into = |source: &Source, into: &str| FileSource { into: Some(into.to_owned()), ..source.source() };
    let file = FileSource { path: one.path("a.txt").to_str().unwrap().to_owned(), ..one.source() };
    let (alone, packs) = build(std::slice::from_ref(&file), None);
    assert_eq!(paths(&alone.index), ["", "a.txt"]);
    assert_eq!(alone.index.entries[0].mtime_ns, 1_500_000_000_000_000_000);
    assert_eq!(Store::with(&packs).reassemble(&alone.index)["a.txt"], b"1");
    let (both, _) = build(&[into(&one, "p/q"), two.source()], None);
    assert_eq!(paths(&both.index), ["", "lib", "lib/y", "p", "p/q", "p/q/a.txt", "p/q/lib", "p/q/lib/x"]);
    let (merged, packs) = build(&[one.source(), two.source()], None);
    assert_eq!(paths(&merged.index), ["", "a.txt", "lib", "lib/x", "lib/y"]);
    assert_eq!(Store::with(&packs).reassemble(&merged.index)["lib/y"], b"3");
    assert_eq!(refused(&[one.source(), file.clone()]).code(), "source-conflict");
    two.write("a.txt/below", "4");
    assert_eq!(refused(&[one.source(), two.source()]).code(), "source-conflict");
    assert_eq!(refused(&[into(&one, "../up")]).code(), "entry-unsafe");
}

#[test]
fn what_cannot_be_distributed_is_refused_by_name() {
    use std::os::unix::ffi::OsStrExt;
    let source = Source::new();
    let missing = refused(&[support::source(&source.path("nothing"))]);
    assert_eq!((missing.code(), missing.is_permanent()), ("source-missing", true));

    let socket = UnixListener::bind(source.path("door")).unwrap();
    let error = refused(&source.sources());
    assert_eq!((error.code(), error.is_permanent()), ("entry-unsafe", true));
    assert!(error.to_string().contains("/door is a socket"), "{error}");
    drop(socket);
    std::fs::remove_file(source.path("door")).unwrap();

    for name in [&b"bad\xff"[..], b"new\nline", b"back\\slash"] {
        let path = source.dir.path().join(std::ffi::OsStr::from_bytes(name));
        std::fs::write(&path, "x").unwrap();
        assert_eq!(refused(&source.sources()).code(), "entry-unsafe", "{name:?}");
        std::fs::remove_file(&path).unwrap();
    }

    let sparse = std::fs::File::create(source.path("exabyte")).unwrap();
    if sparse.set_len(package::limits::FILE_BYTES_MAX + 1).is_ok() {
        assert_eq!(refused(&source.sources()).code(), "source-too-large");
    }
}

#[test]
fn a_small_file_that_changed_since_it_was_listed_is_taken_as_it_is_now() {
    let source = Source::new();
    source.write("f", "before");
    let watch = Watch::default();
    let tree = walk(&source.sources(), 1, &watch).unwrap();
    source.write("f", "after, and longer").mode("f", 0o600);
    let mut packs = Vec::new();
    let input = Input { tree, previous: None, lost: &HashSet::new(), hints: None, threads: 1, watch: &watch };
    let built = build_with(input, &mut packs).unwrap();
    assert_eq!(Store::with(&packs).reassemble(&built.index)["f"], b"after, and longer");
    assert_eq!(built.index.entries[1].mode, 0o600);
    let (fresh, _) = build(&source.sources(), Some(&built.index));
    assert_eq!(fresh.index.entries[1], built.index.entries[1]);
}

#[test]
fn a_large_file_that_changed_or_a_file_that_went_is_a_transient_fault() {
    for name in ["large", "gone"] {
        let source = Source::new();
        source.write("large", noise("l", 9_000_000)).write("gone", "x");
        let watch = Watch::default();
        let tree = walk(&source.sources(), 1, &watch).unwrap();
        match name {
            "large" => source.write("large", noise("m", 9_000_000)),
            _ => std::fs::remove_file(source.path("gone")).map(|()| &source).unwrap(),
        };
        let input = Input { tree, previous: None, lost: &HashSet::new(), hints: None, threads: 2, watch: &watch };
        let error = build_with(input, &mut Vec::new()).unwrap_err();
        assert_eq!((error.code(), error.is_permanent()), ("source-changed-while-read", false));
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_build_ends_when_it_is_cancelled_or_nobody_takes_its_packs() {
    struct Gone;
    impl PackSink for Gone {
        fn put(&mut self, _: Pack) -> Result<(), SinkClosed> {
            Err(SinkClosed)
        }
    }
    let source = large();
    let watch = Watch::default();
    let tree = || walk(&source.sources(), 1, &Watch::default()).unwrap();
    let input = Input { tree: tree(), previous: None, lost: &HashSet::new(), hints: None, threads: 2, watch: &watch };
    assert_eq!(build_with(input, &mut Gone).unwrap_err(), BuildError::SinkClosed);
    watch.cancel();
    let input = Input { tree: tree(), previous: None, lost: &HashSet::new(), hints: None, threads: 2, watch: &watch };
    assert_eq!(build_with(input, &mut Vec::new()).unwrap_err(), BuildError::Cancelled);
    assert_eq!(walk(&source.sources(), 1, &watch).err(), Some(BuildError::Cancelled));
}

#[test]
fn progress_ends_at_the_totals() {
    let source = large();
    let watch = Watch::default();
    let tree = walk(&source.sources(), 2, &watch).unwrap();
    build_with(
        Input { tree, previous: None, lost: &HashSet::new(), hints: None, threads: 2, watch: &watch },
        &mut Vec::new(),
    )
    .unwrap();
    let seen = watch.seen();
    assert!(seen.bytes_total > 40_000_000);
    assert_eq!((seen.files_done, seen.bytes_done), (seen.files_total, seen.bytes_total));
}

#[test]
fn an_empty_source_is_a_revision_with_a_root_alone() {
    let source = Source::new();
    let (built, packs) = build(&[support::source(source.dir.path())], None);
    assert_eq!(paths(&built.index), [""]);
    assert!(packs.is_empty());
    assert_eq!(Index::decode(&built.index.encode()).unwrap(), *built.index);
}
