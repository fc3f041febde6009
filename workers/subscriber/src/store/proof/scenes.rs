//! What a store does in its life, crashed everywhere: puts, flushes, sweeps, recoveries.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use blobs::Key;
use schemas::{Digest, StoreId};

use super::super::tests::{Pack, revision};
use super::super::{FrameRef, Store};
use super::model::Model;
use super::recorder::{self, hold, let_go};
use super::{Known, Recorded, Thing, alone, crashed, folder, held_after, losses, show};

/// Two packs of one distribution; an index, a header and a patch.
struct World {
    old: Pack,
    new: Pack,
    known: Known,
    first: Revision,
    second: Revision,
    patch: Thing,
}

#[derive(Clone, Copy)]
struct Revision {
    header: Thing,
    index: Thing,
}

fn key_of(thing: Thing) -> Key {
    match thing {
        Thing::Object(key) => key,
        Thing::Frame(..) => panic!("a frame has no key"),
    }
}

impl World {
    fn new() -> World {
        let old = Pack::of(&[900, 2_000, 1_500]);
        let new = Pack { store: old.store, ..Pack::of(&[700, 40]) };
        let mut known = Known::default();
        for pack in [&old, &new] {
            for position in 0..pack.frames.len() {
                known.add_frame(pack.store, pack.digest, pack.frames[position], pack.bytes_of(position));
            }
        }
        // What a revision consists of is made in a store that is nobody's.
        let elsewhere = folder();
        let store = Store::open(elsewhere.path()).unwrap();
        let mut made = |number, parts: &[(&Pack, &[usize])]| {
            let header = Key::header(old.store, revision(&store, number, parts));
            let bytes = store.object(&header).unwrap().unwrap();
            let index = Key::index(old.store, package::header::decode(&bytes).unwrap().index.digest);
            let index_bytes = store.object(&index).unwrap().unwrap();
            Revision { header: known.add_object(header, &bytes), index: known.add_object(index, &index_bytes) }
        };
        let first = made(1, &[(&old, &[0, 1, 2])]);
        let second = made(2, &[(&old, &[1]), (&new, &[0, 1])]);
        let name = package::patch::PatchName::index(key_of(first.index).digest, key_of(second.index).digest);
        let body = package::patch::seal(&name, b"delta");
        let patch = known.add_object(Key::patch(old.store, name.digest()), &body);
        World { old, new, known, first, second, patch }
    }

    fn id(&self) -> StoreId {
        self.old.store
    }

    fn frames(&self, pack: &Pack, positions: &[usize]) -> Vec<Thing> {
        positions.iter().map(|&at| Thing::Frame(pack.store, pack.digest, pack.frames[at])).collect()
    }

    fn bytes(&self, thing: Thing) -> &[u8] {
        &self.known.things.iter().find(|(known, _)| *known == thing).unwrap().1
    }

    fn put(&self, store: &Store, thing: Thing) -> Result<(), super::super::StoreError> {
        match thing {
            Thing::Frame(id, pack, frame) => store.put_frame(id, pack, frame, self.bytes(thing)),
            Thing::Object(key) => store.put_object(&key, self.bytes(thing)),
        }
    }

    fn put_all(&self, store: &Store, things: &[Thing]) {
        things.iter().for_each(|thing| self.put(store, *thing).unwrap());
    }

    /// As a download does: the index at once, frames in batches, the header last.
    fn download(&self, root: &Path) -> Result<(), super::super::StoreError> {
        let store = Store::open(root)?;
        let put_and_hold = |thing| {
            self.put(&store, thing)?;
            hold([thing]);
            Ok(())
        };
        put_and_hold(self.first.index)?;
        put_and_hold(self.patch)?;
        let mut put = Vec::new();
        for batch in [self.frames(&self.old, &[2, 0]), self.frames(&self.old, &[1]), self.frames(&self.new, &[0])] {
            for thing in batch {
                self.put(&store, thing)?;
                put.push(thing);
            }
            store.flush()?;
            hold(put.drain(..));
        }
        put_and_hold(self.first.header)
    }

    fn downloaded(&self) -> Vec<Thing> {
        let mut all = vec![self.first.index, self.first.header, self.patch];
        all.extend(self.frames(&self.old, &[0, 1, 2]));
        all.extend(self.frames(&self.new, &[0]));
        all
    }

    /// Both revisions, whole.
    fn fill(&self, root: &Path) {
        let store = Store::open(root).unwrap();
        self.put_all(&store, &self.frames(&self.old, &[0, 1, 2]));
        self.put_all(&store, &self.frames(&self.new, &[0, 1]));
        store.flush().unwrap();
        self.put_all(&store, &[self.first.index, self.second.index, self.patch, self.first.header, self.second.header]);
    }

    fn all(&self) -> Vec<Thing> {
        self.known.things.iter().map(|(thing, _)| *thing).collect()
    }
}

#[test]
fn every_crash_of_a_download_leaves_what_was_held_and_only_what_is_whole() {
    let _alone = alone();
    let world = World::new();
    let root = folder();
    let recorded = Recorded::of(root.path(), [], || world.download(root.path()).unwrap());
    assert!(recorded.operations() > 35, "{} operations", recorded.operations());
    recorded.prove(&world.known, |at| world.download(at).unwrap(), &world.downloaded());
}

#[test]
fn every_crash_of_a_sweep_leaves_the_revisions_that_stay() {
    let _alone = alone();
    let world = World::new();
    let root = folder();
    world.fill(root.path());
    let waste = world.frames(&world.old, &[0, 2]);
    let stays: Vec<Thing> =
        [world.second.header, world.second.index].into_iter().chain(world.frames(&world.old, &[1])).collect();
    let stays = [stays, world.frames(&world.new, &[0, 1])].concat();
    let sweep = |at: &Path| {
        let store = Store::open(at).unwrap();
        let_go([world.first.header, world.first.index, world.patch]);
        store.drop_header(world.id(), key_of(world.first.header).digest).unwrap();
        store.drop_index(world.id(), key_of(world.first.index).digest).unwrap();
        let_go(waste.clone());
        store.sweep(world.id(), false, &AtomicBool::new(false)).unwrap();
        // What was written anew takes frames as ever.
        world.put_all(&store, &waste[..1]);
        store.flush().unwrap();
        hold([waste[0]]);
    };
    let recorded = Recorded::of(root.path(), world.all(), || sweep(root.path()));
    let renames = recorded.ops.iter().filter(|op| matches!(op, recorder::Op::Rename { .. })).count();
    assert_eq!(renames, 1, "one pack was written anew");
    recorded.prove(&world.known, sweep, &[stays, vec![waste[0]]].concat());
}

#[test]
fn every_crash_of_a_sweep_of_everything_leaves_no_header_without_its_frames() {
    let _alone = alone();
    let world = World::new();
    let root = folder();
    world.fill(root.path());
    let sweep = |at: &Path| {
        let store = Store::open(at).unwrap();
        let_go(world.all());
        for revision in [world.first, world.second] {
            store.drop_header(world.id(), key_of(revision.header).digest).unwrap();
            store.drop_index(world.id(), key_of(revision.index).digest).unwrap();
        }
        store.sweep(world.id(), false, &AtomicBool::new(false)).unwrap();
    };
    let recorded = Recorded::of(root.path(), world.all(), || sweep(root.path()));
    recorded.prove(&world.known, sweep, &[]);
}

/// What the store shows after a crash counts as held, so a second crash must not take it.
#[test]
fn every_crash_while_a_torn_tail_is_cut_keeps_what_was_shown_before() {
    let _alone = alone();
    let world = World::new();
    let root = folder();
    let store = Store::open(root.path()).unwrap();
    world.put_all(&store, &world.frames(&world.old, &[0, 1]));
    store.flush().unwrap();
    world.put_all(&store, &world.frames(&world.old, &[2]));
    world.put_all(&store, &world.frames(&world.new, &[0, 1]));
    drop(store);
    let torn = root.path().join(format!("{}.frames", world.new.key()));
    let bytes = fs::read(&torn).unwrap();
    fs::write(&torn, &bytes[..bytes.len() - 3]).unwrap();
    let recover = |at: &Path| {
        let store = Store::open(at).unwrap();
        hold(world.all().into_iter().filter(|thing| show(&store, thing).0).collect::<Vec<_>>());
        world.put_all(&store, &world.frames(&world.new, &[1]));
        store.flush().unwrap();
        hold(world.frames(&world.new, &[1]));
    };
    let before = world.frames(&world.old, &[0, 1]);
    let recorded = Recorded::of(root.path(), before, || recover(root.path()));
    assert!(recorded.ops.iter().any(|op| matches!(op, recorder::Op::SetLength { .. })), "the tail was cut");
    let in_the_end = [world.frames(&world.old, &[0, 1]), world.frames(&world.new, &[1])].concat();
    recorded.prove(&world.known, recover, &in_the_end);
}

/// A killed process leaves names and bytes that the kernel has and the disk has not: what the next process shows of them, it
/// must first make durable.
#[test]
fn what_is_shown_after_a_kill_is_still_there_after_the_power_is_lost() {
    let _alone = alone();
    let world = World::new();
    let mut killed_at = 0;
    loop {
        let root = folder();
        let base = Model::load(root.path());
        recorder::start(root.path(), Some(killed_at));
        let was_killed = world.download(root.path()).is_err();
        recorder::restart();
        let store = Store::open(root.path()).unwrap();
        hold(world.all().into_iter().filter(|thing| show(&store, thing).0).collect::<Vec<_>>());
        let ops = recorder::stop();
        let held = held_after(&Default::default(), &ops);
        for loss in losses(killed_at) {
            let at = folder();
            crashed(&base, &ops, ops.len(), loss).lay_out(at.path());
            let what = format!("{loss:?}, killed after {killed_at} operations");
            world.known.examine(&Store::open(at.path()).unwrap(), &held, &what);
        }
        if !was_killed {
            break;
        }
        killed_at += 1;
    }
    assert!(killed_at > 35, "killed at {killed_at} places");
}

/// A record is made void by one byte: no crash leaves half of it, which would cut off what stands behind it.
#[test]
fn every_crash_while_a_damaged_frame_is_made_void_keeps_its_neighbours() {
    let _alone = alone();
    let world = World::new();
    let root = folder();
    world.fill(root.path());
    let file = root.path().join(format!("{}.frames", world.old.key()));
    let mut bytes = fs::read(&file).unwrap();
    let damaged: FrameRef = world.old.frames[1];
    let at = bytes.windows(2_000).position(|part| Digest::of(part) == damaged.digest).unwrap();
    bytes[at + 7] ^= 1;
    fs::write(&file, bytes).unwrap();
    let repair = |at: &Path| {
        let store = Store::open(at).unwrap();
        // Its record is there: until somebody reads it, it seems to be held.
        let _ = store.frame(world.id(), world.old.digest, damaged).unwrap();
        world.put_all(&store, &world.frames(&world.old, &[1]));
        store.flush().unwrap();
        hold(world.frames(&world.old, &[1]));
    };
    let neighbours = [world.frames(&world.old, &[0, 2]), world.frames(&world.new, &[0, 1])].concat();
    let recorded = Recorded::of(root.path(), neighbours.clone(), || repair(root.path()));
    for cut in 0..=recorded.ops.len() {
        let held = held_after(&recorded.before, &recorded.ops[..cut]);
        for loss in losses(cut) {
            let at = folder();
            crashed(&recorded.base, &recorded.ops, cut, loss).lay_out(at.path());
            let store = Store::open(at.path()).unwrap();
            for thing in &held {
                assert_eq!(
                    show(&store, thing).1.as_deref(),
                    Some(world.bytes(*thing)),
                    "{loss:?} after {cut}: {thing:?}"
                );
            }
            drop(store);
            repair(at.path());
            world.known.examine(&Store::open(at.path()).unwrap(), &world.all().into_iter().collect(), "in the end");
        }
    }
}
