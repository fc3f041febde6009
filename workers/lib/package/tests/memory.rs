//! How much memory building and extracting take for each file of a large tree, as an allocator counts it: bounds against a loss.
//! What a whole process takes is docs/performance.md's.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use package::build::{Input, build};
use package::walk::walk;
use package::{Index, Watch};
use support::Source;
use support::target::{Revision, Target};

/// What a file takes is the difference: buffers are there for any tree. Both fill their hash tables alike.
const FEW: usize = 6_000;
const MANY: usize = 24_000;

struct Counted;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn taken(bytes: usize) {
    let now = NOW.fetch_add(bytes, Relaxed) + bytes;
    MOST.fetch_max(now, Relaxed);
}

#[allow(unsafe_code, reason = "an allocator cannot be one without")]
// SAFETY: all is done by the system's own; what is added counts.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Most bytes that were held at a time beyond those held before.
fn most_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    let done = work();
    (done, MOST.load(Relaxed) - before)
}

fn built(number: u64, source: &Source, previous: Option<&Revision>) -> Revision {
    let (watch, mut packs) = (Watch::default(), Vec::new());
    let tree = walk(&source.sources(), 2, &watch).unwrap();
    let (lost, previous_index) = (HashSet::new(), previous.map(|previous| &*previous.index));
    let input = Input { tree, previous: previous_index, lost: &lost, hints: None, threads: 2, watch: &watch };
    let index = build(input, &mut packs).unwrap().index;
    let revision = Revision::new(number, index, &packs);
    match previous {
        Some(previous) => revision.upon(previous),
        None => revision,
    }
}

/// Of what is done with a tree of so many files.
fn most_bytes(files: usize) -> [usize; 6] {
    let source = Source::new();
    for n in 0..files {
        source.write(&format!("folder-{:03}/some-file-{n:06}.txt", n % 200), n.to_string());
    }
    let (one, first_build) = most_of(|| built(1, &source, None));
    source.write("folder-000/some-file-000000.txt", "changed");
    let (two, second_build) = most_of(|| built(2, &source, Some(&one)));
    let sealed = one.index.seal();
    let (_, index) = most_of(|| Index::open(&sealed.bytes, &sealed.at).unwrap());
    let target = Target::new();
    let (_, first) = most_of(|| target.mirror(&one));
    let (_, standby) = most_of(|| target.prepare(&one));
    let (_, second) = most_of(|| target.mirror(&two));
    [index, first_build, second_build, first, standby, second]
}

/// Beyond the indexes that are there before: one, for the second build two; what is extracted has its own.
#[test]
fn a_large_tree_takes_some_hundred_bytes_for_each_of_its_files() {
    let (few, many) = (most_bytes(FEW), most_bytes(MANY));
    let limits = [
        ("opening an index", 225),
        ("a first build", 300),
        ("a second build", 215),
        ("a first extraction", 225),
        ("a standby tree", 330),
        ("a second extraction", 425),
    ];
    let found = few.iter().zip(many).map(|(few, many)| (many - few) / (MANY - FEW));
    let lines: Vec<String> =
        limits.iter().zip(found.clone()).map(|((what, most), found)| format!("{what}: {found} ({most})")).collect();
    println!("bytes a file (and most): {lines:?}");
    assert!(limits.iter().zip(found).all(|((_, most), found)| found <= *most), "{lines:?}");
}
