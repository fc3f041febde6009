use records::{Activate, Change};
use schemas::name::Kind;
use schemas::{DistributionName, DistributorName, SubscriberName};

use super::{FLEET, Scene};

/// The fleet, with a distributor that is refreshed once a week.
fn weekly() -> String {
    FLEET.replace("hq: { ", "hq: { refresh: { every: 7d }, ")
}

fn antivirus() -> DistributionName {
    "antivirus".try_into().unwrap()
}

fn hq() -> DistributorName {
    "hq".try_into().unwrap()
}

async fn target_in_effect(scene: &Scene) -> String {
    scene.records.fleet_in_effect().await.unwrap().definitions.distributions[&antivirus()].target.clone()
}

pub async fn a_change_waits_for_its_distributors_refresh(scene: &Scene) {
    let first = scene.apply(&weekly()).await;
    assert!(first.waiting.is_empty() && first.requests.is_empty(), "what is new has nothing older: {first:?}");
    let before = target_in_effect(scene).await;
    let changed = weekly().replace("%DEST%/antivirus", "%DEST%/shield").replace("every: 10m", "every: 2h");
    let applied = scene.apply(&changed).await;
    assert!(applied.objects.iter().any(|o| o.name == "antivirus" && o.change == Change::Changed));
    assert_eq!(applied.waiting.len(), 1, "{:?}", applied.waiting);
    assert_eq!((applied.waiting[0].name.as_str(), &applied.waiting[0].waits_for), ("antivirus", &hq()));
    assert_eq!(target_in_effect(scene).await, before);
    let schedule = "SELECT spec FROM schedules WHERE schedule = 'build/antivirus'";
    assert!(scene.text(schedule).await.contains("10m"));
    let standing = scene.records.standing(Kind::Distribution, "antivirus").await.unwrap().unwrap();
    assert_eq!((standing.applied_version, standing.version_in_effect, standing.waits_for), (2, 1, Some(hq())));

    scene.records.activate(&[hq()]).await.unwrap();
    assert_eq!(target_in_effect(scene).await, "%DEST%/shield");
    assert!(scene.text(schedule).await.contains("2h"));
    let standing = scene.records.standing(Kind::Distribution, "antivirus").await.unwrap().unwrap();
    assert_eq!((standing.version_in_effect, standing.waits_for), (2, None));
    let version = scene.records.version_in_effect().await.unwrap();
    scene.records.activate(&[hq()]).await.unwrap();
    assert_eq!(scene.records.version_in_effect().await.unwrap(), version, "again, it changes nothing");
}

pub async fn what_a_refresh_puts_in_effect_is_built_again(scene: &Scene) {
    scene.apply(&weekly()).await;
    scene.revision("antivirus", 1).await;
    scene.apply(&weekly().replace("/srv/a", "/srv/other")).await;
    scene.force("UPDATE tide_objects SET changed_ms = changed_ms - 60000").await;
    assert!(!scene.records.changed_since_build(&antivirus()).await.unwrap(), "a build came after the apply");
    scene.records.activate(&[hq()]).await.unwrap();
    scene.force("UPDATE tide_objects SET activated_ms = activated_ms + 60000").await;
    assert!(scene.records.changed_since_build(&antivirus()).await.unwrap());
}

pub async fn a_refresh_has_nothing_to_do_until_somebody_applies(scene: &Scene) {
    let awaits = async || scene.records.awaits_refresh(&[hq()]).await.unwrap();
    scene.apply(FLEET).await;
    assert!(!awaits().await, "its changes wait for none");
    scene.apply(&weekly()).await;
    assert!(awaits().await);
    scene.records.activate(&[hq()]).await.unwrap();
    assert!(!awaits().await, "nothing was applied since");
    scene.apply(&weekly().replace("%DEST%/antivirus", "%DEST%/shield")).await;
    assert!(awaits().await);
    scene.records.activate(&[hq()]).await.unwrap();
    assert!(!awaits().await);
    assert_eq!(target_in_effect(scene).await, "%DEST%/shield");
}

pub async fn an_apply_may_put_everything_in_effect_itself(scene: &Scene) {
    scene.apply(&weekly()).await;
    scene.apply(&weekly().replace("%DEST%/antivirus", "%DEST%/shield")).await;
    let fleet = scene.records.fleet().await.unwrap();
    let accepted = domain::definitions::Accepted { definitions: fleet.definitions, renames: vec![], warnings: vec![] };
    let applied = scene.records.apply_and(&accepted, fleet.version, None, Activate::Now).await.unwrap();
    assert!(applied.waiting.is_empty() && applied.version == fleet.version);
    assert_eq!(applied.requests.len(), 1, "it asks for the refresh");
    assert_eq!(target_in_effect(scene).await, "%DEST%/shield");
}

pub async fn a_change_that_is_taken_back_waits_no_more(scene: &Scene) {
    scene.apply(&weekly()).await;
    scene.apply(&weekly().replace("%DEST%/antivirus", "%DEST%/shield")).await;
    assert!(scene.apply(&weekly()).await.waiting.is_empty());
    let standing = scene.records.standing(Kind::Distribution, "antivirus").await.unwrap().unwrap();
    assert_eq!((standing.applied_version, standing.version_in_effect, standing.waits_for), (3, 3, None));
}

pub async fn refreshing_at_once_puts_earlier_changes_in_effect_too(scene: &Scene) {
    scene.apply(&weekly()).await;
    let changed = weekly().replace("%DEST%/antivirus", "%DEST%/shield");
    scene.apply(&changed).await;
    let applied = scene.apply(&changed.replace("every: 7d", "every: 1d")).await;
    assert_eq!(applied.waiting.len(), 2, "the distributor waits as well: {:?}", applied.waiting);
    assert!(scene.text("SELECT spec FROM schedules WHERE schedule = 'refresh/hq'").await.contains("1d"));
    let applied = scene.apply(&changed.replace("refresh: { every: 7d }, ", "")).await;
    assert!(applied.waiting.is_empty() && applied.requests.len() == 1, "{applied:?}");
    assert_eq!(target_in_effect(scene).await, "%DEST%/shield");
}

pub async fn a_sites_settings_wait_for_those_that_serve_it(scene: &Scene) {
    let paris: SubscriberName = "paris".try_into().unwrap();
    let settings = async || -> schemas::Settings {
        let text = scene.records.query("SELECT settings FROM tide_settings WHERE subscriber = 'paris'").await.unwrap();
        serde_json::from_str(text.rows[0][0].as_str().unwrap()).unwrap()
    };
    scene.apply(&weekly()).await;
    let before = settings().await;
    assert_eq!(before.subscriber, paris);
    let changed =
        weekly().replace("paris: { parent: region, ", "paris: { parent: region, limits: { rate_in: 5 }, ").replace(
            "channels:\n",
            "channels:\n  more: { distributions: [patches], send: never, subscriptions: [paris] }\n",
        );
    scene.apply(&changed).await;
    let waiting = settings().await;
    assert_eq!(
        (waiting.rate_in, waiting.channels.len()),
        (None, before.channels.len() + 1),
        "channels are new at once"
    );
    scene.records.activate(&[hq()]).await.unwrap();
    let after = settings().await;
    assert_eq!(after.rate_in, Some(5));
    assert!(after.version > waiting.version, "else the site would take it for old");
}
