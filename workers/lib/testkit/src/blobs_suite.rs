//! The conformance suite of stores: whoever reads or writes objects by key behaves like this.
#![allow(clippy::single_range_in_vec_init)] // one range is what is meant

use blobs::{BlobError, Blobs, Extent, Key, ReadBlobs};
use bytes::Bytes;
use futures::StreamExt;
use schemas::{Digest, StoreId};
use uuid::Uuid;

/// Larger than any single put: it goes up in parts where there are parts.
const LARGE_BYTES: usize = 26 << 20;
const SMALL_BYTES: usize = 200_000;

/// Bytes that no other part of the same body repeats within reach, so that a shifted range is noticed.
pub fn body(bytes: usize, seed: u8) -> Bytes {
    (0..bytes as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 ^ seed).collect()
}

pub fn new_store() -> StoreId {
    StoreId(Uuid::now_v7())
}

/// What every store that builders write to does.
pub async fn reads_and_writes(blobs: &dyn Blobs) {
    let store = new_store();
    let small = body(SMALL_BYTES, 1);
    let key = Key::pack(store, Digest::of(&small));
    deleting_what_is_absent_is_no_error(blobs, key).await;
    what_has_another_length_is_replaced(blobs, key, &small).await;
    blobs.put(&key, small.clone()).await.unwrap();
    blobs.put(&key, small.clone()).await.expect("putting again is no error");
    reads(blobs, key, &small, Key::pack(store, Digest::of(b"absent"))).await;
    a_list_is_sorted_and_of_one_distribution(blobs, key).await;
    what_is_there_by_a_name_that_is_not_its_digest_reads_back(blobs, store).await;
    a_large_object_arrives_whole(blobs, store).await;
    concurrent_puts_leave_one_whole_object(blobs, store).await;
    what_was_deleted_is_absent(blobs, key).await;
}

/// What every source does that holds `key` with `body`, and not `absent`.
pub async fn reads<B: ReadBlobs + ?Sized>(source: &B, key: Key, body: &Bytes, absent: Key) {
    what_is_absent_is_said_to_be_absent(source, absent).await;
    an_object_reads_back_whole(source, key, body).await;
    ranges_come_in_the_order_asked_for(source, key, body).await;
    a_range_beyond_the_end_is_refused(source, key, body).await;
    an_object_above_the_limit_is_refused(source, key, body).await;
}

async fn what_is_absent_is_said_to_be_absent<B: ReadBlobs + ?Sized>(source: &B, absent: Key) {
    assert_eq!(source.size(&absent).await.unwrap(), None);
    let whole = source.get(&absent, 1 << 20).await.map(drop);
    let part = source.get_ranges(&absent, &[0..1]).await.map(drop);
    let parts = source.get_ranges(&absent, &[0..1, 5..6]).await.map(drop);
    for fault in [whole, part, parts].map(Result::unwrap_err) {
        assert!(matches!(&fault, BlobError::Absent { key, .. } if *key == absent), "{fault}");
        assert!(!fault.is_transient());
    }
}

async fn an_object_reads_back_whole<B: ReadBlobs + ?Sized>(source: &B, key: Key, body: &Bytes) {
    assert_eq!(source.size(&key).await.unwrap(), Some(body.len() as u64));
    assert!(source.get(&key, body.len() as u64).await.unwrap() == body, "the whole differs");
}

async fn ranges_come_in_the_order_asked_for<B: ReadBlobs + ?Sized>(source: &B, key: Key, body: &Bytes) {
    let end = body.len() as u64;
    let few = vec![end - 1..end, 0..1, 10..20, 20..30, 5..25];
    let many: Vec<_> = (0..300).map(|i| i * 7..i * 7 + 1 + i % 9).collect();
    for ranges in [vec![0..end], few, many, Vec::new()] {
        let parts = source.get_ranges(&key, &ranges).await.unwrap();
        let want: Vec<_> = ranges.iter().map(|range| body.slice(range.start as usize..range.end as usize)).collect();
        assert!(parts == want, "the parts differ");
    }
}

async fn a_range_beyond_the_end_is_refused<B: ReadBlobs + ?Sized>(source: &B, key: Key, body: &Bytes) {
    let end = body.len() as u64;
    for ranges in [vec![end..end + 1], vec![end - 1..end + 1], vec![0..1, end - 1..end + 1]] {
        let fault = source.get_ranges(&key, &ranges).await.map(drop).unwrap_err();
        assert!(!fault.is_transient(), "{fault}");
    }
}

async fn an_object_above_the_limit_is_refused<B: ReadBlobs + ?Sized>(source: &B, key: Key, body: &Bytes) {
    let fault = source.get(&key, body.len() as u64 - 1).await.map(drop).unwrap_err();
    assert!(matches!(fault, BlobError::TooLarge { .. }), "{fault}");
}

async fn deleting_what_is_absent_is_no_error(blobs: &dyn Blobs, key: Key) {
    blobs.delete(&key).await.unwrap();
    assert_eq!(blobs.list(key.store).await.unwrap(), []);
}

async fn what_has_another_length_is_replaced(blobs: &dyn Blobs, key: Key, body: &Bytes) {
    let longer: Bytes = [body.as_ref(), b"more"].concat().into();
    for wrong in [body.slice(..7), longer] {
        blobs.put(&key, wrong).await.unwrap();
        blobs.put(&key, body.clone()).await.unwrap();
        assert!(blobs.get(&key, body.len() as u64).await.unwrap() == *body, "what was there is there still");
    }
}

async fn a_list_is_sorted_and_of_one_distribution(blobs: &dyn Blobs, pack: Key) {
    let digest = Digest::of(b"x");
    let (header, index) = (Key::header(pack.store, digest), Key::index(pack.store, digest));
    let (foreign, patch) = (Key::header(new_store(), digest), Key::patch(pack.store, digest));
    for key in [patch, index, foreign, header] {
        blobs.put(&key, Bytes::from_static(b"x")).await.unwrap();
    }
    let listed = blobs.list(pack.store).await.unwrap();
    assert_eq!(listed, [(header, 1), (index, 1), (pack, SMALL_BYTES as u64), (patch, 1)]);
    assert_eq!(blobs.stores().await.unwrap(), [pack.store.min(foreign.store), pack.store.max(foreign.store)]);
}

async fn what_is_there_by_a_name_that_is_not_its_digest_reads_back(blobs: &dyn Blobs, store: StoreId) {
    let (body, key) = (body(SMALL_BYTES, 4), Key::patch(store, Digest::of(b"a name")));
    blobs.put(&key, body.clone()).await.unwrap();
    reads(blobs, key, &body, Key::patch(store, Digest::of(b"absent"))).await;
    blobs.delete(&key).await.unwrap();
    assert_eq!(blobs.size(&key).await.unwrap(), None);
}

async fn a_large_object_arrives_whole(blobs: &dyn Blobs, store: StoreId) {
    let large = body(LARGE_BYTES, 2);
    let key = Key::pack(store, Digest::of(&large));
    blobs.put(&key, large.clone()).await.unwrap();
    assert!(blobs.get(&key, LARGE_BYTES as u64).await.unwrap() == large, "the large object differs");
    let piece = blobs.read(&key, Extent::Ranges(vec![5..LARGE_BYTES as u64])).next().await.unwrap().unwrap();
    assert!(piece.len() < LARGE_BYTES / 2 && large[5..].starts_with(&piece), "it comes in pieces");
    let across = LARGE_BYTES as u64 / 2;
    let parts = blobs.get_ranges(&key, &[across - 9..across, across..across + (9 << 20)]).await.unwrap();
    let want = large.slice(across as usize - 9..across as usize + (9 << 20));
    assert!(parts.concat() == want, "a long range differs");
    blobs.delete(&key).await.unwrap();
}

async fn concurrent_puts_leave_one_whole_object(blobs: &dyn Blobs, store: StoreId) {
    let small = body(SMALL_BYTES, 3);
    let key = Key::pack(store, Digest::of(&small));
    let puts = (0..4).map(|_| blobs.put(&key, small.clone()));
    futures::future::try_join_all(puts).await.unwrap();
    assert!(blobs.get(&key, SMALL_BYTES as u64).await.unwrap() == small, "the object differs");
}

async fn what_was_deleted_is_absent(blobs: &dyn Blobs, key: Key) {
    blobs.delete(&key).await.unwrap();
    assert_eq!(blobs.size(&key).await.unwrap(), None);
    assert!(!blobs.list(key.store).await.unwrap().iter().any(|(listed, _)| *listed == key));
}
