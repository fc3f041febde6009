//! A parent on real sockets with a revision to give, and children that ask it.

use async_trait::async_trait;
use blobs::signed::{Ask, Stamp};
use blobs::{
    BlobError, Blobs, DiskBlobs, Extent, Key, Pieces, ReadBlobs, RelayBlobs, RelayConfig, SiteKey, TransferLimits,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use package::build::build_simply;
use package::{Index, header};
use schemas::definitions::DistributionType;
use schemas::{ChildKey, Digest, StoreId, SubscriberName};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use subscriber::serve::{Children, Floor, Outflow, ServeConfig, ServeLimits, Serving, Upstreams, serve};
use subscriber::store::{FrameRef, Store};
use tempfile::TempDir;
use testkit::blobs_suite;
use tokio_util::sync::CancellationToken;

pub const PATIENCE: Duration = Duration::from_secs(20);

/// A revision with one pack, at an origin on disk.
pub struct Revision {
    pub store: StoreId,
    pub header_key: Key,
    pub index: Arc<Index>,
    pub index_key: Key,
    pub pack: Key,
    pub pack_bytes: Bytes,
    pub origin: DiskBlobs,
    pub _root: TempDir,
}

impl Revision {
    pub async fn of(bytes: usize) -> Revision {
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
        let header = header::encode(&header::header_of(store, 1, DistributionType::File, &built.index, sealed.at));
        let header_key = Key::header(store, Digest::of(&header));
        origin.put(&header_key, header.into()).await.unwrap();
        origin.put(&index_key, sealed.bytes.into()).await.unwrap();
        origin.put(&pack_key, pack_bytes.clone()).await.unwrap();
        Revision { store, header_key, index: built.index, index_key, pack: pack_key, pack_bytes, origin, _root: root }
    }

    pub fn frames(&self) -> Vec<FrameRef> {
        self.index.frames.iter().map(FrameRef::from).collect()
    }

    pub fn ranges(&self) -> Vec<Range<u64>> {
        self.frames().iter().map(FrameRef::range).collect()
    }

    pub fn put_frames(&self, store: &Store) {
        for frame in self.frames() {
            let range = frame.range();
            let bytes = &self.pack_bytes[range.start as usize..range.end as usize];
            store.put_frame(self.store, self.pack.digest, frame, bytes).unwrap();
        }
    }
}

/// Breaks every reading off after so many bytes.
pub struct Breaking {
    inner: DiskBlobs,
    bytes: u64,
}

impl Breaking {
    pub fn after(inner: DiskBlobs, bytes: u64) -> Arc<Breaking> {
        Arc::new(Breaking { inner: inner.named("mirror"), bytes })
    }
}

#[async_trait]
impl ReadBlobs for Breaking {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
        self.inner.size(key).await
    }

    fn read(&self, key: &Key, extent: Extent) -> Pieces<'_> {
        let (source_name, reason) = (self.name().to_owned(), "it broke off".to_owned());
        let broken = BlobError::Transient { key: *key, source_name, reason };
        let cut = move |piece: Bytes| piece.slice(..piece.len().min(self.bytes as usize));
        let first = self.inner.read(key, extent).map_ok(cut).take(1);
        first.chain(futures::stream::iter([Err(broken)])).boxed()
    }
}

/// A parent named `region` with the child `paris`.
pub struct Parent {
    pub store: Arc<Store>,
    pub children: Children,
    pub child_key: SiteKey,
    pub serving: Serving,
    pub outflow: Outflow,
    pub floor: Floor,
    pub stop: CancellationToken,
    pub _root: TempDir,
}

impl Parent {
    pub async fn start(sources: Vec<Arc<dyn ReadBlobs>>) -> Parent {
        let limits = ServeLimits { stranger_max: Duration::from_millis(1), ..ServeLimits::default() };
        Parent::start_with(sources, limits).await
    }

    pub async fn start_with(sources: Vec<Arc<dyn ReadBlobs>>, limits: ServeLimits) -> Parent {
        let root = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(root.path()).unwrap());
        let (children, child_key, upstreams) =
            (Children::default(), SiteKey::generate().unwrap(), Upstreams::default());
        children.replace(1, &[listed("paris", &child_key)]).unwrap();
        upstreams.set_default(sources);
        let (stop, outflow, floor) = (CancellationToken::new(), Outflow::default(), Floor::default());
        let config = ServeConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            name: name("region"),
            limits,
            outflow: outflow.clone(),
            floor: floor.clone(),
        };
        let serving = serve(config, store.clone(), children.clone(), upstreams, stop.clone()).await.unwrap();
        Parent { store, children, child_key, serving, outflow, floor, stop, _root: root }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.serving.addr())
    }

    pub fn child(&self) -> RelayBlobs {
        self.child_as("paris", "region", &self.child_key)
    }

    pub fn child_as(&self, subscriber: &str, relay: &str, key: &SiteKey) -> RelayBlobs {
        let (relay, subscriber, key) = (name(relay), name(subscriber), key.clone());
        RelayBlobs::new(RelayConfig { url: self.url(), relay, subscriber, key, limits: TransferLimits::default() })
            .unwrap()
    }

    pub fn served(&self) -> BTreeMap<SubscriberName, u64> {
        self.serving.served_bytes()
    }
}

pub fn name(text: &str) -> SubscriberName {
    text.parse().unwrap()
}

pub fn listed(child: &str, key: &SiteKey) -> ChildKey {
    ChildKey { subscriber: name(child), public_key: key.public_hex() }
}

pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A request by hand: what was signed and what is sent may differ.
pub struct ByHand<'a> {
    pub signed_path: &'a str,
    pub sent_path: &'a str,
    pub signed_body: &'a [u8],
    pub sent_body: &'a [u8],
    pub signed_range: Option<&'a str>,
    pub sent_range: Option<&'a str>,
    pub timestamp_ms: u64,
}

impl ByHand<'_> {
    pub fn headers(&self, parent: &Parent) -> Vec<(&'static str, String)> {
        let method = if self.sent_body.is_empty() { "GET" } else { "POST" };
        let (audience, path) = (&name("region"), self.signed_path);
        let ask = Ask { audience, method, path, range: self.signed_range, body: self.signed_body };
        let stamp =
            Stamp::sign(&parent.child_key, &name("paris"), &ask, self.timestamp_ms, uuid::Uuid::now_v7().into_bytes());
        let mut headers = stamp.headers().to_vec();
        headers.extend(self.sent_range.map(|range| ("range", range.to_owned())));
        headers
    }

    pub async fn send(&self, parent: &Parent, headers: &[(&'static str, String)]) -> (u16, String) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}{}", parent.url(), self.sent_path);
        let request =
            if self.sent_body.is_empty() { client.get(url) } else { client.post(url).body(self.sent_body.to_vec()) };
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap_or_default())
    }
}
