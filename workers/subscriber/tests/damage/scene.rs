//! A site that runs, and for each case a distribution of its own with two revisions, at an origin that is whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blobs::{Blobs, DiskBlobs, Key};
use package::patch::PatchName;
use schemas::{ContentSource, Event, JobMessage, Report, SendResult, StoreId, SubscriberName, Task};
use subscriber::Retries;
use subscriber::store::check::check;
use subscriber::store::{FrameRef, Store};

use crate::fixture::origin::{Origin, Published, noise};
use crate::fixture::*;
use crate::kinds::{Damage, Object, Swaps};

/// Enough for an index that is worth a patch.
const SMALL_FILES: usize = 600;
const LARGE_FILES: u64 = 8;
const LARGE_BYTES: usize = 50_000;

pub struct Scene {
    pub world: World,
    running: Option<Running>,
    pub public_key: String,
    /// What the site reads as its origin.
    pub origin: Arc<dyn Blobs>,
    messages: u64,
}

pub struct Case {
    pub name: String,
    pub v1: Published,
    pub v2: Published,
    frames_patch: PatchName,
    good: PathBuf,
    target: PathBuf,
}

impl Scene {
    /// `origin`: instead of a folder.
    pub async fn new(origin: Option<Arc<dyn Blobs>>, rounds: u32) -> Scene {
        // In memory: what reaches the disk is another test's business.
        let world = World::at(in_memory()).await;
        write_tree(&world.path("v1"), false);
        write_tree(&world.path("v2"), true);
        let origin = origin.unwrap_or_else(|| Arc::new(DiskBlobs::open(world.path("origin")).unwrap()));
        let mut config = world.config();
        config.retries = Retries { tries_per_source: 1, rounds };
        let running = Some(world.start_on(config, Arc::new(origin.clone())));
        let public_key = world.presence().await.public_key;
        world.subscribe().await;
        Scene { world, running, public_key, origin, messages: 0 }
    }

    /// Two revisions with patches between them, in a folder that stays whole, and the same at the origin.
    pub async fn case(&self, number: usize) -> Case {
        let good = self.world.path("good");
        let store = StoreId(uuid_of(number));
        let whole = Origin::open(&good);
        let v1 = whole.publish_as(store, 1, &self.world.path("v1"), None).await;
        let v2 = whole.publish_as(store, 2, &self.world.path("v2"), Some(&v1)).await;
        let frames_patch = whole.patch_frames(&v1, &v2).await;
        let name = format!("case-{number}");
        let target = self.world.path("target").join(&name);
        let case = Case { name, v1, v2, frames_patch, good, target };
        for (key, _) in case.disk().list(store).await.unwrap() {
            self.origin.put(&key, case.bytes(key).into()).await.unwrap();
        }
        assert!(case.index_bytes() > 16 << 10, "the index is worth a patch");
        assert!(case.frames_in(case.key(Object::Pack)).len() > 2, "the damaged pack has some frames");
        case
    }

    pub async fn damage(&self, case: &Case, object: Object, damage: Damage) {
        let key = case.key(object);
        match damage.done_to(&case.bytes(key), &case.swaps(object)) {
            Some(bytes) => self.origin.put(&key, bytes.into()).await.unwrap(),
            None => self.origin.delete(&key).await.unwrap(),
        }
    }

    pub async fn mend(&self, case: &Case, object: Object) {
        let key = case.key(object);
        self.origin.put(&key, case.bytes(key).into()).await.unwrap();
    }

    /// Sends a revision and extracts it; the end of the send.
    pub async fn deliver(&mut self, case: &Case, published: &Published, sources: &[ContentSource]) -> Report {
        let mut message = self.message(case, published, sources);
        let mut follow = extract_task(case.store(), published.revision);
        follow.target = format!("%ROOT%/{}", case.name);
        follow.distribution = case.name.as_str().try_into().unwrap();
        let extract = job(&format!("{}-extract", self.messages));
        message.then = Some(schemas::Follow { job: extract, attempt: 1, task: follow });
        self.world.publish(&message).await;
        let report = self.world.end_of(message.job).await;
        if matches!(report.event, Event::Succeeded { .. }) {
            extracted(&self.world.end_of(extract).await);
        }
        report
    }

    /// The same without the extract.
    pub async fn send(&mut self, case: &Case, published: &Published, sources: &[ContentSource]) -> SendResult {
        let message = self.message(case, published, sources);
        self.world.publish(&message).await;
        sent(&self.world.end_of(message.job).await).clone()
    }

    /// An extract alone; its end.
    pub async fn extract(&mut self, case: &Case, published: &Published) -> Report {
        let mut message = self.message(case, published, &[]);
        let mut task = extract_task(case.store(), published.revision);
        task.target = format!("%ROOT%/{}", case.name);
        task.distribution = case.name.as_str().try_into().unwrap();
        message.task = Task::Extract(task);
        self.world.publish(&message).await;
        self.world.end_of(message.job).await
    }

    fn message(&mut self, case: &Case, published: &Published, sources: &[ContentSource]) -> JobMessage {
        self.messages += 1;
        let mut message = send(&self.messages.to_string(), self.messages, case.store(), published.revision);
        if let Task::Send(task) = &mut message.task {
            task.sources = sources.to_vec();
            task.distribution = case.name.as_str().try_into().unwrap();
        }
        message
    }

    pub fn store_folder(&self) -> PathBuf {
        self.world.path("site/store")
    }

    /// What a restart would find: nothing of the case is damaged, and all that is shown is what the whole origin has.
    pub fn assert_nothing_damaged_is_held(&self, case: &Case, what: &str) {
        assert_whole(&self.store_folder(), case, what);
    }

    pub fn assert_delivered(&self, case: &Case, published: &Published, what: &str) {
        assert!(content(&case.target) == content(&published.tree), "the target is another tree: {what}");
        let (_copy, store) = reopened(&self.store_folder(), case);
        assert_eq!(store.missing(case.store(), &published.index).unwrap(), [0u32; 0], "{what}");
        assert!(store.header(case.store(), published.revision.header).unwrap().is_some(), "{what}");
        self.assert_nothing_damaged_is_held(case, what);
    }

    pub fn assert_nothing_extracted(&self, case: &Case, what: &str) {
        assert!(!case.target.exists(), "something was extracted: {what}");
    }

    pub async fn end(mut self) {
        self.running.take().unwrap().stop().await;
    }
}

/// A store's folder as it lies on disk now, opened anew: the one in use stays what it is.
fn reopened(folder: &Path, case: &Case) -> (tempfile::TempDir, Store) {
    let copy = in_memory();
    let store = case.store().to_string();
    let held = folder.join(&store);
    for (below, bytes) in if held.is_dir() { content(&held) } else { BTreeMap::new() } {
        let path = copy.path().join(&store).join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let store = Store::open(copy.path()).unwrap();
    (copy, store)
}

pub fn assert_whole(folder: &Path, case: &Case, what: &str) {
    let (copy, store) = reopened(folder, case);
    for found in check(copy.path(), false, &|_| {}).unwrap() {
        assert_eq!(found.damaged, [], "damaged in the store: {what}");
    }
    for of in [&case.v1, &case.v2] {
        for (key, held) in [
            (of.header_key(), store.header(of.store, of.revision.header).unwrap()),
            (of.index_key(), store.index(of.store, of.sealed.at.digest).unwrap()),
        ] {
            assert!(held.is_none_or(|held| held == case.bytes(key)), "another {key} is held: {what}");
        }
        for frame in &of.index.frames {
            let pack = Key::pack(of.store, of.index.packs[frame.pack as usize].digest);
            let at = FrameRef::from(frame);
            let is_held = store.has_frame(of.store, pack.digest, at).unwrap();
            let held = store.frame(of.store, pack.digest, at).unwrap();
            assert_eq!(is_held, held.is_some(), "a frame seems to be held: {what}");
            let good = case.bytes(pack)[at.offset as usize..][..at.stored_bytes as usize].to_vec();
            assert!(held.is_none_or(|held| held == good), "another frame is held: {what}");
        }
    }
}

impl Case {
    pub fn store(&self) -> StoreId {
        self.v1.store
    }

    fn disk(&self) -> DiskBlobs {
        DiskBlobs::open(&self.good).unwrap()
    }

    /// Of the second revision.
    pub fn key(&self, object: Object) -> Key {
        let store = self.store();
        match object {
            Object::Header => self.v2.header_key(),
            Object::Index => self.v2.index_key(),
            Object::Pack => Key::pack(store, self.v1.index.packs[0].digest),
            Object::IndexPatch => {
                Key::patch(store, PatchName::index(self.v1.sealed.at.digest, self.v2.sealed.at.digest).digest())
            }
            Object::FramesPatch => Key::patch(store, self.frames_patch.digest()),
        }
    }

    pub fn keys(&self) -> Vec<Key> {
        let new_packs = self.v2.index.packs.iter().map(|pack| Key::pack(self.store(), pack.digest));
        let manifests = [self.v2.header_key(), self.v2.index_key()];
        let patches = [self.key(Object::IndexPatch), self.key(Object::FramesPatch)];
        manifests.into_iter().chain(patches).chain(new_packs).collect()
    }

    /// As a builder wrote it.
    pub fn bytes(&self, key: Key) -> Vec<u8> {
        fs::read(self.good.join(key.to_string())).unwrap()
    }

    pub fn swaps(&self, object: Object) -> Swaps {
        let new_pack = self.v2.index.packs.iter().find(|pack| pack.digest != self.v1.index.packs[0].digest).unwrap();
        let another_revisions = match object {
            Object::Header => self.v1.header_key(),
            Object::Index => self.v1.index_key(),
            Object::Pack => Key::pack(self.store(), new_pack.digest),
            Object::IndexPatch => self.key(Object::FramesPatch),
            Object::FramesPatch => self.key(Object::IndexPatch),
        };
        let another_kinds = if object == Object::Header { self.v2.index_key() } else { self.v2.header_key() };
        Swaps { another_revisions: self.bytes(another_revisions), another_kinds: self.bytes(another_kinds) }
    }

    /// Those that the second revision names in a pack.
    pub fn frames_in(&self, pack: Key) -> Vec<FrameRef> {
        let of = |frame: &&package::Frame| self.v2.index.packs[frame.pack as usize].digest == pack.digest;
        self.v2.index.frames.iter().filter(of).map(FrameRef::from).collect()
    }

    pub fn bytes_in(&self, pack: Key) -> u64 {
        self.frames_in(pack).iter().map(|frame| u64::from(frame.stored_bytes)).sum()
    }

    /// Stored bytes of the frame that a flip hits.
    pub fn frame_hit(&self, damage: Damage) -> u64 {
        let pack = self.key(Object::Pack);
        let bytes = self.bytes(pack).len() as u64;
        let at = match damage {
            Damage::FlippedHead => 0,
            Damage::FlippedMiddle => bytes / 2,
            _ => bytes - 1,
        };
        let hit = self.frames_in(pack).into_iter().find(|frame| frame.range().contains(&at));
        hit.expect("a frame that the revision names").stored_bytes.into()
    }

    fn index_bytes(&self) -> usize {
        self.bytes(self.v2.index_key()).len()
    }
}

pub fn given(report: &SendResult, source: &str) -> (u64, u64) {
    report.sources.iter().find(|of| of.source == source).map_or((0, 0), |of| (of.bytes, of.corrupt))
}

pub fn region() -> SubscriberName {
    "region".try_into().unwrap()
}

fn uuid_of(number: usize) -> uuid::Uuid {
    uuid::Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0000 + number as u128)
}

fn in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn write_tree(folder: &Path, changed: bool) {
    fs::create_dir(folder).unwrap();
    for n in 0..SMALL_FILES {
        fs::write(folder.join(format!("{n}.txt")), format!("{n}").repeat(200)).unwrap();
    }
    for n in 0..LARGE_FILES {
        let mut bytes = noise(LARGE_BYTES, n);
        if changed && n % 4 == 1 {
            bytes.splice(20_000..20_000, *b"an insertion");
        }
        fs::write(folder.join(format!("{n}.bin")), bytes).unwrap();
    }
}
