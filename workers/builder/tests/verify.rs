//! What `verify` says of an origin that lost something.

mod support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use blobs::{Blobs, DiskBlobs, Key, ObjectKind};
use builder::verify::{Checked, Damaged, verify};
use schemas::Digest;
use support::{Place, reference};

/// Two revisions that share packs.
struct Origin {
    place: Place,
    blobs: Arc<dyn Blobs>,
    headers: Vec<Digest>,
}

impl Origin {
    async fn new() -> Origin {
        let place = Place::new();
        for n in 0..40 {
            place.write(&format!("{n}"), format!("file {n} ").repeat(3_000));
        }
        let first = reference(&place.build(1, None).await.unwrap());
        place.write("3", "another");
        let second = reference(&place.build(2, Some(first)).await.unwrap());
        let blobs: Arc<dyn Blobs> = place.blobs.clone();
        Origin { headers: vec![first.header, second.header], blobs, place }
    }

    async fn checked(&self, headers: Option<&[Digest]>) -> Checked {
        let seen = AtomicU64::new(0);
        let count = |bytes| {
            seen.fetch_add(bytes, Relaxed);
        };
        let found = verify(&self.blobs, self.place.store, headers, &count).await.unwrap();
        assert_eq!(found.bytes, seen.load(Relaxed));
        found
    }

    async fn keys(&self, kind: ObjectKind) -> Vec<Key> {
        let listed = self.blobs.list(self.place.store).await.unwrap();
        listed.into_iter().map(|(key, _)| key).filter(|key| key.kind == kind).collect()
    }

    async fn get(&self, key: &Key) -> Vec<u8> {
        self.blobs.get(key, 1 << 30).await.unwrap().to_vec()
    }
}

fn codes(found: &Checked) -> Vec<&'static str> {
    found.damaged.iter().map(|one| one.code).collect()
}

#[tokio::test]
async fn a_whole_origin_is_read_to_the_last_byte_and_nothing_is_found() {
    let origin = Origin::new().await;
    for headers in [None, Some(&origin.headers[..])] {
        let found = origin.checked(headers).await;
        assert_eq!(found.damaged, []);
        assert_eq!(found.revisions, [1, 2].into());
        let all: u64 = origin.blobs.list(origin.place.store).await.unwrap().iter().map(|(_, bytes)| bytes).sum();
        assert_eq!((found.bytes, found.orphans.objects), (all, 0));
    }
}

#[tokio::test]
async fn each_damage_of_each_kind_is_named() {
    let origin = Origin::new().await;
    for (kind, flipped, cut) in [
        (ObjectKind::Header, "digest-mismatch", "digest-mismatch"),
        (ObjectKind::Index, "digest-mismatch", "length-wrong"),
        (ObjectKind::Pack, "digest-mismatch", "length-wrong"),
    ] {
        for key in origin.keys(kind).await {
            let good = origin.get(&key).await;
            let mut bad = good.clone();
            let middle = bad.len() / 2;
            bad[middle] ^= 1;
            for (bytes, code) in [(Some(bad), flipped), (Some(good[..middle].to_vec()), cut), (None, "object-absent")] {
                match bytes {
                    Some(bytes) => origin.blobs.put(&key, bytes.into()).await.unwrap(),
                    None => origin.blobs.delete(&key).await.unwrap(),
                }
                let found = origin.checked(Some(&origin.headers)).await;
                assert_eq!(codes(&found), [code], "{key}: {:?}", found.damaged);
                let Damaged { object, revisions, .. } = &found.damaged[0];
                assert!(key.to_string().ends_with(object.as_str()));
                assert_eq!(revisions.is_empty(), kind == ObjectKind::Header, "{key}");
            }
            origin.blobs.put(&key, good.into()).await.unwrap();
        }
    }
    assert_eq!(origin.checked(None).await.damaged, []);
}

#[tokio::test]
async fn a_damaged_frame_concerns_the_revisions_that_name_it_and_no_other() {
    let origin = Origin::new().await;
    let header =
        package::header::decode(&origin.get(&Key::header(origin.place.store, origin.headers[0])).await).unwrap();
    let packs = origin.keys(ObjectKind::Pack).await;
    let newer = packs.iter().find(|key| header.packs.iter().all(|pack| pack.digest != key.digest)).unwrap();
    let mut bytes = origin.get(newer).await;
    bytes[0] ^= 1;
    origin.blobs.put(newer, bytes.into()).await.unwrap();
    let found = origin.checked(None).await;
    assert_eq!((codes(&found), &found.damaged[0].revisions[..]), (vec!["digest-mismatch"], &[2][..]));
}

#[tokio::test]
async fn what_no_kept_revision_leads_to_is_counted_and_is_no_damage() {
    let origin = Origin::new().await;
    let stray = Key::pack(origin.place.store, Digest::of(b"stray"));
    origin.blobs.put(&stray, b"left".to_vec().into()).await.unwrap();
    let found = origin.checked(None).await;
    assert_eq!((found.orphans.objects, found.orphans.bytes, found.damaged.len()), (1, 4, 0));
    let only_the_second = origin.checked(Some(&origin.headers[1..])).await;
    assert_eq!(only_the_second.revisions, [2].into());
    assert!(only_the_second.orphans.objects >= 3, "the first one's header and index too: {only_the_second:?}");
    let nothing_kept = origin.checked(Some(&[])).await;
    assert_eq!((nothing_kept.objects, nothing_kept.damaged.len()), (0, 0));
}

#[tokio::test]
async fn a_header_of_another_distribution_is_no_header_of_this_one() {
    let origin = Origin::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let disk = DiskBlobs::open(elsewhere.path()).unwrap();
    let other = schemas::StoreId(uuid::Uuid::from_u128(8));
    let bytes = origin.get(&Key::header(origin.place.store, origin.headers[0])).await;
    disk.put(&Key::header(other, origin.headers[0]), bytes.into()).await.unwrap();
    let blobs: Arc<dyn Blobs> = Arc::new(disk);
    let found = verify(&blobs, other, None, &|_| {}).await.unwrap();
    assert_eq!(codes(&found), ["wrong-store"]);
    assert!(fs::read_dir(elsewhere.path()).is_ok());
}
