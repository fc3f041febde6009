//! What a transfer makes of patches: good ones, damaged ones, and none.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use blobs::{DiskBlobs, Key, ReadBlobs};
use package::patch::{self, PatchName};
use schemas::{Digest, Fault, SourceBytes};
use tempfile::TempDir;
use worker::Context;

use super::origin::{Origin, Published, noise};
use super::{Depot, Fetch, Order, corrupt, fault};
use crate::config::Retries;
use crate::space::Floor;
use crate::store::Store;

/// A site that holds revision 1, and revision 2 at the origin.
struct Bench {
    dir: TempDir,
    depot: Depot,
    v1: Published,
    v2: Published,
    for_children: bool,
}

/// What it took to bring a revision.
struct Brought {
    given: Vec<SourceBytes>,
    lacked: u64,
    /// Of patches that gave frames, and of frames.
    patches: u64,
    frames: u64,
}

impl Brought {
    fn bytes(&self) -> u64 {
        self.given.iter().map(|given| given.bytes).sum()
    }

    fn corrupt(&self) -> u64 {
        self.given.iter().map(|given| given.corrupt).sum()
    }
}

impl Bench {
    async fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tree");
        fs::create_dir(&folder).unwrap();
        (0..600).for_each(|n| fs::write(folder.join(format!("{n}.txt")), format!("{n}").repeat(200)).unwrap());
        (0..12).for_each(|n| fs::write(folder.join(format!("{n}.bin")), noise(50_000, n)).unwrap());
        let origin = Origin::open(&dir.path().join("origin"));
        let v1 = origin.publish(1, &folder, None).await;
        for n in [3, 4, 9] {
            let mut content = noise(50_000, n);
            content.splice(20_000..20_000, *b"an insertion");
            fs::write(folder.join(format!("{n}.bin")), content).unwrap();
        }
        let v2 = origin.publish(2, &folder, Some(&v1)).await;
        let depot = Depot {
            store: Arc::new(Store::open(dir.path().join("store")).unwrap()),
            folder: dir.path().to_owned(),
            floor: Floor::default(),
            retries: Retries { tries_per_source: 1, rounds: 1 },
            observe: None,
        };
        let bench = Bench { dir, depot, v1, v2, for_children: false };
        bench.bring(&bench.v1).await;
        bench
    }

    fn origin(&self) -> Arc<dyn ReadBlobs> {
        Arc::new(DiskBlobs::open(self.dir.path().join("origin")).unwrap())
    }

    fn object(&self, key: Key) -> PathBuf {
        Origin::open(&self.dir.path().join("origin")).object(key)
    }

    fn index_patch(&self) -> PatchName {
        PatchName::index(self.v1.sealed.at.digest, self.v2.sealed.at.digest)
    }

    fn key(&self, name: &PatchName) -> Key {
        Key::patch(self.v2.store, name.digest())
    }

    async fn bring(&self, published: &Published) -> Brought {
        let brought = self.try_to_bring(published).await.unwrap();
        self.assert_held(published);
        brought
    }

    async fn try_to_bring(&self, published: &Published) -> Result<Brought, Fault> {
        let order = Order {
            id: published.store,
            revision: published.revision,
            sources: vec![self.origin()],
            before: Vec::new(),
            for_children: self.for_children,
        };
        let context = Context::detached();
        let fetch = Fetch::new(&self.depot, order, &context).map_err(fault)?;
        let manifest = fetch.manifest().await.map_err(fault)?;
        let plan = fetch.plan(&manifest, None).await.map_err(fault)?;
        let patched = fetch.patch(&manifest, plan, None).await.map_err(fault)?;
        let (patches, frames) = (patched.bytes, patched.plan.bytes);
        fetch.bring(&manifest, patched.plan).await.map_err(fault)?;
        Ok(Brought { given: fetch.given(), lacked: manifest.lacked, patches, frames })
    }

    fn assert_held(&self, published: &Published) {
        let index = self.depot.store.index(published.store, published.sealed.at.digest).unwrap().unwrap();
        assert_eq!(index, published.sealed.bytes);
        assert_eq!(self.depot.store.missing(published.store, &published.index).unwrap(), [0u32; 0]);
    }

    async fn with_frames_patched() -> (Bench, Key) {
        let bench = Bench::new().await;
        let name = Origin::open(&bench.dir.path().join("origin")).patch_frames(&bench.v1, &bench.v2).await;
        let key = bench.key(&name);
        (bench, key)
    }

    /// Stored bytes of the frames that only revision 2 has.
    fn new_frames(&self) -> u64 {
        let is_new = |frame: &&package::Frame| self.v1.index.frames.iter().all(|old| old.digest != frame.digest);
        self.v2.index.frames.iter().filter(is_new).map(|frame| u64::from(frame.stored_bytes)).sum()
    }

    /// The whole index and the header.
    fn manifest_bytes(&self) -> u64 {
        let header = fs::metadata(self.object(Key::header(self.v2.store, self.v2.revision.header))).unwrap().len();
        self.v2.sealed.at.bytes + header
    }
}

type Damage = fn(&std::path::Path);

const DAMAGES: [(&str, Damage); 4] = [
    ("flipped", corrupt),
    ("truncated", |path| fs::write(path, &fs::read(path).unwrap()[..150]).unwrap()),
    ("emptied", |path| fs::write(path, b"").unwrap()),
    ("another's", |path| {
        let other = PatchName::index(Digest::of(b"one"), Digest::of(b"two"));
        fs::write(path, patch::seal(&other, b"whole, but of another name")).unwrap();
    }),
];

#[tokio::test]
async fn an_index_comes_as_a_patch_where_the_one_before_is_held() {
    let bench = Bench::new().await;
    let patch = fs::metadata(bench.object(bench.key(&bench.index_patch()))).unwrap().len();
    assert!(patch < bench.v2.sealed.at.bytes / 10, "{patch} of {}", bench.v2.sealed.at.bytes);
    let brought = bench.bring(&bench.v2).await;
    assert_eq!(brought.lacked, bench.manifest_bytes() - bench.v2.sealed.at.bytes + patch);
    assert_eq!(brought.corrupt(), 0);
}

#[tokio::test]
async fn a_site_without_the_revision_before_asks_for_no_patch() {
    let bench = Bench::new().await;
    bench.depot.store.forget(bench.v1.store).unwrap();
    let brought = bench.bring(&bench.v2).await;
    assert_eq!(brought.lacked, bench.manifest_bytes());
}

#[tokio::test]
async fn a_damaged_patch_costs_its_bytes_and_the_whole_index_comes() {
    for (how, damage) in DAMAGES {
        let bench = Bench::new().await;
        damage(&bench.object(bench.key(&bench.index_patch())));
        let brought = bench.bring(&bench.v2).await;
        assert_eq!((brought.lacked, brought.corrupt()), (bench.manifest_bytes(), 1), "{how}");
    }
}

#[tokio::test]
async fn a_sound_patch_that_gives_something_else_is_not_used() {
    let bench = Bench::new().await;
    let (name, store) = (bench.index_patch(), bench.v2.store);
    let base = patch::IndexContent::of(&bench.v1.sealed.bytes).unwrap();
    let wrong = patch::make_index(&name, &base, &base, u64::MAX).unwrap();
    fs::write(bench.object(Key::patch(store, name.digest())), wrong).unwrap();
    let brought = bench.bring(&bench.v2).await;
    assert_eq!(brought.lacked, bench.manifest_bytes());
}

#[tokio::test]
async fn patches_are_kept_for_children_only_and_a_kept_one_is_not_fetched_again() {
    let bench = Bench::new().await;
    bench.bring(&bench.v2).await;
    assert!(!bench.depot.store.holds(&bench.key(&bench.index_patch())), "nobody will ask for it");

    let bench = Bench { for_children: true, ..Bench::new().await };
    bench.bring(&bench.v2).await;
    assert!(bench.depot.store.holds(&bench.key(&bench.index_patch())));
    let keep = |key: &Key| key.digest != bench.v2.sealed.at.digest && key.digest != bench.v2.revision.header;
    bench.depot.store.retain(bench.v2.store, keep).unwrap();
    fs::remove_file(bench.object(bench.key(&bench.index_patch()))).unwrap();
    let again = bench.bring(&bench.v2).await;
    assert!(again.bytes() < bench.v2.sealed.at.bytes / 10, "the index came from the patch held here");
}

#[tokio::test]
async fn frames_come_as_a_patch_and_are_what_the_builder_stored() {
    let (bench, key) = Bench::with_frames_patched().await;
    let patch = fs::metadata(bench.object(key)).unwrap().len();
    assert!(patch * 50 < bench.new_frames(), "{patch} of {}", bench.new_frames());
    let brought = bench.bring(&bench.v2).await;
    assert_eq!((brought.patches, brought.frames, brought.corrupt()), (patch, 0, 0));
    assert_eq!(brought.bytes(), brought.lacked + patch, "and nothing else crossed the link");
}

#[tokio::test]
async fn patches_make_no_frames_once_the_room_is_below_the_floor() {
    let (mut bench, _) = Bench::with_frames_patched().await;
    let floor = bench.depot.floor.clone();
    bench.depot.observe = Some(Arc::new(move |step| {
        floor.set(if step == "patched" { u64::MAX } else { 0 });
        Ok(())
    }));
    let fault = bench.try_to_bring(&bench.v2).await.err().expect("no room");
    assert_eq!((fault.code.as_str(), fault.permanent), ("free-space-floor", false));
    let missing = bench.depot.store.missing(bench.v2.store, &bench.v2.index).unwrap();
    let stored = |&at: &u32| u64::from(bench.v2.index.frames[at as usize].stored_bytes);
    assert_eq!(missing.iter().map(stored).sum::<u64>(), bench.new_frames());
}

#[tokio::test]
async fn without_a_patch_the_frames_come() {
    let bench = Bench::new().await;
    let brought = bench.bring(&bench.v2).await;
    assert_eq!((brought.patches, brought.frames), (0, bench.new_frames()));
}

#[tokio::test]
async fn a_damaged_patch_of_frames_costs_its_bytes_and_the_frames_come() {
    for (how, damage) in DAMAGES {
        let (bench, key) = Bench::with_frames_patched().await;
        damage(&bench.object(key));
        let brought = bench.bring(&bench.v2).await;
        assert_eq!((brought.patches, brought.frames, brought.corrupt()), (0, bench.new_frames(), 1), "{how}");
    }
}

#[tokio::test]
async fn a_sound_patch_of_frames_that_gives_something_else_is_not_used() {
    let (bench, key) = Bench::with_frames_patched().await;
    let name = PatchName::frames(bench.v1.sealed.at.digest, bench.v2.sealed.at.digest, 0);
    let mut body = patch::open(&name, &fs::read(bench.object(key)).unwrap()).unwrap().to_vec();
    let last = body.len() - 4;
    body[last] ^= 1;
    fs::write(bench.object(key), patch::seal(&name, &body)).unwrap();
    let brought = bench.bring(&bench.v2).await;
    assert_eq!((brought.patches, brought.frames), (0, bench.new_frames()));
}

#[tokio::test]
async fn a_patch_whose_base_has_left_the_store_is_not_used() {
    let (bench, _) = Bench::with_frames_patched().await;
    let old: Vec<Key> = bench.v1.index.packs.iter().map(|pack| Key::pack(bench.v1.store, pack.digest)).collect();
    bench.depot.store.retain(bench.v1.store, |key| !old.contains(key)).unwrap();
    let brought = bench.bring(&bench.v2).await;
    assert_eq!(brought.patches, 0);
    assert!(brought.frames > bench.new_frames(), "the old ones are lacking too");
}

#[tokio::test]
async fn a_site_that_missed_a_revision_takes_the_patch_from_what_it_holds() {
    let bench = Bench::new().await;
    let origin = Origin::open(&bench.dir.path().join("origin"));
    fs::write(bench.dir.path().join("tree/one-more"), "").unwrap();
    let v3 = origin.publish(3, &bench.dir.path().join("tree"), Some(&bench.v2)).await;
    origin.patch_index(&bench.v1, &v3).await;
    origin.patch_frames(&bench.v1, &v3).await;
    let brought = bench.bring(&v3).await;
    assert!(brought.lacked < v3.sealed.at.bytes / 10 && brought.frames == 0, "{} bytes", brought.bytes());
}

#[tokio::test]
async fn a_site_too_far_behind_asks_for_no_patch() {
    let bench = Bench::new().await;
    let base = |number| bench.depot.store.base(bench.v1.store, number, 3).unwrap();
    assert_eq!([2, 4].map(base), [Some(bench.v1.sealed.at); 2]);
    assert_eq!([1, 5].map(base), [None; 2]);
    bench.bring(&bench.v2).await;
    assert_eq!(base(4), Some(bench.v2.sealed.at), "the newest that is held");
}
