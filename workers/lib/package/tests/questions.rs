//! Differences of two indexes, what a store lacks, and which ranges to ask for.

mod support;

use std::collections::HashSet;

use package::diff::{diff, frames_lacking_chunks, frames_of_entries, needed_frames, ranges};
use package::{Frame, Index};
use schemas::Digest;
use support::{Source, build, noise};

#[test]
fn a_difference_names_what_came_went_and_changed_and_how() {
    let source = Source::with_one_of_each();
    let (old, _) = build(&source.sources(), None);
    source.write("big.bin", "smaller").write("sub-y", "new").mode("sub-x", 0o600).time("twin.txt", 1_500_000_000);
    std::fs::remove_file(source.path("link")).unwrap();
    source.link("link", "twin.txt");
    std::fs::remove_file(source.path("sub/deep/a.txt")).unwrap();
    std::fs::remove_file(source.path("empty")).unwrap();
    std::fs::create_dir(source.path("empty")).unwrap();
    let (new, _) = build(&source.sources(), Some(&old.index));
    let (old, new) = (old.index, new.index);
    let found = diff(&old, &new);
    let names = |index: &Index, at: &[u32]| -> Vec<String> {
        at.iter().map(|&at| index.entries[at as usize].path.clone()).collect()
    };
    assert_eq!(names(&new, &found.added), ["sub-y"]);
    assert_eq!(names(&old, &found.removed), ["sub/deep/a.txt"]);
    let changed = |path: &str| {
        let of_path = |c: &&package::diff::Changed| new.entries[c.new as usize].path == path;
        found.changed.iter().find(of_path).map(|c| (c.content, c.mode))
    };
    assert_eq!(changed("big.bin"), Some((true, false)));
    assert_eq!(changed("link"), Some((true, false)));
    assert_eq!(changed("empty").map(|(content, _)| content), Some(true));
    assert_eq!(changed("sub-x"), Some((false, true)));
    assert_eq!(changed("twin.txt"), Some((false, false)));
    assert_eq!(changed("readme.txt"), None);
    for change in &found.changed {
        assert_eq!(old.entries[change.old as usize].path, new.entries[change.new as usize].path);
    }
    assert!(diff(&new, &new).is_empty());
    assert_eq!(diff(&Index::default(), &new).added.len(), new.entries.len());
}

#[test]
fn only_the_chunks_of_the_frames_in_question_are_asked_for() {
    let source = Source::new();
    source.write("a", noise("a", 600_000)).write("b", noise("b", 600_000));
    let index = build(&source.sources(), None).0.index;
    let asked = std::cell::RefCell::new(HashSet::new());
    let among = [1, 3];
    let lacking = frames_lacking_chunks(&index, &among, |digest| {
        asked.borrow_mut().insert(*digest);
        true
    });
    let of_these = index.chunks.iter().filter(|chunk| among.contains(&chunk.frame)).map(|chunk| chunk.digest);
    assert_eq!((lacking, asked.into_inner()), (Vec::new(), of_these.collect()));
    assert!(frames_lacking_chunks(&index, &[], |_| panic!("nothing is in question")).is_empty());
}

#[test]
fn only_frames_that_are_lacking_are_needed() {
    let source = Source::new();
    source.write("a", noise("a", 600_000)).write("b", noise("b", 600_000));
    let (built, _) = build(&source.sources(), None);
    let index = built.index;
    let all: Vec<u32> = (0..index.frames.len() as u32).collect();
    assert!(all.len() >= 4);
    let held: HashSet<Digest> = index.frames[..2].iter().map(|frame| frame.digest).collect();
    assert_eq!(needed_frames(&index, |digest| held.contains(digest)), all[2..]);
    assert_eq!(needed_frames(&index, |_| true), Vec::<u32>::new());
    let last = index.chunks.last().unwrap();
    assert_eq!(frames_lacking_chunks(&index, &all, |digest| *digest != last.digest), [last.frame]);
    assert_eq!(frames_lacking_chunks(&index, &all, |_| false), all);
    let of_b = frames_of_entries(&index, [index.find("b").unwrap() as u32]);
    assert!(of_b.len() < all.len() && of_b.contains(&last.frame));
    assert_eq!(frames_of_entries(&index, 0..index.entries.len() as u32), all);
}

fn frame(pack: u32, offset: u64, stored_bytes: u32) -> Frame {
    Frame { digest: Digest([0; 32]), pack, offset, stored_bytes, raw_bytes: stored_bytes }
}

#[test]
fn neighbours_become_one_range_within_gap_and_length() {
    let frames = vec![frame(0, 0, 10), frame(0, 10, 10), frame(0, 25, 10), frame(0, 100, 10), frame(1, 110, 10)];
    let index = Index { frames, ..Index::default() };
    let asked = |frames: &[u32], gap, most| -> Vec<(u32, std::ops::Range<u64>, Vec<u32>)> {
        ranges(&index, frames, gap, most).into_iter().map(|r| (r.pack, r.range, r.frames)).collect()
    };
    assert_eq!(
        asked(&[0, 1, 2, 3, 4], 5, 1000),
        [(0, 0..35, vec![0, 1, 2]), (0, 100..110, vec![3]), (1, 110..120, vec![4])]
    );
    assert_eq!(asked(&[0, 1, 2], 0, 1000), [(0, 0..20, vec![0, 1]), (0, 25..35, vec![2])]);
    assert_eq!(asked(&[0, 1, 2], 5, 20), [(0, 0..20, vec![0, 1]), (0, 25..35, vec![2])]);
    assert_eq!(asked(&[0, 2], 20, 5), [(0, 0..10, vec![0]), (0, 25..35, vec![2])]);
    let joined = &ranges(&index, &[1, 2], 5, 1000)[0];
    assert_eq!((joined.within(&index, 1), joined.within(&index, 2)), (0..10, 15..25));
}
