//! Damaged in a relay's store, or where the relay reads from.

use std::sync::Arc;

use blobs::{Blobs, DiskBlobs, ReadBlobs};
use schemas::ContentSource;

use crate::fixture::{failed, sent};
use crate::kinds::{DAMAGES, Damage, NEEDED, Object, PATCHES};
use crate::relay::{Relay, damage_file, fill};
use crate::scene::{Case, Scene, assert_whole, given};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// While it serves.
    Running,
    /// Before it starts.
    Restarted,
}

/// A relay that holds the second revision of a case, but for this.
async fn damaged(
    scene: &Scene,
    case: &Case,
    object: Object,
    damage: Damage,
    when: When,
    upstream: Option<Arc<dyn ReadBlobs>>,
) -> Relay {
    fill(scene, case);
    let folder = scene.world.path(&format!("relay-{}", case.name));
    if when == When::Restarted {
        damage_file(&folder, case, object, damage);
    }
    let relay = Relay::start(scene, case, upstream).await;
    if when == When::Running {
        relay.has_served(case);
        damage_file(&folder, case, object, damage);
    }
    relay
}

/// Bytes of no frame: the file's first ones, and its last mark.
fn is_unnoticed(object: Object, damage: Damage, when: When) -> bool {
    let of_no_frame = matches!(damage, Damage::FlippedHead | Damage::FlippedTail);
    match when {
        When::Running => object == Object::Pack && of_no_frame,
        When::Restarted => object == Object::Pack && damage == Damage::FlippedTail,
    }
}

fn cases(objects: &[Object]) -> Vec<(Object, Damage, When)> {
    let of = |object| {
        DAMAGES.into_iter().flat_map(move |damage| [(object, damage, When::Running), (object, damage, When::Restarted)])
    };
    objects.iter().flat_map(|&object| of(object)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_in_a_relays_store_is_never_given_out_and_the_origin_gives_it() {
    let mut scene = Scene::new(None, 1).await;
    for (number, (object, damage, when)) in cases(&NEEDED).into_iter().enumerate() {
        let what = format!("{object:?} {damage:?} in the store of a relay, {when:?}");
        let case = scene.case(number).await;
        let relay = damaged(&scene, &case, object, damage, when, None).await;
        let is_unnoticed = is_unnoticed(object, damage, when);

        let report = scene.deliver(&case, &case.v2, &[relay.source()]).await;
        if is_unnoticed {
            assert_eq!(given(sent(&report), "region").1, 0, "{what}");
        } else {
            let fault = failed(&report);
            assert_eq!((fault.code.as_str(), fault.permanent), ("content-unreachable", false), "{what}: {fault}");
            assert!(fault.message.contains("region"), "{what}: {fault}");
            scene.assert_nothing_extracted(&case, &what);
        }
        scene.assert_nothing_damaged_is_held(&case, &what);

        let report = scene.deliver(&case, &case.v2, &[relay.source(), ContentSource::ORIGIN]).await;
        let result = sent(&report);
        assert_eq!(given(result, "region").1, 0, "a relay gave something damaged: {what}");
        let (from_origin, refused) = given(result, "origin");
        assert_eq!((from_origin > 0, refused), (!is_unnoticed, 0), "{what}: {:?}", result.sources);
        scene.assert_delivered(&case, &case.v2, &what);
        relay.end().await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_can_read_through_mends_its_store_and_gives_everything() {
    let mut scene = Scene::new(None, 3).await;
    let objects = [&NEEDED[..], &PATCHES].concat();
    for (number, (object, damage, when)) in cases(&objects).into_iter().enumerate() {
        let what = format!("{object:?} {damage:?} in the store of a relay with an origin, {when:?}");
        let case = scene.case(number).await;
        let upstream: Arc<dyn ReadBlobs> = Arc::new(scene.origin.clone());
        let relay = damaged(&scene, &case, object, damage, when, Some(upstream)).await;
        let report = scene.deliver(&case, &case.v2, &[relay.source()]).await;
        assert_eq!(given(sent(&report), "region").1, 0, "a relay gave something damaged: {what}");
        scene.assert_delivered(&case, &case.v2, &what);
        // A patch is looked for only where its base is held; what nobody read is still what it was.
        let was_read = !PATCHES.contains(&object) && !is_unnoticed(object, damage, when);
        let folder = relay.folder.clone();
        relay.end().await;
        if was_read {
            assert_whole(&folder, &case, &what);
        }
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_passes_nothing_on_that_is_damaged_where_it_reads_from() {
    let mut scene = Scene::new(None, 1).await;
    let objects = [&NEEDED[..], &PATCHES].concat();
    let cases = objects.into_iter().flat_map(|object| DAMAGES.into_iter().map(move |damage| (object, damage)));
    for (number, (object, damage)) in cases.enumerate() {
        let what = format!("{object:?} {damage:?} where a relay reads from");
        let case = scene.case(number).await;
        let bad = DiskBlobs::open(scene.world.path("bad")).unwrap();
        for key in case.keys() {
            bad.put(&key, case.bytes(key).into()).await.unwrap();
        }
        let key = case.key(object);
        match damage.done_to(&case.bytes(key), &case.swaps(object)) {
            Some(bytes) => bad.put(&key, bytes.into()).await.unwrap(),
            None => bad.delete(&key).await.unwrap(),
        }
        // With the first revision at hand the site asks for patches.
        scene.deliver(&case, &case.v1, &[ContentSource::ORIGIN]).await;
        let relay = Relay::start(&scene, &case, Some(Arc::new(bad))).await;
        let report = scene.deliver(&case, &case.v2, &[relay.source(), ContentSource::ORIGIN]).await;
        assert_eq!(given(sent(&report), "region").1, 0, "a relay passed something damaged on: {what}");
        scene.assert_delivered(&case, &case.v2, &what);
        let folder = relay.folder.clone();
        relay.end().await;
        assert_whole(&folder, &case, &what);
    }
    scene.end().await;
}
