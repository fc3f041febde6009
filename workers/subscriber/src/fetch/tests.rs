//! What a transfer makes of sources that lie, refuse, are silent or lack something.

mod crash;
#[path = "../../tests/fixture/given.rs"]
mod given;
#[path = "../../tests/fixture/origin.rs"]
mod origin;
mod patches;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use blobs::{DiskBlobs, Key, ReadBlobs, RelayBlobs, RelayConfig, RetryPolicy, Retrying, SiteKey, TransferLimits};
use schemas::{Fault, SourceBytes};
use tempfile::TempDir;
use worker::Context;

use super::{Depot, Fetch, Order, store_fault};
use crate::config::Retries;
use crate::halt::Halt;
use crate::space::Floor;
use crate::store::{Store, StoreError};
use given::{Given, Then};
use origin::{Origin, Published, tree};

const SHORT: Duration = Duration::from_millis(250);

struct Bench {
    dir: TempDir,
    depot: Depot,
    published: Published,
}

impl Bench {
    /// A revision at two sources, `relay` and `origin`.
    async fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let folder = tree(&dir.path().join("v1"), 30, 50_000, 7);
        Origin::open(&dir.path().join("relay")).publish(1, &folder, None).await;
        let published = Origin::open(&dir.path().join("origin")).publish(1, &folder, None).await;
        let depot = Depot {
            store: Arc::new(Store::open(dir.path().join("store")).unwrap()),
            folder: dir.path().to_owned(),
            floor: Floor::default(),
            retries: Retries { tries_per_source: 1, rounds: 2 },
            observe: None,
        };
        Bench { dir, depot, published }
    }

    fn disk(&self, name: &str) -> Arc<dyn ReadBlobs> {
        Arc::new(DiskBlobs::open(self.dir.path().join(name)).unwrap().named(name))
    }

    fn object(&self, source: &str, key: Key) -> std::path::PathBuf {
        Origin::open(&self.dir.path().join(source)).object(key)
    }

    fn packs(&self) -> Vec<Key> {
        self.published.index.packs.iter().map(|p| Key::pack(self.published.store, p.digest)).collect()
    }

    async fn fetch(&self, sources: Vec<Arc<dyn ReadBlobs>>) -> Result<Vec<SourceBytes>, Fault> {
        let order = Order {
            id: self.published.store,
            revision: self.published.revision,
            sources,
            before: Vec::new(),
            for_children: false,
        };
        let context = Context::detached();
        let fetch = Fetch::new(&self.depot, order, &context).map_err(fault)?;
        let manifest = fetch.manifest().await.map_err(fault)?;
        let plan = fetch.plan(&manifest, None).await.map_err(fault)?;
        fetch.bring(&manifest, plan).await.map_err(fault)?;
        assert_eq!(self.depot.store.missing(self.published.store, &self.published.index).unwrap(), [0u32; 0]);
        Ok(fetch.given())
    }
}

fn fault(halt: Halt) -> Fault {
    match halt {
        Halt::Fault(fault) => fault,
        Halt::Stopped => panic!("nobody stopped it"),
    }
}

fn corrupt(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    let mut permissions = std::fs::metadata(path).unwrap().permissions();
    #[allow(clippy::permissions_set_readonly_false, reason = "a test's own file")]
    permissions.set_readonly(false);
    std::fs::set_permissions(path, permissions).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_corrupt_pack_at_the_relay_is_refused_counted_and_taken_from_the_origin() {
    let bench = Bench::new().await;
    corrupt(&bench.object("relay", bench.packs()[0]));
    let given = bench.fetch(vec![bench.disk("relay"), bench.disk("origin")]).await.unwrap();
    assert_eq!((given[0].source.as_str(), given[0].corrupt), ("relay", 1));
    assert_eq!((given[1].source.as_str(), given[1].corrupt), ("origin", 0));
    let whole: u64 = bench.published.index.frames.iter().map(|f| u64::from(f.stored_bytes)).sum();
    assert!(given[1].bytes < whole / 2, "only the damaged frame is fetched again: {given:?}");
}

/// Half of the third frame is the last that a request for frames gives.
fn two_frames_and_a_half(bench: &Bench) -> (Given, u64) {
    let stored: Vec<u64> = bench.published.index.frames.iter().map(|f| u64::from(f.stored_bytes)).collect();
    assert!(stored.len() > 4 && bench.packs().len() == 1, "one request, some frames");
    let half = stored[2] / 2;
    (Given::up_to(bench.dir.path(), stored[0] + stored[1] + half, Then::Break), half)
}

/// All that a site without content has to fetch.
fn needed_bytes(bench: &Bench) -> u64 {
    let frames: u64 = bench.published.index.frames.iter().map(|f| u64::from(f.stored_bytes)).sum();
    let bytes = |key| std::fs::metadata(bench.object("origin", key)).unwrap().len();
    frames + bytes(bench.published.header_key()) + bytes(bench.published.index_key())
}

#[tokio::test]
async fn frames_that_came_before_an_answer_broke_off_are_not_fetched_again() {
    let bench = Bench::new().await;
    let (breaking, half) = two_frames_and_a_half(&bench);
    let all = Arc::new(Given::whole(bench.dir.path()));
    let given = bench.fetch(vec![Arc::new(breaking), all.clone()]).await.unwrap();
    assert_eq!(all.bytes(), needed_bytes(&bench) + half, "half a frame came in vain");
    assert_eq!(given.iter().map(|given| given.bytes).sum::<u64>(), all.bytes(), "and is counted");
}

#[tokio::test]
async fn a_source_that_breaks_off_again_and_again_gives_every_byte_once() {
    let bench = Bench::new().await;
    let (breaking, _) = two_frames_and_a_half(&bench);
    let source = Arc::new(breaking);
    let policy = RetryPolicy { tries: 9, first_ms: 1, max_ms: 1 };
    let given = bench.fetch(vec![Arc::new(Retrying::new(source.clone(), policy))]).await.unwrap();
    assert_eq!((given[0].bytes, source.bytes()), (needed_bytes(&bench), needed_bytes(&bench)));
}

#[tokio::test]
async fn a_corrupt_header_or_index_is_taken_from_the_next_source() {
    let bench = Bench::new().await;
    let header = Key::header(bench.published.store, bench.published.revision.header);
    let index = Key::index(bench.published.store, bench.published.index.seal().at.digest);
    corrupt(&bench.object("relay", header));
    corrupt(&bench.object("relay", index));
    let given = bench.fetch(vec![bench.disk("relay"), bench.disk("origin")]).await.unwrap();
    assert_eq!(given[0].corrupt, 2);
}

#[tokio::test]
async fn what_a_source_lacks_is_taken_from_the_next_and_the_rest_is_not() {
    let bench = Bench::new().await;
    std::fs::remove_file(bench.object("relay", Key::header(bench.published.store, bench.published.revision.header)))
        .unwrap();
    let given = bench.fetch(vec![bench.disk("relay"), bench.disk("origin")]).await.unwrap();
    let whole: u64 = bench.published.index.frames.iter().map(|f| u64::from(f.stored_bytes)).sum();
    assert!(given[0].bytes >= whole && given[1].bytes < 10_000, "{given:?}");
}

#[tokio::test]
async fn a_source_that_is_silent_past_the_time_out_or_down_is_passed_by() {
    let bench = Bench::new().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let relay = |name: &str, at: std::net::SocketAddr| -> Arc<dyn ReadBlobs> {
        let config = RelayConfig {
            url: format!("http://{at}"),
            relay: name.try_into().unwrap(),
            subscriber: "paris".try_into().unwrap(),
            key: SiteKey::generate().unwrap(),
            limits: TransferLimits { connect: SHORT, silence: SHORT, ..TransferLimits::default() },
        };
        Arc::new(RelayBlobs::new(config).unwrap())
    };
    let sources = vec![relay("silent", silent.local_addr().unwrap()), relay("down", closed), bench.disk("origin")];
    let given = bench.fetch(sources).await.unwrap();
    assert_eq!(given.len(), 1);
    assert_eq!(given[0].source, "origin");
}

#[tokio::test]
async fn when_no_source_gives_it_the_fault_is_transient_and_names_the_cause() {
    let bench = Bench::new().await;
    for pack in bench.packs() {
        std::fs::remove_file(bench.object("relay", pack)).unwrap();
    }
    let fault = bench.fetch(vec![bench.disk("relay")]).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.permanent), ("content-unreachable", false));
    assert!(fault.message.contains("relay"), "{fault}");
}

#[tokio::test]
async fn a_header_of_another_revision_is_refused_for_good() {
    let mut bench = Bench::new().await;
    bench.published.revision.number = 2;
    let fault = bench.fetch(vec![bench.disk("origin")]).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.permanent), ("wrong-revision", true));
}

#[test]
fn a_full_disk_is_told_with_what_is_free_there() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
        let path = folder.path().join("packs/of-a-pack.frames");
        let fault = fault(store_fault(StoreError::Io { path, source: kind.into() }));
        assert_eq!((fault.code.as_str(), fault.permanent), ("disk-full", false));
        assert!(fault.message.contains("bytes are free there"), "{fault}");
    }
}
