//! A parent's server and its children, over real sockets, stores and revisions.
#![allow(clippy::single_range_in_vec_init)] // one range is what is meant

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use blobs::signed::{Ask, Stamp};
use blobs::wire::{self, RangesRequest};
use blobs::{BlobError, Blobs, DiskBlobs, Key, ReadBlobs, RelayBlobs, RelayConfig, SiteKey, TransferLimits};
use bytes::Bytes;
use futures::StreamExt;
use package::Index;
use package::build::build_simply;
use package::patch::{self, PatchName};
use schemas::{ChildKey, Digest, Priority, RatesByPriority, StoreId, SubscriberName};
use subscriber::serve::{Children, Outflow, ServeConfig, ServeLimits, Serving, Upstreams, serve};
use subscriber::store::{FrameRef, Store};
use tempfile::TempDir;
use testkit::blobs_suite;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

/// A revision with one pack, at an origin on disk.
struct Revision {
    store: StoreId,
    index: Index,
    index_key: Key,
    pack: Key,
    pack_bytes: Bytes,
    origin: DiskBlobs,
    _root: TempDir,
}

impl Revision {
    async fn of(bytes: usize) -> Revision {
        let (root, store) = (tempfile::tempdir().unwrap(), blobs_suite::new_store());
        let tree = root.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("file"), blobs_suite::body(bytes, 7)).unwrap();
        let source = serde_json::from_value(serde_json::json!({ "path": tree })).unwrap();
        let (built, mut packs) = build_simply(&[source], None).unwrap();
        let sealed = built.index.seal();
        let pack = packs.remove(0);
        assert!(packs.is_empty(), "one pack expected");
        let origin = DiskBlobs::open(root.path().join("origin")).unwrap();
        let (index_key, pack_key) = (Key::index(store, sealed.at.digest), Key::pack(store, pack.digest));
        let pack_bytes = Bytes::from(pack.bytes);
        origin.put(&index_key, sealed.bytes.into()).await.unwrap();
        origin.put(&pack_key, pack_bytes.clone()).await.unwrap();
        Revision { store, index: built.index, index_key, pack: pack_key, pack_bytes, origin, _root: root }
    }

    fn frames(&self) -> Vec<FrameRef> {
        self.index.frames.iter().map(FrameRef::from).collect()
    }

    fn ranges(&self) -> Vec<Range<u64>> {
        self.frames().iter().map(FrameRef::range).collect()
    }

    fn put_frames(&self, store: &Store) {
        for frame in self.frames() {
            let range = frame.range();
            let bytes = &self.pack_bytes[range.start as usize..range.end as usize];
            store.put_frame(self.store, self.pack.digest, frame, bytes).unwrap();
        }
    }
}

/// Passes on, and counts what was read.
struct Counting {
    inner: Arc<dyn ReadBlobs>,
    bytes: AtomicU64,
    asked: AtomicU64,
}

impl Counting {
    fn of(inner: impl ReadBlobs) -> Arc<Counting> {
        Arc::new(Counting { inner: Arc::new(inner), bytes: AtomicU64::new(0), asked: AtomicU64::new(0) })
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl ReadBlobs for Counting {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
        self.inner.size(key).await
    }

    async fn get(&self, key: &Key, bytes_max: u64) -> Result<Bytes, BlobError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let whole = self.inner.get(key, bytes_max).await?;
        self.bytes.fetch_add(whole.len() as u64, Ordering::SeqCst);
        Ok(whole)
    }

    async fn get_ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, BlobError> {
        let parts = self.inner.get_ranges(key, ranges).await?;
        self.bytes.fetch_add(parts.iter().map(|part| part.len() as u64).sum(), Ordering::SeqCst);
        Ok(parts)
    }
}

/// A parent named `region` with the child `paris`.
struct Parent {
    store: Arc<Store>,
    children: Children,
    child_key: SiteKey,
    serving: Serving,
    outflow: Outflow,
    stop: CancellationToken,
    _root: TempDir,
}

impl Parent {
    async fn start(sources: Vec<Arc<dyn ReadBlobs>>) -> Parent {
        let limits = ServeLimits { stranger_max: Duration::from_millis(1), ..ServeLimits::default() };
        Parent::start_with(sources, limits).await
    }

    async fn start_with(sources: Vec<Arc<dyn ReadBlobs>>, limits: ServeLimits) -> Parent {
        let root = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(root.path()).unwrap());
        let (children, child_key, upstreams) =
            (Children::default(), SiteKey::generate().unwrap(), Upstreams::default());
        children.replace(1, &[listed("paris", &child_key)]).unwrap();
        upstreams.set_default(sources);
        let (stop, outflow) = (CancellationToken::new(), Outflow::default());
        let config = ServeConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            name: name("region"),
            limits,
            outflow: outflow.clone(),
        };
        let serving = serve(config, store.clone(), children.clone(), upstreams, stop.clone()).await.unwrap();
        Parent { store, children, child_key, serving, outflow, stop, _root: root }
    }

    fn url(&self) -> String {
        format!("http://{}", self.serving.addr())
    }

    fn child(&self) -> RelayBlobs {
        self.child_as("paris", "region", &self.child_key)
    }

    fn child_as(&self, subscriber: &str, relay: &str, key: &SiteKey) -> RelayBlobs {
        let (relay, subscriber, key) = (name(relay), name(subscriber), key.clone());
        RelayBlobs::new(RelayConfig { url: self.url(), relay, subscriber, key, limits: TransferLimits::default() })
            .unwrap()
    }

    fn served(&self) -> BTreeMap<SubscriberName, u64> {
        self.serving.served_bytes()
    }
}

fn name(text: &str) -> SubscriberName {
    text.parse().unwrap()
}

fn listed(child: &str, key: &SiteKey) -> ChildKey {
    ChildKey { subscriber: name(child), public_key: key.public_hex() }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

#[tokio::test]
async fn a_relay_conforms_as_a_source_from_its_store_and_by_read_through() {
    let revision = Revision::of(600_000).await;
    let absent = Key::pack(revision.store, Digest::of(b"absent"));
    let parent = Parent::start(vec![Arc::new(revision.origin.clone())]).await;
    let index = parent.child().get(&revision.index_key, 1 << 20).await.unwrap();
    assert_eq!(Digest::of(&index), revision.index_key.digest);
    for _from_store in [false, true] {
        blobs_suite::reads(&parent.child(), revision.pack, &revision.pack_bytes, absent).await;
    }
    let parts = parent.child().get_ranges(&revision.index_key, &[4..9, 0..4]).await.unwrap();
    assert_eq!(parts, [index.slice(4..9), index.slice(0..4)]);
    assert!(parent.store.missing(revision.store, &revision.index).unwrap().is_empty(), "it kept what it read through");
}

/// A patch between two revisions that nobody has, at `origin`.
async fn put_patch(origin: &DiskBlobs, store: StoreId) -> (Key, Bytes) {
    let name = PatchName::index(Digest::of(b"old"), Digest::of(b"new"));
    let key = Key::patch(store, name.digest());
    let object = Bytes::from(patch::seal(&name, &blobs_suite::body(5_000, 3)));
    origin.put(&key, object.clone()).await.unwrap();
    (key, object)
}

#[tokio::test]
async fn a_relay_conforms_as_a_source_of_patches_and_keeps_what_it_read_through() {
    let revision = Revision::of(10_000).await;
    let (key, object) = put_patch(&revision.origin, revision.store).await;
    let absent = Key::patch(revision.store, Digest::of(b"absent"));
    let parent = Parent::start(vec![Arc::new(revision.origin.clone())]).await;
    for _from_store in [false, true] {
        blobs_suite::reads(&parent.child(), key, &object, absent).await;
        revision.origin.delete(&key).await.unwrap();
    }
    assert!(parent.store.holds(&key));
}

#[tokio::test]
async fn a_patch_that_is_nowhere_is_asked_for_once_for_all_children() {
    let revision = Revision::of(10_000).await;
    let origin = Counting::of(revision.origin.clone());
    let parent = Parent::start(vec![origin.clone()]).await;
    let absent = Key::patch(revision.store, Digest::of(b"absent"));
    for _child in 0..10 {
        let fault = parent.child().get(&absent, 1 << 20).await.unwrap_err();
        assert!(matches!(fault, BlobError::Absent { .. }), "{fault}");
    }
    assert_eq!(origin.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_patch_that_is_damaged_at_the_source_or_cannot_be_asked_for_is_absent() {
    let revision = Revision::of(10_000).await;
    let (key, object) = put_patch(&revision.origin, revision.store).await;
    revision.origin.delete(&key).await.unwrap();
    let mut damaged = object.to_vec();
    damaged[2_000] ^= 1;
    revision.origin.put(&key, damaged.into()).await.unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = RelayConfig {
        url: format!("http://{closed}"),
        relay: name("down"),
        subscriber: name("region"),
        key: SiteKey::generate().unwrap(),
        limits: TransferLimits::default(),
    };
    let down: Arc<dyn ReadBlobs> = Arc::new(RelayBlobs::new(config).unwrap());
    for source in [Arc::new(revision.origin.clone()) as Arc<dyn ReadBlobs>, down] {
        let parent = Parent::start(vec![source]).await;
        let fault = timeout(PATIENCE, parent.child().get(&key, 1 << 20)).await.unwrap().unwrap_err();
        assert!(matches!(fault, BlobError::Absent { .. }), "a child goes on without it at once: {fault}");
        assert!(!parent.store.holds(&key));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_children_of_an_empty_relay_read_the_origin_once() {
    let revision = Revision::of(12 << 20).await;
    let origin = Counting::of(revision.origin.clone());
    let parent = Parent::start(vec![origin.clone()]).await;
    let fetches = (0..10).map(|_| {
        let (child, ranges) = (parent.child(), revision.ranges());
        let (index, pack) = (revision.index_key, revision.pack);
        tokio::spawn(async move {
            let index = child.get(&index, 1 << 20).await.unwrap().len();
            (index, child.get_ranges(&pack, &ranges).await.unwrap().concat())
        })
    });
    let mut index_bytes = 0;
    for fetched in futures::future::join_all(fetches).await {
        let (index, pack) = fetched.unwrap();
        assert!(pack == revision.pack_bytes, "a child got something else");
        index_bytes = index;
    }
    let once = revision.pack_bytes.len() + index_bytes;
    assert_eq!(origin.bytes(), once as u64);
    assert_eq!(parent.served()[&name("paris")], 10 * once as u64);
}

/// Requests of one child that run at a time, and frames in each: about what a site asks for.
const ASKED_AT_ONCE: usize = 4;
const FRAMES_ASKED: usize = 16;

/// Everything of a revision of several packs, in requests that begin at another place for each child.
async fn fetch_all(child: RelayBlobs, index_key: Key, packs: Vec<(Key, Vec<Range<u64>>)>, place: usize) -> u64 {
    let mut bytes = child.get(&index_key, 8 << 20).await.unwrap().len() as u64;
    let mut requests: Vec<(Key, Vec<Range<u64>>)> =
        packs.iter().flat_map(|(key, ranges)| ranges.chunks(FRAMES_ASKED).map(|part| (*key, part.to_vec()))).collect();
    let count = requests.len();
    requests.rotate_left(place % count);
    let ask = |(key, ranges): (Key, Vec<Range<u64>>)| {
        let child = &child;
        async move { child.get_ranges(&key, &ranges).await.unwrap().iter().map(|part| part.len() as u64).sum::<u64>() }
    };
    let mut answers = futures::stream::iter(requests).map(ask).buffer_unordered(ASKED_AT_ONCE);
    while let Some(more) = answers.next().await {
        bytes += more;
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_children_that_ask_for_many_packs_at_once_in_any_order_read_the_origin_once() {
    let (root, store) = (tempfile::tempdir().unwrap(), blobs_suite::new_store());
    fs::create_dir(root.path().join("tree")).unwrap();
    for n in 0..6 {
        fs::write(root.path().join(format!("tree/file-{n}")), blobs_suite::body(9 << 20, n)).unwrap();
    }
    let source = serde_json::from_value(serde_json::json!({ "path": root.path().join("tree") })).unwrap();
    let (built, packs) = build_simply(&[source], None).unwrap();
    assert!(packs.len() >= 3, "{} packs", packs.len());
    let disk = DiskBlobs::open(root.path().join("origin")).unwrap();
    let sealed = built.index.seal();
    let index_key = Key::index(store, sealed.at.digest);
    let mut whole = sealed.bytes.len() as u64;
    disk.put(&index_key, sealed.bytes.into()).await.unwrap();
    let mut asked: Vec<(Key, Vec<Range<u64>>)> = Vec::new();
    for (at, pack) in (0u32..).zip(packs) {
        let key = Key::pack(store, pack.digest);
        whole += pack.bytes.len() as u64;
        disk.put(&key, pack.bytes.into()).await.unwrap();
        let frames = built.index.frames.iter().filter(|frame| frame.pack == at);
        asked.push((key, frames.map(|frame| FrameRef::from(frame).range()).collect()));
    }
    let origin = Counting::of(disk);
    let parent = Parent::start(vec![origin.clone()]).await;
    let keys: Vec<SiteKey> = (0..10).map(|_| SiteKey::generate().unwrap()).collect();
    let children: Vec<ChildKey> = keys.iter().enumerate().map(|(n, key)| listed(&format!("site-{n}"), key)).collect();
    parent.children.replace(2, &children).unwrap();
    let fetches = keys.iter().enumerate().map(|(n, key)| {
        let child = parent.child_as(&format!("site-{n}"), "region", key);
        tokio::spawn(fetch_all(child, index_key, asked.clone(), n * 3))
    });
    for fetched in futures::future::join_all(fetches).await {
        assert_eq!(fetched.unwrap(), whole);
    }
    assert_eq!(origin.bytes(), whole, "the origin gave each byte once");
    assert!(parent.served().values().all(|&bytes| bytes == whole) && parent.served().len() >= 10);
    assert!(parent.store.missing(store, &built.index).unwrap().is_empty());
}

#[tokio::test]
async fn a_chain_of_relays_brings_content_down_and_each_keeps_it() {
    let revision = Revision::of(300_000).await;
    let origin = Counting::of(revision.origin.clone());
    let upper = Parent::start(vec![origin.clone()]).await;
    let lower = Parent::start(vec![Arc::new(upper.child())]).await;
    for _ in 0..2 {
        lower.child().get(&revision.index_key, 1 << 20).await.unwrap();
        let parts = lower.child().get_ranges(&revision.pack, &revision.ranges()).await.unwrap();
        assert!(parts.concat() == revision.pack_bytes);
    }
    for store in [&upper.store, &lower.store] {
        assert!(store.missing(revision.store, &revision.index).unwrap().is_empty());
    }
    assert!(origin.bytes() < revision.pack_bytes.len() as u64 * 2, "the origin was read twice");
}

#[tokio::test]
async fn only_the_frames_asked_for_are_read_through() {
    let revision = Revision::of(4 << 20).await;
    let origin = Counting::of(revision.origin.clone());
    let parent = Parent::start(vec![origin.clone()]).await;
    parent.child().get(&revision.index_key, 1 << 20).await.unwrap();
    let (before, frames) = (origin.bytes(), revision.frames());
    assert!(frames.len() > 8);
    let (first, last) = (frames[2].range().start + 1, frames[3].range().end - 1);
    parent.child().get_ranges(&revision.pack, &[first..last]).await.unwrap();
    let want = u64::from(frames[2].stored_bytes + frames[3].stored_bytes);
    assert_eq!(origin.bytes() - before, want, "whole frames, and no others");
    let fault =
        parent.child().get_ranges(&revision.pack, &[0..revision.pack_bytes.len() as u64 + 1]).await.unwrap_err();
    assert!(matches!(fault, BlobError::Damaged { .. }), "{fault}");
}

#[tokio::test]
async fn a_corrupt_source_is_passed_by_and_nothing_corrupt_is_kept_or_served() {
    let (revision, bad) = (Revision::of(300_000).await, tempfile::tempdir().unwrap());
    let corrupt = DiskBlobs::open(bad.path()).unwrap().named("mirror");
    let mut bytes = revision.pack_bytes.to_vec();
    bytes.iter_mut().step_by(5_000).for_each(|byte| *byte ^= 1);
    corrupt.put(&revision.pack, bytes.into()).await.unwrap();
    corrupt.put(&revision.index_key, Bytes::from_static(b"no index")).await.unwrap();

    let alone = Parent::start(vec![Arc::new(corrupt.clone())]).await;
    assert!(alone.child().get(&revision.index_key, 1 << 20).await.unwrap_err().is_transient());
    let index = revision.origin.get(&revision.index_key, 1 << 20).await.unwrap();
    alone.store.put_index(revision.store, revision.index_key.digest, &index).unwrap();
    assert!(alone.child().get_ranges(&revision.pack, &revision.ranges()).await.unwrap_err().is_transient());
    assert_eq!(alone.store.missing(revision.store, &revision.index).unwrap().len(), revision.frames().len());
    assert_eq!(alone.served().values().sum::<u64>(), 0);

    let with_next = Parent::start(vec![Arc::new(corrupt), Arc::new(revision.origin.clone())]).await;
    assert_eq!(with_next.child().get(&revision.index_key, 1 << 20).await.unwrap(), index);
    let parts = with_next.child().get_ranges(&revision.pack, &revision.ranges()).await.unwrap();
    assert!(parts.concat() == revision.pack_bytes);
}

#[tokio::test]
async fn a_frame_damaged_in_the_parents_store_is_read_through_again() {
    let revision = Revision::of(300_000).await;
    let parent = Parent::start(vec![Arc::new(revision.origin.clone())]).await;
    parent.child().get(&revision.index_key, 1 << 20).await.unwrap();
    revision.put_frames(&parent.store);
    let file = parent._root.path().join(format!("{}.frames", revision.pack));
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let broken = parent.child().get_ranges(&revision.pack, &revision.ranges()).await.unwrap_err();
    assert!(broken.is_transient(), "{broken}");
    let parts = parent.child().get_ranges(&revision.pack, &revision.ranges()).await.unwrap();
    assert!(parts.concat() == revision.pack_bytes);
}

#[tokio::test]
async fn strangers_wrong_keys_and_wrong_audiences_get_nothing() {
    let revision = Revision::of(10_000).await;
    let origin = Counting::of(revision.origin.clone());
    let parent = Parent::start(vec![origin.clone()]).await;
    let other = SiteKey::generate().unwrap();
    for (child, why) in [
        (parent.child_as("paris", "region", &other), "signature-wrong"),
        (parent.child_as("paris", "elsewhere", &parent.child_key), "signature-wrong"),
        (parent.child_as("lyon", "region", &parent.child_key), "unknown-child"),
    ] {
        for fault in [
            child.get(&revision.index_key, 1 << 20).await.unwrap_err(),
            child.size(&revision.pack).await.unwrap_err(),
            child.get_ranges(&revision.pack, &[0..5, 7..9]).await.unwrap_err(),
        ] {
            let BlobError::Refused { reason, .. } = &fault else { panic!("{fault}") };
            assert!(reason == "401 " || *reason == format!("401 {why}"), "{reason}");
        }
    }
    assert_eq!((origin.bytes(), parent.served().len()), (0, 0));
}

#[tokio::test]
async fn a_child_whose_key_is_on_its_way_is_waited_for() {
    let revision = Revision::of(10_000).await;
    let parent = Parent::start_with(vec![Arc::new(revision.origin.clone())], ServeLimits::default()).await;
    let key = SiteKey::generate().unwrap();
    let (child, wanted) = (parent.child_as("lyon", "region", &key), revision.index_key);
    let mut asking = tokio::spawn(async move { child.get(&wanted, 1 << 20).await });
    assert!(timeout(Duration::from_millis(100), &mut asking).await.is_err(), "it is neither served nor refused");
    parent.children.replace(2, &[listed("lyon", &key)]).unwrap();
    timeout(PATIENCE, asking).await.expect("it is served now").unwrap().unwrap();
}

#[tokio::test]
async fn only_so_many_strangers_are_waited_for() {
    const ASKING: usize = 40;
    const WAITED_FOR: usize = 32;
    let limits = ServeLimits { stranger_max: PATIENCE * 2, ..ServeLimits::default() };
    let revision = Revision::of(10_000).await;
    let parent = Parent::start_with(vec![Arc::new(revision.origin.clone())], limits).await;
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..ASKING {
        let stranger = parent.child_as(&format!("stranger-{number}"), "region", &SiteKey::generate().unwrap());
        let wanted = revision.index_key;
        asking.spawn(async move { stranger.get(&wanted, 1 << 20).await });
    }
    for _ in WAITED_FOR..ASKING {
        let refused = timeout(PATIENCE, asking.join_next()).await.expect("it is refused at once").unwrap().unwrap();
        assert!(matches!(refused, Err(BlobError::Refused { .. })), "{refused:?}");
    }
    assert!(timeout(Duration::from_millis(100), asking.join_next()).await.is_err(), "the others are waited for");
}

#[tokio::test]
async fn a_child_that_is_struck_off_is_refused_on_its_open_connection() {
    let revision = Revision::of(10_000).await;
    let parent = Parent::start(vec![Arc::new(revision.origin.clone())]).await;
    let child = parent.child();
    child.get(&revision.index_key, 1 << 20).await.unwrap();
    parent.children.replace(2, &[]).unwrap();
    assert!(matches!(child.get(&revision.index_key, 1 << 20).await, Err(BlobError::Refused { .. })));
}

/// A request by hand: what was signed and what is sent may differ.
struct ByHand<'a> {
    signed_path: &'a str,
    sent_path: &'a str,
    signed_body: &'a [u8],
    sent_body: &'a [u8],
    signed_range: Option<&'a str>,
    sent_range: Option<&'a str>,
    timestamp_ms: u64,
}

impl ByHand<'_> {
    fn headers(&self, parent: &Parent) -> Vec<(&'static str, String)> {
        let method = if self.sent_body.is_empty() { "GET" } else { "POST" };
        let (audience, path) = (&name("region"), self.signed_path);
        let ask = Ask { audience, method, path, range: self.signed_range, body: self.signed_body };
        let stamp =
            Stamp::sign(&parent.child_key, &name("paris"), &ask, self.timestamp_ms, uuid::Uuid::now_v7().into_bytes());
        let mut headers = stamp.headers().to_vec();
        headers.extend(self.sent_range.map(|range| ("range", range.to_owned())));
        headers
    }

    async fn send(&self, parent: &Parent, headers: &[(&'static str, String)]) -> (u16, String) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}{}", parent.url(), self.sent_path);
        let request =
            if self.sent_body.is_empty() { client.get(url) } else { client.post(url).body(self.sent_body.to_vec()) };
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap_or_default())
    }
}

#[tokio::test]
async fn altered_skewed_and_replayed_requests_get_nothing() {
    let revision = Revision::of(10_000).await;
    let parent = Parent::start(vec![Arc::new(revision.origin.clone())]).await;
    let path = wire::content_path(&revision.index_key);
    let good = ByHand {
        signed_path: &path,
        sent_path: &path,
        signed_body: b"",
        sent_body: b"",
        signed_range: Some("bytes=0-3"),
        sent_range: Some("bytes=0-3"),
        timestamp_ms: now_ms(),
    };
    let headers = good.headers(&parent);
    assert_eq!(good.send(&parent, &headers).await.0, 206);
    assert_eq!(good.send(&parent, &headers).await, (401, "request-replayed".to_owned()));
    let served = parent.served();

    let other_path = wire::content_path(&revision.pack);
    let (ranges_path, ranges) = (wire::ranges_path(&revision.index_key), RangesRequest::of(&[0..3]));
    let ranges = serde_json::to_vec(&ranges).unwrap();
    let wrong = "signature-wrong";
    for (altered, why) in [
        (ByHand { sent_path: &other_path, ..good }, wrong),
        (ByHand { sent_range: Some("bytes=0-9"), ..good }, wrong),
        (ByHand { sent_range: None, ..good }, wrong),
        (ByHand { sent_path: &ranges_path, signed_path: &ranges_path, sent_body: &ranges, ..good }, wrong),
        (ByHand { timestamp_ms: now_ms() - 301_000, ..good }, "clock-skew"),
        (ByHand { timestamp_ms: now_ms() + 301_000, ..good }, "clock-skew"),
    ] {
        let answer = altered.send(&parent, &altered.headers(&parent)).await;
        assert_eq!(answer, (401, why.to_owned()));
    }
    assert_eq!(good.send(&parent, &[]).await, (401, "signature-missing".to_owned()));
    let mut doubled = good.headers(&parent);
    doubled.push(doubled[0].clone());
    assert_eq!(good.send(&parent, &doubled).await, (401, "signature-missing".to_owned()));
    assert_eq!(parent.served(), served, "something was served");
}

#[tokio::test]
async fn malformed_requests_of_a_child_are_refused_by_code() {
    let revision = Revision::of(10_000).await;
    let parent = Parent::start(vec![Arc::new(revision.origin.clone())]).await;
    let key = wire::content_path(&revision.index_key);
    let ranges = wire::ranges_path(&revision.index_key);
    let too_many = serde_json::to_vec(&RangesRequest { ranges: vec![(0, 1); wire::RANGES_MAX + 1] }).unwrap();
    let too_large = vec![b' '; wire::REQUEST_BYTES_MAX + 1];
    for (path, body, range, status) in [
        ("/v1/content/etc/packs/passwd", &b""[..], None, 400),
        ("/etc/passwd", b"", None, 404),
        (&format!("{key}?x=1"), b"", None, 400),
        (&key, b"", Some("bytes=5-"), 400),
        (&key, b"", Some("bytes=0-999999"), 416),
        (&ranges, b"{\"ranges\":[[5,5]]}", None, 400),
        (&ranges, b"{\"ranges\":[[5,6]],\"more\":1}", None, 400),
        (&ranges, b"[[[[[[[[", None, 400),
        (&ranges, &too_many, None, 400),
        (&ranges, &too_large, None, 413),
    ] {
        let request = ByHand {
            signed_path: path,
            sent_path: path,
            signed_body: body,
            sent_body: body,
            signed_range: range,
            sent_range: range,
            timestamp_ms: now_ms(),
        };
        let (got, reason) = request.send(&parent, &request.headers(&parent)).await;
        assert_eq!(got, status, "{path} {range:?}: {reason}");
    }
}

#[tokio::test]
async fn the_server_ends_when_told_and_lets_go_of_its_port() {
    let revision = Revision::of(10_000).await;
    let parent = Parent::start(vec![Arc::new(revision.origin.clone())]).await;
    let (child, addr) = (parent.child(), parent.serving.addr());
    child.get(&revision.index_key, 1 << 20).await.unwrap();
    parent.stop.cancel();
    timeout(PATIENCE, parent.serving.ended()).await.expect("it did not end");
    assert!(TcpStream::connect(addr).await.is_err());
    assert!(child.get(&revision.index_key, 1 << 20).await.unwrap_err().is_transient());
}

fn impatient() -> ServeLimits {
    let short = Duration::from_millis(300);
    ServeLimits { request_max: short, stall_max: short, drain_max: short, ..ServeLimits::default() }
}

#[tokio::test]
async fn a_connection_without_a_request_and_one_that_drips_its_head_are_closed() {
    let parent = Parent::start_with(Vec::new(), impatient()).await;
    for begun in ["", "GET /v1/content/"] {
        let mut socket = TcpStream::connect(parent.serving.addr()).await.unwrap();
        socket.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("it was not closed").unwrap();
    }
}

#[tokio::test]
async fn a_child_that_takes_nothing_is_cut_off() {
    let revision = Revision::of(14 << 20).await;
    let parent = Parent::start_with(Vec::new(), impatient()).await;
    revision.put_frames(&parent.store);
    let path = wire::content_path(&revision.pack);
    let range = wire::range_header(&(0..revision.pack_bytes.len() as u64));
    let request = ByHand {
        signed_path: &path,
        sent_path: &path,
        signed_body: b"",
        sent_body: b"",
        signed_range: Some(&range),
        sent_range: Some(&range),
        timestamp_ms: now_ms(),
    };
    let headers = request.headers(&parent).into_iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{}\r\n", headers.collect::<String>());
    let mut socket = TcpStream::connect(parent.serving.addr()).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(impatient().stall_max * 4).await;
    let mut taken = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut taken)).await.expect("it was not cut off");
    assert!(taken.starts_with(b"HTTP/1.1 206"));
    assert!(taken.len() < revision.pack_bytes.len(), "it was served whole");
}

#[tokio::test]
async fn who_connects_beyond_the_limit_waits_for_a_place() {
    let revision = Revision::of(10_000).await;
    let limits = ServeLimits { connections_max: 1, ..impatient() };
    let parent = Parent::start_with(vec![Arc::new(revision.origin.clone())], limits).await;
    let idle = TcpStream::connect(parent.serving.addr()).await.unwrap();
    let read = timeout(PATIENCE, parent.child().get(&revision.index_key, 1 << 20)).await;
    assert!(read.expect("it never got a place").is_ok());
    drop(idle);
}

/// Bytes per second, of one priority.
fn rate(priority: Priority, bytes_per_s: u64) -> RatesByPriority {
    let mut rates = RatesByPriority::default();
    *match priority {
        Priority::High => &mut rates.high,
        Priority::Medium => &mut rates.medium,
        Priority::Low => &mut rates.low,
    } = Some(bytes_per_s);
    rates
}

async fn time_of(child: RelayBlobs, revision: &Revision) -> Duration {
    let began = std::time::Instant::now();
    let parts = child.get_ranges(&revision.pack, &revision.ranges()).await.unwrap();
    assert!(parts.concat() == revision.pack_bytes);
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn children_together_get_no_more_than_the_rate_of_the_priority() {
    let revision = Revision::of(2 << 20).await;
    let parent = Parent::start(vec![]).await;
    revision.put_frames(&parent.store);
    parent.outflow.set(rate(Priority::Low, 4 << 20), None);
    let began = std::time::Instant::now();
    let (one, other) = (parent.child().for_priority(Priority::Low), parent.child().for_priority(Priority::Low));
    tokio::join!(time_of(one, &revision), time_of(other, &revision));
    assert!(began.elapsed() > Duration::from_millis(550), "4 MiB at 4 MiB/s took {:?}", began.elapsed());
    parent.outflow.set(rate(Priority::Low, 1 << 10), None);
    let urgent = timeout(PATIENCE, time_of(parent.child().for_priority(Priority::High), &revision));
    urgent.await.expect("another priority has its own rate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_beyond_the_limit_is_told_to_come_again_and_gets_everything_later() {
    let revision = Revision::of(1 << 20).await;
    let short = Duration::from_millis(50);
    let parent = Parent::start_with(vec![], ServeLimits { place_max: short, ..ServeLimits::default() }).await;
    revision.put_frames(&parent.store);
    let second = SiteKey::generate().unwrap();
    parent.children.replace(2, &[listed("paris", &parent.child_key), listed("lyon", &second)]).unwrap();
    parent.outflow.set(rate(Priority::Medium, 512 << 10), Some(1));
    let (paris, lyon) = (parent.child(), parent.child_as("lyon", "region", &second));
    let key = revision.pack;
    let first = tokio::spawn(async move { time_of(paris, &revision).await });
    while parent.served().is_empty() {
        tokio::task::yield_now().await;
    }
    let refused = lyon.get_ranges(&key, &[0..10]).await.unwrap_err();
    assert!(
        matches!(refused, BlobError::Busy { again_after, .. } if again_after >= Duration::from_secs(1)),
        "{refused}"
    );
    let staying = blobs::Queueing::new(lyon, PATIENCE);
    assert_eq!(staying.get_ranges(&key, &[0..10]).await.unwrap()[0].len(), 10);
    assert!(first.await.unwrap() > Duration::from_secs(1));
}
