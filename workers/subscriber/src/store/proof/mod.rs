//! Crash proof of the store: its operations are recorded, cut off after each of them, what was not synced is lost in several
//! ways, and from every state that this leaves the store shows nothing that is not whole, has all that it had promised, and
//! goes on to the end.

mod model;
pub mod recorder;
mod scenes;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use blobs::{Key, ObjectKind};
use bytes::Bytes;
use package::Index;
use schemas::{Digest, StoreId};
use tempfile::TempDir;

use super::{FrameRef, Store};
use model::{Fate, Model};
use recorder::Op;

/// One recording at a time in this process.
static ALONE: Mutex<()> = Mutex::new(());
/// Ways in which what was not synced is lost by chance, for each cut.
const CHANCES: u64 = 4;

pub fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thing {
    Frame(StoreId, Digest, FrameRef),
    Object(Key),
}

#[derive(Debug, Clone)]
pub enum Said {
    /// From here on a crash must not take it.
    Held(Thing),
    /// From here on it may go.
    Going(Thing),
}

/// What a crash does to what was not synced. Within one directory names are lost from the end; what is in one directory says
/// nothing of another; each write goes by itself.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Nothing,
    Everything,
    Zeros,
    FirstHalves,
    LastHalves,
    Chance(u64),
}

/// All that may ever be in the store, with its bytes.
#[derive(Default)]
pub struct Known {
    pub things: Vec<(Thing, Bytes)>,
    pub indexes: HashMap<Digest, Index>,
}

pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// The directory whose names an operation changes.
fn directory_of(op: &Op) -> Option<&Path> {
    match op {
        Op::Create { path, .. } | Op::MakeDirectory { path } | Op::Remove { path } | Op::RemoveDirectory { path } => {
            path.parent()
        }
        Op::Rename { to, .. } => to.parent(),
        _ => None,
    }
}

fn is_synced_by(op: &Op, sync: &Op) -> bool {
    match (op, sync) {
        (Op::Write { file, .. } | Op::SetLength { file, .. }, Op::Sync { file: synced }) => file == synced,
        (op, Op::SyncDirectory { path }) => directory_of(op) == Some(path),
        _ => false,
    }
}

fn chance(seed: u64, what: &str) -> u64 {
    let digest = Digest::of(format!("{seed} {what}").as_bytes());
    u64::from_le_bytes(digest.0[..8].try_into().unwrap())
}

fn fate(op: &Op, at: usize, loss: Loss, names_lost: &mut HashMap<PathBuf, bool>) -> Fate {
    let is_write = matches!(op, Op::Write { .. });
    match loss {
        Loss::Everything => Fate::Lost,
        Loss::Zeros if is_write => Fate::Zeros,
        Loss::FirstHalves if is_write => Fate::FirstHalf,
        Loss::LastHalves if is_write => Fate::LastHalf,
        Loss::Nothing | Loss::Zeros | Loss::FirstHalves | Loss::LastHalves => Fate::Done,
        Loss::Chance(seed) => match directory_of(op) {
            Some(directory) => {
                let lost = names_lost.entry(directory.to_owned()).or_insert(false);
                *lost |= chance(seed, &format!("{} {at}", directory.display())).is_multiple_of(4);
                if *lost { Fate::Lost } else { Fate::Done }
            }
            None => [Fate::Done, Fate::Lost, Fate::Zeros, Fate::FirstHalf, Fate::LastHalf]
                [chance(seed, &at.to_string()) as usize % 5],
        },
    }
}

/// The state after the first `cut` operations and a crash.
fn crashed(base: &Model, ops: &[Op], cut: usize, loss: Loss) -> Model {
    let done = &ops[..cut];
    let is_durable = |at: usize| done[at + 1..].iter().any(|later| is_synced_by(&done[at], later));
    let mut names_lost = HashMap::new();
    let mut model = base.clone();
    for (at, op) in done.iter().enumerate() {
        let fate = if is_durable(at) { Fate::Done } else { fate(op, at, loss, &mut names_lost) };
        model.apply(op, fate);
    }
    model
}

fn held_after(before: &HashSet<Thing>, ops: &[Op]) -> HashSet<Thing> {
    let mut held = before.clone();
    for op in ops {
        match op {
            Op::Say(Said::Held(thing)) => drop(held.insert(*thing)),
            Op::Say(Said::Going(thing)) => drop(held.remove(thing)),
            _ => {}
        }
    }
    held
}

impl Known {
    pub fn add_frame(&mut self, store: StoreId, pack: Digest, frame: FrameRef, bytes: &[u8]) -> Thing {
        let thing = Thing::Frame(store, pack, frame);
        self.things.push((thing, Bytes::copy_from_slice(bytes)));
        thing
    }

    pub fn add_object(&mut self, key: Key, bytes: &[u8]) -> Thing {
        if key.kind == ObjectKind::Index {
            self.indexes.insert(key.digest, Index::decode(bytes).unwrap());
        }
        self.things.push((Thing::Object(key), Bytes::copy_from_slice(bytes)));
        Thing::Object(key)
    }

    /// What the store shows is whole, and what it must hold it shows. Returns how many things it shows.
    fn examine(&self, store: &Store, held: &HashSet<Thing>, what: &str) -> usize {
        let mut shown = 0;
        for (thing, bytes) in &self.things {
            let (is_shown, got) = show(store, thing);
            assert_eq!(is_shown, got.is_some(), "{thing:?} is shown and cannot be read: {what}");
            assert!(got.as_ref().is_none_or(|got| got == bytes), "{thing:?} is shown with other bytes: {what}");
            assert!(is_shown || !held.contains(thing), "{thing:?} was held and is lost: {what}");
            shown += usize::from(is_shown);
        }
        let ids: HashSet<StoreId> = self.things.iter().map(|(thing, _)| store_of(thing)).collect();
        for id in ids {
            for (digest, header) in store.headers(id).unwrap() {
                let index = self.indexes.get(&header.index.digest).expect("a header of ours");
                let is_whole = store.holds(&Key::index(id, header.index.digest));
                assert!(is_whole, "the header {digest} is shown without its index: {what}");
                assert_eq!(store.missing(id, index).unwrap(), [0u32; 0], "the header {digest} lacks frames: {what}");
            }
        }
        shown
    }
}

fn store_of(thing: &Thing) -> StoreId {
    match thing {
        Thing::Frame(store, ..) => *store,
        Thing::Object(key) => key.store,
    }
}

fn show(store: &Store, thing: &Thing) -> (bool, Option<Bytes>) {
    match *thing {
        Thing::Frame(id, pack, frame) => {
            (store.has_frame(id, pack, frame).unwrap(), store.frame(id, pack, frame).unwrap())
        }
        Thing::Object(key) => (store.holds(&key), store.object(&key).unwrap()),
    }
}

/// What was done, from which state on, and what of it was held before.
pub struct Recorded {
    base: Model,
    before: HashSet<Thing>,
    ops: Vec<Op>,
}

impl Recorded {
    pub fn of(root: &Path, before: impl IntoIterator<Item = Thing>, work: impl FnOnce()) -> Recorded {
        let base = Model::load(root);
        recorder::start(root, None);
        work();
        Recorded { base, before: before.into_iter().collect(), ops: recorder::stop() }
    }

    pub fn operations(&self) -> usize {
        self.ops.iter().filter(|op| !matches!(op, Op::Say(_))).count()
    }

    /// Tries every crash of it: looks at what is left, does `finish`, and looks again, at what is then to be held.
    pub fn prove(&self, known: &Known, finish: impl Fn(&Path), in_the_end: &[Thing]) {
        let in_the_end: HashSet<Thing> = in_the_end.iter().copied().collect();
        let mut most_shown = 0;
        for cut in 0..=self.ops.len() {
            let held = held_after(&self.before, &self.ops[..cut]);
            for loss in losses(cut) {
                let at = folder();
                crashed(&self.base, &self.ops, cut, loss).lay_out(at.path());
                let what = format!("{loss:?} after {cut} of {}: {:?}", self.ops.len(), self.ops[..cut].last());
                let shown = known.examine(&Store::open(at.path()).unwrap(), &held, &what);
                most_shown = most_shown.max(shown);
                finish(at.path());
                known.examine(&Store::open(at.path()).unwrap(), &in_the_end, &format!("in the end, {what}"));
            }
        }
        assert!(most_shown > 0, "nothing was ever shown");
    }
}

fn losses(cut: usize) -> impl Iterator<Item = Loss> {
    let chances = (0..CHANCES).map(move |n| Loss::Chance(cut as u64 * CHANCES + n));
    [Loss::Nothing, Loss::Everything, Loss::Zeros, Loss::FirstHalves, Loss::LastHalves].into_iter().chain(chances)
}
