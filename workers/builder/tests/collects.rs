//! Garbage collection at the origin: only what it is told to delete goes, only in time, and orphans are told of.

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use blobs::{Blobs, Key, ReadBlobs};
use builder::Ended;
use bytes::Bytes;
use schemas::collect::ORPHANS_MAX;
use schemas::{CollectTask, Digest, RevisionRef};
use support::{Place, noise, reference};
use worker::Context;

const MINUTE_MS: i64 = 60_000;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn task(place: &Place, delete: &[Key], live: &[RevisionRef], list: bool) -> CollectTask {
    let folder = format!("{}/", place.store);
    CollectTask {
        distributor: "hq".try_into().unwrap(),
        distribution: "antivirus".try_into().unwrap(),
        store: place.store,
        delete: delete.iter().map(|key| key.to_string().replace(&folder, "")).collect(),
        until_ms: now_ms() + MINUTE_MS,
        live: live.iter().map(|revision| revision.header).collect(),
        list,
        after: None,
    }
}

async fn keys(place: &Place) -> Vec<Key> {
    place.blobs.list(place.store).await.unwrap().into_iter().map(|(key, _)| key).collect()
}

#[tokio::test]
async fn what_it_is_told_to_delete_goes_and_nothing_else() {
    let place = Place::new();
    place.write("a", "1");
    place.build(1, None).await.unwrap();
    let before = keys(&place).await;
    let absent = Key::pack(place.store, Digest::of(b"absent"));
    let task = task(&place, &[before[0], absent], &[], false);
    for _ in 0..2 {
        let result = place.builder().collect(&task, &Context::detached()).await.unwrap();
        assert_eq!(result.deleted.len(), 2, "what is absent is deleted: {result:?}");
        assert_eq!(keys(&place).await, before[1..]);
    }
}

#[tokio::test]
async fn an_order_that_comes_too_late_deletes_nothing() {
    let place = Place::new();
    place.write("a", "1");
    place.build(1, None).await.unwrap();
    let before = keys(&place).await;
    for late_ms in [0, -MINUTE_MS] {
        let task = CollectTask { until_ms: now_ms() + late_ms, ..task(&place, &before, &[], false) };
        let result = place.builder().collect(&task, &Context::detached()).await.unwrap();
        assert_eq!(result.deleted, Vec::<String>::new());
    }
    assert_eq!(keys(&place).await, before);
}

#[tokio::test]
async fn an_object_that_no_live_revision_leads_to_is_an_orphan_whatever_it_is() {
    let place = Place::new();
    place.write("kept", noise("kept", 3_000_000)).write("gone", noise("gone", 20_000_000));
    let first = place.build(1, None).await.unwrap();
    let of_first = keys(&place).await;
    std::fs::remove_file(place.source.path().join("gone")).unwrap();
    place.write("new", "new");
    let second = place.build(2, Some(reference(&first))).await.unwrap();
    let stray = Key::pack(place.store, Digest::of(b"stray"));
    place.blobs.put(&stray, Bytes::from_static(b"stray")).await.unwrap();
    let of_second = second.revision.as_ref().unwrap();
    let named: Vec<Digest> =
        of_second.packs.iter().map(|pack| pack.digest).chain([of_second.header, of_second.index]).collect();

    let only_second = task(&place, &[], &[reference(&second)], true);
    let result = place.builder().collect(&only_second, &Context::detached()).await.unwrap();
    let orphans: Vec<Key> = result
        .orphans
        .iter()
        .map(|orphan| Key::parse(&format!("{}/{}", place.store, orphan.object)).unwrap())
        .collect();
    assert!(orphans.contains(&stray));
    assert!(orphans.iter().all(|key| !named.contains(&key.digest)), "what revision 2 needs is none");
    let all = keys(&place).await;
    assert!(
        of_first.iter().all(|key| named.contains(&key.digest) || orphans.contains(key)),
        "what only revision 1 needs is"
    );
    assert_eq!(orphans.len(), all.iter().filter(|key| !named.contains(&key.digest)).count(), "patches from it too");
    let listed = result.listed.unwrap();
    assert_eq!((listed.objects as usize, listed.orphans_left), (keys(&place).await.len(), 0));

    let both = task(&place, &[], &[reference(&first), reference(&second)], true);
    let result = place.builder().collect(&both, &Context::detached()).await.unwrap();
    assert_eq!(result.orphans.len(), 1, "the stray one: {:?}", result.orphans);
    let beyond = CollectTask { after: Some(result.orphans[0].object.clone()), ..both };
    let result = place.builder().collect(&beyond, &Context::detached()).await.unwrap();
    assert_eq!(result.orphans, [], "known from an earlier look");
    const { assert!(ORPHANS_MAX > 100) };
}

#[tokio::test]
async fn a_patch_lives_as_long_as_both_its_revisions() {
    let place = Place::new();
    place.write("a", "1");
    let first = place.build(1, None).await.unwrap();
    place.write("a", "2");
    let second = place.build(2, Some(reference(&first))).await.unwrap();
    let index = |built: &schemas::BuildResult| built.revision.as_ref().unwrap().index;
    let forwards = package::patch::PatchName::frames(index(&first), index(&second), 0).digest();
    let backwards = package::patch::PatchName::index(index(&second), index(&first)).digest();
    for patch in [forwards, backwards] {
        place.blobs.put(&Key::patch(place.store, patch), Bytes::from_static(b"patch")).await.unwrap();
    }
    let orphans = async |live: &[RevisionRef]| {
        let result = place.builder().collect(&task(&place, &[], live, true), &Context::detached()).await.unwrap();
        let is = |patch: Digest| result.orphans.iter().any(|orphan| orphan.object == format!("patches/{patch}"));
        (is(forwards), is(backwards))
    };
    assert_eq!(orphans(&[reference(&first), reference(&second)]).await, (false, true), "none leads backwards");
    assert_eq!(orphans(&[reference(&second)]).await, (true, true));
}

#[tokio::test]
async fn a_live_revision_that_cannot_be_read_makes_nothing_an_orphan() {
    for gone in [true, false] {
        let place = Place::new();
        place.write("a", "1");
        let first = place.build(1, None).await.unwrap();
        let header = Key::header(place.store, reference(&first).header);
        if gone {
            place.blobs.delete(&header).await.unwrap()
        } else {
            place.damage(header)
        }
        let task = task(&place, &[], &[reference(&first)], true);
        let Err(Ended::Fault(fault)) = place.builder().collect(&task, &Context::detached()).await else {
            panic!("it told of orphans")
        };
        assert!(!fault.permanent, "{fault}");
    }
}

#[tokio::test]
async fn nothing_outside_its_store_is_deleted() {
    let place = Place::new();
    place.write("a", "1");
    place.build(1, None).await.unwrap();
    let before = keys(&place).await;
    let digest = "0".repeat(64);
    for foreign in ["", "packs", "../x", "packs/../../x", &format!("packs/{digest}/x"), &format!("other/{digest}")] {
        let task = CollectTask { delete: vec![foreign.to_owned()], ..task(&place, &[], &[], false) };
        let Err(Ended::Fault(fault)) = place.builder().collect(&task, &Context::detached()).await else {
            panic!("{foreign}")
        };
        assert_eq!((fault.code.as_str(), fault.permanent), ("object-unknown", true), "{foreign}");
    }
    assert_eq!(keys(&place).await, before);
    assert!(place.blobs.size(&before[0]).await.unwrap().is_some());
}
