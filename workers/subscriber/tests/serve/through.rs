//! What a parent gives: from its store, and through it from where it reads itself.

use blobs::{BlobError, Blobs, DiskBlobs, Key, ReadBlobs, RelayBlobs, RelayConfig, SiteKey, TransferLimits};
use bytes::Bytes;
use futures::StreamExt;
use package::build::build_simply;
use package::patch;
use package::patch::PatchName;
use schemas::{ChildKey, Digest, StoreId};
use std::fs;
use std::ops::Range;
use std::sync::Arc;
use subscriber::store::FrameRef;
use testkit::{Counting, blobs_suite};
use tokio::time::timeout;

use super::parent::*;

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
    assert_eq!(origin.objects(), 1);
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

/// As one that got its index as a patch, or had it.
#[tokio::test]
async fn a_child_that_asks_for_the_header_alone_gets_frames_that_are_read_through_once() {
    let revision = Revision::of(300_000).await;
    let origin = Counting::of(revision.origin.clone());
    let parent = Parent::start(vec![origin.clone()]).await;
    let fault = parent.child().get_ranges(&revision.pack, &revision.ranges()).await.unwrap_err();
    assert!(matches!(fault, BlobError::Absent { .. }), "nothing here speaks of that pack: {fault}");
    parent.child().get(&revision.header_key, 1 << 20).await.unwrap();
    assert_eq!(parent.child().size(&revision.pack).await.unwrap(), Some(revision.pack_bytes.len() as u64));
    for _ in 0..2 {
        let parts = parent.child().get_ranges(&revision.pack, &revision.ranges()).await.unwrap();
        assert!(parts.concat() == revision.pack_bytes);
    }
    assert!(parent.store.holds(&revision.index_key));
    assert_eq!(origin.objects(), 2, "the header and the index, each once");
    let beyond = 0..revision.pack_bytes.len() as u64 + 1;
    parent.child().get_ranges(&revision.pack, &[beyond]).await.unwrap_err();
    assert_eq!(origin.objects(), 2, "what no index names is not looked for again");
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
async fn a_parent_below_its_floor_gives_what_it_holds_and_brings_nothing_more() {
    let revision = Revision::of(2 << 20).await;
    let origin = Counting::of(revision.origin.clone());
    let parent = Parent::start(vec![origin.clone()]).await;
    parent.child().get(&revision.index_key, 1 << 20).await.unwrap();
    let ranges = revision.ranges();
    let held = std::slice::from_ref(&ranges[0]);
    parent.child().get_ranges(&revision.pack, held).await.unwrap();
    let before = origin.bytes();
    parent.floor.set(u64::MAX);
    parent.child().get_ranges(&revision.pack, held).await.unwrap();
    let more = parent.child().get_ranges(&revision.pack, &ranges).await.unwrap_err();
    let header = parent.child().get(&Key::header(revision.store, Digest::of(b"another")), 1 << 20).await.unwrap_err();
    for fault in [more, header] {
        let told = matches!(&fault, BlobError::Permanent { reason, .. } if reason.contains("free-space-floor"));
        assert!(told, "another source is to be asked, at once: {fault}");
    }
    assert_eq!(origin.bytes(), before);
    parent.floor.set(0);
    assert!(parent.child().get_ranges(&revision.pack, &ranges).await.unwrap().concat() == revision.pack_bytes);
}

#[tokio::test]
async fn what_came_before_a_source_broke_off_is_not_read_through_again() {
    let revision = Revision::of(2 << 20).await;
    let frames = revision.frames();
    let breaking = Breaking::after(revision.origin.clone(), frames[2].range().start + 1);
    let origin = Counting::of(revision.origin.clone());
    let parent = Parent::start(vec![breaking, origin.clone()]).await;
    parent.store.put_index(revision.store, revision.index_key.digest, &revision.index.seal().bytes).unwrap();
    assert!(
        parent.child().get_ranges(&revision.pack, &revision.ranges()).await.unwrap().concat() == revision.pack_bytes
    );
    assert_eq!(origin.bytes(), revision.pack_bytes.len() as u64 - frames[2].range().start);
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
