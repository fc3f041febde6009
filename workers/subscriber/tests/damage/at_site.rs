//! Damaged in the site's own store, between the send and the extract.

use blobs::Blobs;
use schemas::{ContentSource, Event};

use crate::fixture::{extracted, failed};
use crate::kinds::{DAMAGES, Damage, NEEDED, Object};
use crate::relay::damage_file;
use crate::scene::Scene;

/// In a running site, whose tables know where each frame is: bytes of no frame are not looked at.
fn is_unnoticed(object: Object, damage: Damage) -> bool {
    object == Object::Pack && matches!(damage, Damage::FlippedHead | Damage::FlippedTail)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_before_the_extract_is_fetched_again_or_fails_and_is_never_extracted() {
    let mut scene = Scene::new(None, 1).await;
    let cases = NEEDED.into_iter().flat_map(|object| DAMAGES.into_iter().map(move |damage| (object, damage)));
    for (number, (object, damage)) in cases.enumerate() {
        let what = format!("{object:?} {damage:?} in the site's own store");
        let case = scene.case(number).await;
        scene.send(&case, &case.v2, &[ContentSource::ORIGIN]).await;
        damage_file(&scene.store_folder(), &case, object, damage);
        scene.origin.delete(&case.key(object)).await.unwrap();

        let report = scene.extract(&case, &case.v2).await;
        if is_unnoticed(object, damage) {
            extracted(&report);
            continue;
        }
        assert_eq!(failed(&report).code, "content-unreachable", "{what}");
        scene.assert_nothing_extracted(&case, &what);
        scene.assert_nothing_damaged_is_held(&case, &what);

        scene.mend(&case, object).await;
        let report = scene.extract(&case, &case.v2).await;
        assert!(matches!(report.event, Event::Succeeded { .. }), "{what}: {report:?}");
        scene.assert_delivered(&case, &case.v2, &what);
    }
    scene.end().await;
}
