//! What a transfer makes of patches: good ones, damaged ones, and none.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use blobs::{DiskBlobs, Key, ReadBlobs};
use package::patch::{self, PatchName};
use schemas::SourceBytes;
use tempfile::TempDir;
use worker::Context;

use super::origin::{Origin, Published};
use super::{Depot, Fetch, Order, corrupt, fault};
use crate::config::Retries;
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
        let origin = Origin::open(&dir.path().join("origin"));
        let v1 = origin.publish(1, &folder, None).await;
        fs::write(folder.join("17.txt"), "changed").unwrap();
        let v2 = origin.publish(2, &folder, Some(&v1)).await;
        let depot = Depot {
            store: Arc::new(Store::open(dir.path().join("store")).unwrap()),
            folder: dir.path().to_owned(),
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
        let order = Order {
            id: published.store,
            revision: published.revision,
            sources: vec![self.origin()],
            floor: 0,
            before: Vec::new(),
            for_children: self.for_children,
        };
        let context = Context::detached();
        let fetch = Fetch::new(&self.depot, order, &context).map_err(fault).unwrap();
        let manifest = fetch.manifest().await.map_err(fault).unwrap();
        let plan = fetch.plan(&manifest, None).await.map_err(fault).unwrap();
        fetch.bring(&manifest, plan).await.map_err(fault).unwrap();
        self.assert_held(published);
        Brought { given: fetch.given(), lacked: manifest.lacked }
    }

    fn assert_held(&self, published: &Published) {
        let index = self.depot.store.index(published.store, published.sealed.at.digest).unwrap().unwrap();
        assert_eq!(index, published.sealed.bytes);
        assert_eq!(self.depot.store.missing(published.store, &published.index).unwrap(), [0u32; 0]);
    }

    /// The whole index and the header.
    fn manifest_bytes(&self) -> u64 {
        let header = fs::metadata(self.object(Key::header(self.v2.store, self.v2.revision.header))).unwrap().len();
        self.v2.sealed.at.bytes + header
    }
}

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
    type Damage = fn(&Bench, &std::path::Path);
    let damages: [(&str, Damage); 4] = [
        ("flipped", |_, path| corrupt(path)),
        ("truncated", |_, path| fs::write(path, &fs::read(path).unwrap()[..200]).unwrap()),
        ("emptied", |_, path| fs::write(path, b"").unwrap()),
        ("another's", |bench, path| {
            let other = PatchName::index(bench.v2.sealed.at.digest, bench.v1.sealed.at.digest);
            fs::write(path, patch::seal(&other, b"whole, but of another name")).unwrap();
        }),
    ];
    for (how, damage) in damages {
        let bench = Bench::new().await;
        damage(&bench, &bench.object(bench.key(&bench.index_patch())));
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
