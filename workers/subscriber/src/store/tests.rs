use std::fs;
use std::sync::Barrier;

use package::Frame;
use schemas::PackRef;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

/// A pack of made-up frames, one after the other.
pub(super) struct Pack {
    pub store: StoreId,
    pub digest: Digest,
    pub bytes: Vec<u8>,
    pub frames: Vec<FrameRef>,
}

impl Pack {
    pub fn of(lengths: &[usize]) -> Pack {
        let (mut bytes, mut frames) = (Vec::new(), Vec::new());
        for (n, &length) in (0u8..).zip(lengths) {
            let frame: Vec<u8> = (0..length).map(|i| (i as u8).wrapping_mul(31) ^ n).collect();
            let (offset, stored_bytes, digest) = (bytes.len() as u64, length as u32, Digest::of(&frame));
            frames.push(FrameRef { offset, stored_bytes, digest });
            bytes.extend(frame);
        }
        Pack { store: StoreId(Uuid::now_v7()), digest: Digest::of(&bytes), bytes, frames }
    }

    pub fn key(&self) -> Key {
        Key::pack(self.store, self.digest)
    }

    pub fn bytes_of(&self, position: usize) -> &[u8] {
        let range = self.frames[position].range();
        &self.bytes[range.start as usize..range.end as usize]
    }

    fn put(&self, store: &Store, position: usize) {
        store.put_frame(self.store, self.digest, self.frames[position], self.bytes_of(position)).unwrap();
    }

    fn has(&self, store: &Store, position: usize) -> bool {
        store.has_frame(self.store, self.digest, self.frames[position]).unwrap()
    }

    fn get(&self, store: &Store, position: usize) -> Option<Bytes> {
        store.frame(self.store, self.digest, self.frames[position]).unwrap()
    }

    fn file(&self, root: &TempDir) -> PathBuf {
        root.path().join(format!("{}.frames", self.key()))
    }

    fn index(&self) -> Index {
        let frame = |frame: &FrameRef| Frame {
            digest: frame.digest,
            pack: 0,
            offset: frame.offset,
            stored_bytes: frame.stored_bytes,
            raw_bytes: 1,
        };
        let packs = vec![PackRef { digest: self.digest, bytes: self.bytes.len() as u64 }];
        Index { frames: self.frames.iter().map(frame).collect(), packs, ..Index::default() }
    }
}

fn opened() -> (TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    (root, store)
}

#[test]
fn frames_are_held_in_any_order_and_survive_a_restart() {
    let (root, store) = opened();
    let pack = Pack::of(&[100, 5_000, 1, 300]);
    for position in [2, 0, 3] {
        pack.put(&store, position);
        pack.put(&store, position);
    }
    store.flush().unwrap();
    let bytes_once = store.bytes_held(pack.store).unwrap();
    for store in [store, Store::open(root.path()).unwrap()] {
        assert_eq!(store.missing(pack.store, &pack.index()).unwrap(), [1]);
        for position in [0, 2, 3] {
            assert_eq!(pack.get(&store, position).unwrap(), pack.bytes_of(position));
        }
        assert_eq!(pack.get(&store, 1), None);
        pack.put(&store, 3);
        assert_eq!(store.bytes_held(pack.store).unwrap(), bytes_once, "a held frame was written again");
    }
}

#[test]
fn a_frame_that_is_not_what_the_index_says_is_refused_and_nothing_is_written() {
    let (root, store) = opened();
    let pack = Pack::of(&[100, 200]);
    let mut flipped = pack.bytes_of(0).to_vec();
    flipped[50] ^= 1;
    for wrong in [&flipped[..], &pack.bytes_of(0)[..99], pack.bytes_of(1), b""] {
        let fault = store.put_frame(pack.store, pack.digest, pack.frames[0], wrong).unwrap_err();
        assert_eq!(fault.code(), "chunk-corrupt");
    }
    assert!(!pack.file(&root).exists());
    assert!(!pack.has(&store, 0));
}

#[test]
fn a_torn_tail_is_cut_at_every_length_and_the_store_goes_on() {
    let (root, store) = opened();
    let pack = Pack::of(&[64, 90, 70]);
    pack.put(&store, 0);
    pack.put(&store, 1);
    let whole_before = fs::metadata(pack.file(&root)).unwrap().len();
    pack.put(&store, 2);
    let written = fs::read(pack.file(&root)).unwrap();
    drop(store);
    for length in whole_before as usize..written.len() {
        fs::write(pack.file(&root), &written[..length]).unwrap();
        let store = Store::open(root.path()).unwrap();
        assert!(pack.has(&store, 0) && pack.has(&store, 1), "cut at {length}");
        assert!(!pack.has(&store, 2), "cut at {length}");
        pack.put(&store, 2);
        store.flush().unwrap();
        let again = Store::open(root.path()).unwrap();
        assert_eq!(pack.get(&again, 2).unwrap(), pack.bytes_of(2), "cut at {length}");
    }
}

#[test]
fn a_file_cut_at_any_length_holds_only_whole_frames() {
    let (root, store) = opened();
    let pack = Pack::of(&[30, 40]);
    pack.put(&store, 0);
    store.flush().unwrap();
    pack.put(&store, 1);
    let written = fs::read(pack.file(&root)).unwrap();
    drop(store);
    for length in 0..=written.len() {
        fs::write(pack.file(&root), &written[..length]).unwrap();
        let store = Store::open(root.path()).unwrap();
        for position in [0, 1] {
            assert_eq!(pack.has(&store, position), pack.get(&store, position).is_some(), "cut at {length}");
        }
        pack.put(&store, 0);
        pack.put(&store, 1);
        assert_eq!(store.read_range(&pack.key(), 0..70).unwrap().unwrap(), pack.bytes[..], "cut at {length}");
    }
}

#[test]
fn a_tail_that_never_reached_the_disk_is_noticed_though_its_head_did() {
    let (root, store) = opened();
    let pack = Pack::of(&[64, 90]);
    pack.put(&store, 0);
    store.flush().unwrap();
    pack.put(&store, 1);
    drop(store);
    let mut written = fs::read(pack.file(&root)).unwrap();
    let length = written.len();
    written[length - 90..].fill(0);
    fs::write(pack.file(&root), &written).unwrap();
    let store = Store::open(root.path()).unwrap();
    assert!(pack.has(&store, 0));
    assert!(!pack.has(&store, 1));
}

#[test]
fn a_flipped_byte_anywhere_is_noticed_and_the_frame_can_be_put_again() {
    let (root, store) = opened();
    let pack = Pack::of(&[40, 50]);
    pack.put(&store, 0);
    pack.put(&store, 1);
    store.flush().unwrap();
    drop(store);
    let written = fs::read(pack.file(&root)).unwrap();
    for position in 0..written.len() {
        let mut flipped = written.clone();
        flipped[position] ^= 0x10;
        fs::write(pack.file(&root), &flipped).unwrap();
        let store = Store::open(root.path()).unwrap();
        for frame in [0, 1] {
            let read = pack.get(&store, frame);
            assert!(
                read.is_none_or(|read| read == pack.bytes_of(frame)),
                "byte {position} of a damaged file was given out"
            );
            pack.put(&store, frame);
        }
        store.flush().unwrap();
        for store in [store, Store::open(root.path()).unwrap()] {
            assert_eq!(store.read_range(&pack.key(), 0..90).unwrap().unwrap(), pack.bytes[..], "byte {position}");
        }
    }
}

#[test]
fn a_range_is_served_when_held_frames_cover_it() {
    let (_root, store) = opened();
    let pack = Pack::of(&[100, 100, 100, 100]);
    for position in [0, 1, 3] {
        pack.put(&store, position);
    }
    for (range, held) in
        [(0..200, true), (50..150, true), (99..101, true), (150..201, false), (300..400, true), (199..301, false)]
    {
        let read = store.read_range(&pack.key(), range.clone()).unwrap();
        let want = held.then(|| pack.bytes[range.start as usize..range.end as usize].to_vec());
        assert_eq!(read.map(|bytes| bytes.to_vec()), want, "{range:?}");
    }
    for beyond in [300..401, 400..401, 1_000..1_001, 5..5] {
        assert_eq!(store.read_range(&pack.key(), beyond).unwrap(), None);
    }
}

#[test]
fn headers_and_indexes_are_what_their_names_say_or_absent() {
    let (root, store) = opened();
    let id = StoreId(Uuid::now_v7());
    let digest = Digest::of(b"header");
    assert_eq!(store.put_header(id, digest, b"other").unwrap_err().code(), "object-corrupt");
    assert_eq!(store.header(id, digest).unwrap(), None);
    store.put_header(id, digest, b"header").unwrap();
    store.put_index(id, digest, b"header").unwrap();
    assert_eq!(store.header(id, digest).unwrap().unwrap(), "header");
    assert_eq!(store.read_range(&Key::index(id, digest), 1..3).unwrap().unwrap(), "ea");
    assert_eq!(store.read_range(&Key::index(id, digest), 1..7).unwrap(), None);
    assert_eq!(store.indexes(id).unwrap(), [digest]);
    fs::write(root.path().join(Key::header(id, digest).to_string()), b"headex").unwrap();
    assert_eq!(store.header(id, digest).unwrap(), None);
    assert!(!store.holds(&Key::header(id, digest)) && store.holds(&Key::index(id, digest)));
    store.put_header(id, digest, b"header").unwrap();
    assert_eq!(store.header(id, digest).unwrap().unwrap(), "header");
}

#[test]
fn retaining_removes_the_rest_and_says_what_it_freed() {
    let (root, store) = opened();
    let (old, new) = (Pack::of(&[10, 20]), Pack::of(&[30]));
    let new = Pack { store: old.store, ..new };
    old.put(&store, 0);
    new.put(&store, 0);
    store.put_header(old.store, Digest::of(b"h"), b"h").unwrap();
    let held = store.bytes_held(old.store).unwrap();
    let freed = store.retain(old.store, |key| *key == new.key()).unwrap();
    assert!(freed > 0 && held - freed == store.bytes_held(old.store).unwrap());
    assert!(!old.has(&store, 0) && new.has(&store, 0));
    old.put(&store, 1);
    store.flush().unwrap();
    for store in [&store, &Store::open(root.path()).unwrap()] {
        assert!(!old.has(store, 0) && old.has(store, 1));
        assert_eq!(store.stores().unwrap(), [old.store]);
    }
    store.forget(old.store).unwrap();
    assert_eq!(store.stores().unwrap(), []);
    assert!(!new.has(&store, 0));
}

#[test]
fn threads_that_put_and_flush_the_same_packs_lose_nothing() {
    let (root, store) = opened();
    let pack = Pack::of(&[700; 40]);
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, pack, start) = (&store, &pack, &start);
            scope.spawn(move || {
                start.wait();
                for step in 0..40 {
                    pack.put(store, (step * 7 + thread * 3) % 40);
                    if step % 10 == 0 {
                        store.flush().unwrap();
                    }
                }
                store.flush().unwrap();
            });
        }
    });
    assert!(lock(&store.unsynced).is_empty());
    let bytes = fs::metadata(pack.file(&root)).unwrap().len();
    assert!(bytes < 40 * 800 + 20 * 52 + 16, "frames were written twice: {bytes} bytes");
    for store in [&store, &Store::open(root.path()).unwrap()] {
        assert_eq!(store.read_range(&pack.key(), 0..28_000).unwrap().unwrap(), pack.bytes[..]);
    }
}

#[test]
fn asking_for_packs_that_are_not_there_costs_no_memory() {
    let (_root, store) = opened();
    let pack = Pack::of(&[5]);
    assert!(!pack.has(&store, 0));
    assert_eq!(pack.get(&store, 0), None);
    assert!(lock(&store.packs).is_empty());
}

#[test]
fn more_packs_than_may_wait_for_a_flush_are_synced_on_the_way() {
    let (_root, store) = opened();
    let packs: Vec<Pack> = (1..=UNSYNCED_PACKS_MAX + 2).map(|length| Pack::of(&[length])).collect();
    for pack in &packs {
        pack.put(&store, 0);
        assert!(lock(&store.unsynced).len() <= UNSYNCED_PACKS_MAX);
    }
    assert!(packs.iter().all(|pack| pack.has(&store, 0)));
}

#[test]
fn a_full_disk_is_named_and_leaves_the_file_as_it_was() {
    let (root, store) = opened();
    let pack = Pack::of(&[100]);
    fs::create_dir_all(pack.file(&root).parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", pack.file(&root)).unwrap();
    let fault = store.put_frame(pack.store, pack.digest, pack.frames[0], pack.bytes_of(0)).unwrap_err();
    assert_eq!(fault.code(), "store-full", "{fault}");
    assert!(!pack.has(&store, 0));
}

/// A revision over some of a pack's frames, with header and index in the store.
pub(super) fn revision(store: &Store, number: u64, parts: &[(&Pack, &[usize])]) -> Digest {
    let mut index = Index { entries: vec![root()], ..Index::default() };
    for (pack, positions) in parts {
        let at = index.packs.len() as u32;
        index.packs.push(PackRef { digest: pack.digest, bytes: pack.bytes.len() as u64 });
        for &position in *positions {
            let frame = pack.frames[position];
            let place = index.frames.len() as u32;
            index.frames.push(Frame {
                digest: frame.digest,
                pack: at,
                offset: frame.offset,
                stored_bytes: frame.stored_bytes,
                raw_bytes: frame.stored_bytes,
            });
            let digest = Digest::of(&[number as u8, at as u8, position as u8]);
            index.chunks.push(package::Chunk { digest, bytes: frame.stored_bytes, frame: place, offset: 0 });
        }
    }
    let chunks = index.chunks.len() as u32;
    index.chunk_refs = (0..chunks).collect();
    let bytes = index.chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum();
    let kind = package::EntryKind::File { bytes, refs: 0..chunks };
    index.entries.push(package::Entry { path: "file".into(), kind, mode: 0o644, mtime_ns: 0 });
    let id = parts[0].0.store;
    let sealed = index.seal();
    let header =
        package::header::header_of(id, number, schemas::definitions::DistributionType::File, &index, sealed.at);
    let bytes = package::header::encode(&header);
    store.put_index(id, sealed.at.digest, &sealed.bytes).unwrap();
    store.put_header(id, Digest::of(&bytes), &bytes).unwrap();
    Digest::of(&bytes)
}

fn root() -> package::Entry {
    package::Entry { path: String::new(), kind: package::EntryKind::Directory, mode: 0o755, mtime_ns: 0 }
}

fn swept(store: &Store, id: StoreId) -> Swept {
    store.sweep(id, false, &std::sync::atomic::AtomicBool::new(false)).unwrap()
}

fn drop_revision(store: &Store, id: StoreId, digest: Digest) {
    let (_, header) = store.headers(id).unwrap().into_iter().find(|(held, _)| *held == digest).unwrap();
    store.drop_header(id, digest).unwrap();
    store.drop_index(id, header.index.digest).unwrap();
}

/// Two packs of one store: the old revision names all of the first, the new one a part of it and the second.
fn two_revisions(store: &Store) -> (Pack, Pack, Digest, Digest) {
    let old = Pack::of(&[4_000, 5_000, 6_000]);
    let new = Pack { store: old.store, ..Pack::of(&[700]) };
    for position in 0..3 {
        old.put(store, position);
    }
    new.put(store, 0);
    store.flush().unwrap();
    let first = revision(store, 1, &[(&old, &[0, 1, 2])]);
    let second = revision(store, 2, &[(&old, &[1]), (&new, &[0])]);
    (old, new, first, second)
}

#[test]
fn what_a_held_revision_names_stays_and_the_rest_goes_frame_by_frame() {
    let (root, store) = opened();
    let (old, new, first, second) = two_revisions(&store);
    assert_eq!(swept(&store, old.store), Swept::default());
    drop_revision(&store, old.store, first);
    let freed = swept(&store, old.store).bytes_freed;
    assert!(freed > 10_000, "{freed}");
    for store in [&store, &Store::open(root.path()).unwrap()] {
        assert!(!old.has(store, 0) && old.has(store, 1) && !old.has(store, 2) && new.has(store, 0));
        assert_eq!(old.get(store, 1).unwrap(), old.bytes_of(1));
    }
    old.put(&store, 2);
    store.flush().unwrap();
    let again = Store::open(root.path()).unwrap();
    assert!(old.has(&again, 1) && old.has(&again, 2), "a pack that was written anew takes frames as ever");
    drop_revision(&store, old.store, second);
    swept(&store, old.store);
    assert_eq!(store.bytes_held(old.store).unwrap(), 0);
}

#[test]
fn a_little_waste_is_left_where_it_is() {
    let (root, store) = opened();
    let pack = Pack::of(&[9_000, 500]);
    pack.put(&store, 0);
    pack.put(&store, 1);
    store.flush().unwrap();
    revision(&store, 1, &[(&pack, &[0])]);
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(pack.file(&root)).unwrap());
    let before = inode();
    assert_eq!(swept(&store, pack.store), Swept::default());
    assert_eq!(inode(), before);
}

#[test]
fn a_download_that_did_not_end_is_kept_and_one_that_is_too_old_is_not() {
    let (root, store) = opened();
    let (old, _new, first, second) = two_revisions(&store);
    // Of the second revision only the index came, and no header yet.
    let (_, header) = store.headers(old.store).unwrap().into_iter().find(|(digest, _)| *digest == second).unwrap();
    store.drop_header(old.store, second).unwrap();
    drop_revision(&store, old.store, first);
    swept(&store, old.store);
    assert!(old.has(&store, 1), "the download can go on where it was");
    let index = root.path().join(Key::index(old.store, header.index.digest).to_string());
    let days = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 86_400);
    fs::File::options().write(true).open(&index).unwrap().set_modified(days).unwrap();
    store.sweep(old.store, true, &std::sync::atomic::AtomicBool::new(false)).unwrap();
    assert!(old.has(&store, 1), "it is going on");
    swept(&store, old.store);
    assert_eq!(store.bytes_held(old.store).unwrap(), 0);
}

#[test]
fn a_patch_between_held_revisions_stays_and_an_old_one_of_a_dropped_revision_goes() {
    let (root, store) = opened();
    let (old, _new, first, second) = two_revisions(&store);
    let index_of =
        |digest| store.headers(old.store).unwrap().into_iter().find(|(held, _)| *held == digest).unwrap().1.index;
    let name = package::patch::PatchName::index(index_of(first).digest, index_of(second).digest);
    let key = Key::patch(old.store, name.digest());
    store.put_object(&key, &package::patch::seal(&name, b"delta")).unwrap();
    let path = root.path().join(key.to_string());
    let days = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 86_400);
    fs::File::options().write(true).open(&path).unwrap().set_modified(days).unwrap();
    swept(&store, old.store);
    assert!(path.exists(), "it leads from one held revision to another");
    drop_revision(&store, old.store, first);
    store.sweep(old.store, true, &std::sync::atomic::AtomicBool::new(false)).unwrap();
    assert!(path.exists(), "a download is under way");
    swept(&store, old.store);
    assert!(!path.exists());
}

#[test]
fn what_a_child_asked_for_lately_stays() {
    let (_root, store) = opened();
    let (old, _new, first, second) = two_revisions(&store);
    drop_revision(&store, old.store, first);
    drop_revision(&store, old.store, second);
    store.touch(&old.key());
    swept(&store, old.store);
    assert!(old.has(&store, 0) && old.has(&store, 2));
}

#[test]
fn readers_and_writers_beside_a_sweep_lose_nothing_that_is_named() {
    let (root, store) = opened();
    let (old, new, first, _second) = two_revisions(&store);
    drop_revision(&store, old.store, first);
    let start = Barrier::new(3);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            start.wait();
            for _ in 0..200 {
                assert_eq!(old.get(&store, 1).unwrap(), old.bytes_of(1));
                assert_eq!(new.get(&store, 0).unwrap(), new.bytes_of(0));
            }
        });
        scope.spawn(|| {
            start.wait();
            for round in 0..60 {
                // Another revision names what was named by nobody: it is there whole once its frames are put.
                let third = revision(&store, 3 + round, &[(&old, &[0, 2])]);
                old.put(&store, 0);
                old.put(&store, 2);
                store.flush().unwrap();
                assert!(old.has(&store, 0) && old.has(&store, 2), "round {round}");
                drop_revision(&store, old.store, third);
            }
        });
        scope.spawn(|| {
            start.wait();
            for _ in 0..120 {
                swept(&store, old.store);
            }
        });
    });
    store.flush().unwrap();
    swept(&store, old.store);
    for store in [&store, &Store::open(root.path()).unwrap()] {
        assert!(!old.has(store, 0) && old.has(store, 1) && !old.has(store, 2) && new.has(store, 0));
    }
}

#[test]
fn a_file_that_was_cut_exchanged_or_removed_under_the_store_takes_frames_again() {
    type Harm = fn(&Path, &Path);
    let harms: [(&str, Harm); 4] = [
        ("cut", |path, _| fs::write(path, &fs::read(path).unwrap()[..200]).unwrap()),
        ("emptied", |path, _| fs::write(path, b"").unwrap()),
        ("removed", |path, _| fs::remove_file(path).unwrap()),
        ("another's", |path, other| fs::write(path, fs::read(other).unwrap()).unwrap()),
    ];
    for (what, harm) in harms {
        for is_read_first in [true, false] {
            let (root, store) = opened();
            let pack = Pack::of(&[100, 300, 500]);
            let other = Pack { store: pack.store, ..Pack::of(&[70]) };
            (0..3).for_each(|position| pack.put(&store, position));
            other.put(&store, 0);
            store.flush().unwrap();
            harm(&pack.file(&root), &other.file(&root));
            if is_read_first {
                for position in 0..3 {
                    assert!(pack.get(&store, position).is_none_or(|bytes| bytes == pack.bytes_of(position)), "{what}");
                    assert_eq!(pack.has(&store, position), pack.get(&store, position).is_some(), "{what}");
                }
            } else {
                // A frame that comes is what makes the store look.
                let more = FrameRef { offset: 900, stored_bytes: 1, digest: Digest::of(b"x") };
                store.put_frame(pack.store, pack.digest, more, b"x").unwrap();
            }
            (0..3).for_each(|position| pack.put(&store, position));
            store.flush().unwrap();
            for store in [store, Store::open(root.path()).unwrap()] {
                let all = store.read_range(&pack.key(), 0..900).unwrap();
                assert!(all.is_some_and(|all| all == pack.bytes), "{what}, read first: {is_read_first}");
            }
        }
    }
}

#[test]
fn a_check_names_what_is_damaged_and_drops_it_only_when_told() {
    let (root, store) = opened();
    let (old, new, first, second) = two_revisions(&store);
    let quiet = |drop_damaged| check::check(root.path(), drop_damaged, &|_| {}).unwrap().remove(0);
    let whole = quiet(false);
    assert_eq!((&whole.damaged[..], &whole.revisions[..], whole.frames), (&[][..], &[1, 2][..], 4));
    assert_eq!((whole.frames_absent, whole.orphans), (0, check::Orphans::default()));

    let (_, header) = store.headers(old.store).unwrap().into_iter().find(|(digest, _)| *digest == second).unwrap();
    let path = |key: Key| root.path().join(key.to_string());
    fs::write(path(Key::header(old.store, first)), b"{}").unwrap();
    fs::write(path(Key::index(old.store, header.index.digest)), b"").unwrap();
    let mut frames = fs::read(old.file(&root)).unwrap();
    let middle = frames.len() / 2;
    frames[middle] ^= 1;
    fs::write(old.file(&root), frames).unwrap();
    let mut torn = fs::read(new.file(&root)).unwrap();
    torn.extend_from_slice(b"half a head");
    fs::write(new.file(&root), torn).unwrap();
    let before = content(root.path());
    let found = quiet(false);
    let codes: Vec<_> = found.damaged.iter().map(|one| (one.code, one.dropped)).collect();
    let mut want = vec![("object-corrupt", false); 2];
    // By object: headers, indexes, packs; the packs by their digests.
    let packs = [(old.digest, "chunk-corrupt"), (new.digest, "tail-unreadable")];
    let mut packs: Vec<_> = packs.map(|(digest, code)| (digest.hex(), (code, false))).to_vec();
    packs.sort();
    want.extend(packs.into_iter().map(|(_, code)| code));
    assert_eq!(codes, want);
    assert_eq!(content(root.path()), before, "it changed something");

    assert!(quiet(true).damaged.iter().all(|one| one.dropped));
    let after = quiet(false);
    assert_eq!((&after.damaged[..], &after.revisions[..], after.frames), (&[][..], &[2][..], 3));
    assert_eq!(old.get(&store, 1), None, "the store at work notices");
    (0..3).for_each(|position| old.put(&store, position));
    store.flush().unwrap();
    assert_eq!(quiet(false).frames, 4);
}

fn content(folder: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}
