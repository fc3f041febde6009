//! A transfer whose site crashes, at every operation on its disk and with what was not synced lost: it goes on, fetches what
//! is not there whole and nothing else, and ends.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use blobs::{DiskBlobs, Key};
use schemas::SourceBytes;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use worker::Context;

use super::origin::{Origin, Published, tree};
use super::{Depot, Fetch, Order, fault};
use crate::config::Retries;
use crate::space::Floor;
use crate::store::proof::recorder::hold;
use crate::store::proof::{Known, Recorded, Thing, alone, folder};
use crate::store::{FrameRef, Store};

struct Bench {
    dir: TempDir,
    runtime: Runtime,
    published: Published,
    known: Known,
}

impl Bench {
    fn new() -> Bench {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = folder();
        let files = tree(&dir.path().join("v1"), 14, 100_000, 5);
        let origin = Origin::open(&dir.path().join("origin"));
        let published = runtime.block_on(origin.publish(1, &files, None));
        let mut known = Known::default();
        let index = &published.index;
        for frame in &index.frames {
            let pack = index.packs[frame.pack as usize].digest;
            let bytes = fs::read(origin.object(Key::pack(published.store, pack))).unwrap();
            let at = FrameRef::from(frame);
            known.add_frame(published.store, pack, at, &bytes[at.offset as usize..][..at.stored_bytes as usize]);
        }
        for key in [published.index_key(), published.header_key()] {
            known.add_object(key, &fs::read(origin.object(key)).unwrap());
        }
        Bench { dir, runtime, published, known }
    }

    fn all(&self) -> Vec<Thing> {
        self.known.things.iter().map(|(thing, _)| *thing).collect()
    }

    fn fetch(&self, root: &Path) -> Vec<SourceBytes> {
        self.runtime.block_on(self.fetched(root))
    }

    async fn fetched(&self, root: &Path) -> Vec<SourceBytes> {
        let depot = Depot {
            store: Arc::new(Store::open(root).unwrap()),
            folder: root.to_owned(),
            floor: Floor::default(),
            retries: Retries { tries_per_source: 1, rounds: 1 },
            observe: None,
        };
        let order = Order {
            id: self.published.store,
            revision: self.published.revision,
            sources: vec![Arc::new(DiskBlobs::open(self.dir.path().join("origin")).unwrap())],
            before: Vec::new(),
            for_children: false,
        };
        let context = Context::detached();
        let fetch = Fetch::new(&depot, order, &context).map_err(fault).unwrap();
        let manifest = fetch.manifest().await.map_err(fault).unwrap();
        hold([Thing::Object(self.published.index_key())]);
        let plan = fetch.plan(&manifest, None).await.map_err(fault).unwrap();
        fetch.bring(&manifest, plan).await.map_err(fault).unwrap();
        hold(self.all());
        fetch.given()
    }

    /// What a transfer into this store has to move.
    fn lacking(&self, root: &Path) -> u64 {
        let store = Store::open(root).unwrap();
        let id = self.published.store;
        if store.holds(&self.published.header_key()) {
            return 0;
        }
        let stored = |&at: &u32| u64::from(self.published.index.frames[at as usize].stored_bytes);
        let frames: u64 = store.missing(id, &self.published.index).unwrap().iter().map(stored).sum();
        let object =
            |key: Key| self.known.things.iter().find(|(thing, _)| *thing == Thing::Object(key)).unwrap().1.len();
        let index = self.published.index_key();
        let index_bytes = if store.holds(&index) { 0 } else { object(index) };
        frames + (index_bytes + object(self.published.header_key())) as u64
    }
}

#[test]
fn every_crash_of_a_transfer_is_followed_by_one_that_fetches_the_rest_and_ends() {
    let _alone = alone();
    let bench = Bench::new();
    assert!(bench.published.index.frames.len() > 3, "some frames");
    let root = folder();
    let recorded = Recorded::of(root.path(), [], || drop(bench.fetch(root.path())));
    assert!(recorded.operations() > 20, "{} operations", recorded.operations());
    let finish = |at: &Path| {
        let lacking = bench.lacking(at);
        let moved: u64 = bench.fetch(at).iter().map(|given| given.bytes).sum();
        assert_eq!(moved, lacking, "what was whole is not fetched again");
    };
    recorded.prove(&bench.known, finish, &bench.all());
}
