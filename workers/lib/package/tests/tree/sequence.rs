//! Many revisions, one after the other: as they come, and under readers that never stop.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use package::tree::Modification;
use proptest::prelude::*;

use super::support::*;

const REVISIONS: u64 = 60;
const FILES: u64 = 40;
const WAIT_MAX: Duration = Duration::from_secs(30);

fn numbered(number: u64) -> Revision {
    let files = (0..FILES).map(|n| (format!("d{}/f{n}", n % 3), number / (1 + n % 3)));
    let tree = (0..3).fold(Tree::new(), |tree, n| tree.directory(&format!("d{n}")));
    let tree = files.fold(tree, |tree, (path, text)| tree.file(&path, format!("{text}")));
    tree.file("number", format!("{number}")).revision(number)
}

/// Walks of one reader, counted as they begin: once the next has begun, nobody reads the tree before the last.
#[derive(Default)]
struct Walks {
    begun: Mutex<u64>,
    more: Condvar,
}

impl Walks {
    fn begin(&self) {
        *self.begun.lock().unwrap() += 1;
        self.more.notify_all();
    }

    fn pass(&self) {
        let begun = self.begun.lock().unwrap();
        let next = *begun + 1;
        let (_begun, late) = self.more.wait_timeout_while(begun, WAIT_MAX, |begun| *begun < next).unwrap();
        assert!(!late.timed_out(), "the reader stopped");
    }
}

/// One walk: the directory is opened once, and everything is read beneath that handle.
fn walk(target: &std::path::Path) -> BTreeMap<String, String> {
    let root = File::open(target).unwrap();
    let root = format!("/proc/self/fd/{}", root.as_raw_fd());
    let read = |path: String| (path.clone(), fs::read_to_string(format!("{root}/{path}")).unwrap());
    let mut found = BTreeMap::from([read("number".into())]);
    for directory in 0..3 {
        for entry in fs::read_dir(format!("{root}/d{directory}")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            found.extend([read(format!("d{directory}/{name}"))]);
        }
    }
    found
}

#[test]
fn readers_see_whole_old_or_new_trees_while_revisions_swap() {
    let site = Site::new();
    site.mirror(&numbered(1)).unwrap();
    let (stop, walks, seen) = (AtomicBool::new(false), Walks::default(), AtomicU64::new(0));
    let target = site.target();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                walks.begin();
                let found = walk(&target);
                let number: u64 = found["number"].parse().unwrap();
                let whole = (0..FILES).map(|n| (format!("d{}/f{n}", n % 3), format!("{}", number / (1 + n % 3))));
                let whole: BTreeMap<_, _> = whole.chain([("number".into(), format!("{number}"))]).collect();
                assert_eq!(found, whole);
                seen.fetch_max(number, Ordering::SeqCst);
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                fs::read_to_string(target.join("d1/f1")).expect("a path in the target is there at every instant");
            }
        });
        let installed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 2..=REVISIONS {
                walks.pass();
                site.mirror(&numbered(number)).unwrap();
            }
            walks.pass();
            walks.pass();
        }));
        stop.store(true, Ordering::SeqCst);
        installed.unwrap();
    });
    assert_eq!(seen.load(Ordering::SeqCst), REVISIONS);
}

/// `directory_mode` besides 755: what an owner without privileges can still work with.
fn any_tree(directory_mode: u32) -> impl Strategy<Value = Tree> {
    let name = prop::sample::select(vec!["a", "b", "c", "a-b", "é"]);
    let path = prop::collection::vec(name, 1..4).prop_map(|parts| parts.join("/"));
    let thing = prop_oneof![
        2 => Just(Thing::Directory),
        5 => (0u64..4, 0usize..(3 * CHUNK)).prop_map(|(seed, bytes)| Thing::File(content(seed, bytes / 512 * 512))),
        1 => prop::sample::select(vec!["a", "b/c", "nowhere"]).prop_map(|to| Thing::Link(to.into())),
    ];
    let mode = prop::sample::select(vec![0o755, 0o644, 0o500, 0o700]);
    let things = prop::collection::vec((path, thing, mode, 0i64..3), 0..14);
    things.prop_map(move |things| {
        things.into_iter().fold(Tree::new(), |tree, (path, thing, mode, time)| {
            let mode = match thing {
                Thing::Directory if mode < 0o700 => directory_mode,
                _ => mode,
            };
            put(tree, &path, thing, mode, MTIME + time)
        })
    })
}

/// Puts a thing there if what it would be in is a directory or nothing yet, and nothing stands there.
fn put(mut tree: Tree, path: &str, thing: Thing, mode: u32, time: i64) -> Tree {
    let parts: Vec<&str> = path.split('/').collect();
    for depth in 1..parts.len() {
        let above = parts[..depth].join("/");
        match tree.things.get(&above) {
            Some((Thing::Directory, ..)) => {}
            Some(_) => return tree,
            None => tree = tree.directory(&above),
        }
    }
    if tree.things.contains_key(path) {
        return tree;
    }
    tree.with(path, thing, mode).time(path, time)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_revisions_is_mirrored_exactly(trees in prop::collection::vec(any_tree(0o500), 1..6)) {
        let mut site = Site::new();
        site.pin = true;
        let revisions: Vec<Revision> = trees.iter().zip(1..).map(|(tree, number)| tree.revision(number)).collect();
        for revision in revisions.iter().chain(revisions.iter().rev()) {
            site.mirror(revision).unwrap();
            prop_assert!(site.verified(revision));
        }
    }

    #[test]
    fn any_sequence_of_revisions_is_merged_and_leaves_nothing_behind(trees in prop::collection::vec(any_tree(0o700), 1..5)) {
        let site = Site::new();
        fs::create_dir(site.target()).unwrap();
        site.write("theirs", "t");
        for (tree, number) in trees.iter().zip(1..) {
            let revision = tree.revision(number);
            site.merge(&revision).unwrap();
            let found = package::tree::verify(&site.target(), &revision.index).unwrap();
            prop_assert!(found.missing.is_empty());
            prop_assert_eq!(&found.extra, &["theirs"]);
            let is_file = |path: &str| site.target().join(path).symlink_metadata().is_ok_and(|meta| !meta.is_dir());
            let wrong = |what: Modification, path: &str| what != Modification::Mode && what != Modification::Time || is_file(path);
            prop_assert!(!found.modified.iter().any(|modified| wrong(modified.what, &modified.path)), "{:?}", found);
        }
        site.merge(&Tree::new().revision(99)).unwrap();
        prop_assert_eq!(picture(&site.target()).len(), 1);
    }
}
