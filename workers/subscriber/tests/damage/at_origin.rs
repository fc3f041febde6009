//! Damaged at the origin, whole at the relay that is asked next.

use std::sync::Arc;

use blobs::Blobs;
use schemas::ContentSource;

use crate::fixture::{failed, sent};
use crate::kinds::{DAMAGES, Damage, NEEDED, Object, PATCHES};
use crate::relay::{Relay, fill};
use crate::scene::{Case, Scene, given};

/// What the next source has to give.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    WholeObject,
    OneFrame,
    WholePack,
}

struct Expected {
    /// Objects or frames that came and were refused.
    corrupt: u64,
    /// Of the fault, where nobody else has it: what it says beside its code.
    cause: &'static str,
    next: Next,
}

fn expected(object: Object, damage: Damage) -> Expected {
    let of = |corrupt, cause, next| Expected { corrupt, cause, next };
    match (object, damage) {
        (Object::Pack, Damage::Deleted) => of(0, "is not at origin", Next::WholePack),
        (_, Damage::Deleted) => of(0, "is not at origin", Next::WholeObject),
        (Object::Pack, Damage::FlippedHead | Damage::FlippedMiddle | Damage::FlippedTail) => {
            of(1, "from origin is damaged", Next::OneFrame)
        }
        // Every one of these is shorter than the pack: what was asked for lies beyond its end.
        (Object::Pack, Damage::Emptied | Damage::Truncated | Damage::AnotherRevisions | Damage::AnotherKinds) => {
            of(0, "asked for", Next::WholePack)
        }
        (_, _) => of(1, "from origin is damaged", Next::WholeObject),
    }
}

async fn needed_objects(origin: Option<Arc<dyn Blobs>>, damages: &[Damage], has_causes: bool) {
    let mut scene = Scene::new(origin, 1).await;
    let cases = NEEDED.into_iter().flat_map(|object| damages.iter().map(move |&damage| (object, damage)));
    for (number, (object, damage)) in cases.enumerate() {
        let what = format!("{object:?} {damage:?} at the origin");
        let case = scene.case(number).await;
        scene.damage(&case, object, damage).await;
        let Expected { corrupt, cause, next } = expected(object, damage);

        let report = scene.deliver(&case, &case.v2, &[ContentSource::ORIGIN]).await;
        let fault = failed(&report);
        assert_eq!((fault.code.as_str(), fault.permanent), ("content-unreachable", false), "{what}: {fault}");
        assert!(!has_causes || fault.message.contains(cause), "{what}: {fault}");
        assert!(fault.message.contains(&case.key(object).digest.to_string()), "{what}: {fault}");
        scene.assert_nothing_damaged_is_held(&case, &what);
        scene.assert_nothing_extracted(&case, &what);

        fill(&scene, &case);
        let relay = Relay::start(&scene, &case, None).await;
        let report = scene.deliver(&case, &case.v2, &[ContentSource::ORIGIN, relay.source()]).await;
        let result = sent(&report);
        let (_, refused) = given(result, "origin");
        // A bucket may also give nothing at all for a moment, which is no damage.
        assert!(refused == corrupt || !has_causes && refused < corrupt, "{what}: {:?}", result.sources);
        let bytes = match next {
            Next::WholeObject => case.bytes(case.key(object)).len() as u64,
            Next::OneFrame => case.frame_hit(damage),
            Next::WholePack => case.bytes_in(case.key(object)),
        };
        assert_eq!(given(result, "region"), (bytes, 0), "{what}: {:?}", result.sources);
        scene.assert_delivered(&case, &case.v2, &what);
        relay.end().await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_at_the_origin_is_refused_and_the_next_source_gives_just_that() {
    needed_objects(None, &DAMAGES, true).await;
}

#[cfg(feature = "services")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_in_a_bucket_is_refused_and_the_next_source_gives_just_that() {
    let server = testkit::s3::spawn().unwrap();
    let bucket = blobs::S3Blobs::open(server.config("origin")).await;
    bucket.ensure_bucket().await.unwrap();
    let damages =
        [Damage::Emptied, Damage::Truncated, Damage::FlippedMiddle, Damage::Deleted, Damage::AnotherRevisions];
    needed_objects(Some(Arc::new(bucket)), &damages, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_patch_costs_nothing_but_what_it_would_have_spared() {
    let mut scene = Scene::new(None, 1).await;
    let cases = PATCHES.into_iter().flat_map(|object| DAMAGES.into_iter().map(move |damage| (object, damage)));
    for (number, (object, damage)) in cases.enumerate() {
        let what = format!("{object:?} {damage:?} at the origin");
        let case = scene.case(number).await;
        scene.deliver(&case, &case.v1, &[ContentSource::ORIGIN]).await;
        scene.damage(&case, object, damage).await;
        let report = scene.deliver(&case, &case.v2, &[ContentSource::ORIGIN]).await;
        let (bytes, refused) = given(sent(&report), "origin");
        assert_eq!(refused, u64::from(damage != Damage::Deleted), "{what}: {:?}", sent(&report).sources);
        assert!(bytes > whole_instead(&case, object), "{what}: {bytes} bytes");
        scene.assert_delivered(&case, &case.v2, &what);
    }
    scene.end().await;
}

/// What has to come where the patch cannot be used.
fn whole_instead(case: &Case, object: Object) -> u64 {
    match object {
        Object::IndexPatch => case.bytes(case.v2.index_key()).len() as u64,
        _ => {
            let old = case.key(Object::Pack);
            let new = case.v2.index.packs.iter().find(|pack| pack.digest != old.digest).unwrap();
            case.bytes_in(blobs::Key::pack(case.store(), new.digest))
        }
    }
}
