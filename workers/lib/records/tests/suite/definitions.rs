use records::{Change, RecordsError};

use super::{FLEET, Scene, extract, extracted, send, sent, succeeded};

pub async fn apply_creates_changes_and_leaves_alone(scene: &Scene) {
    let first = scene.apply(FLEET).await;
    assert!(first.objects.iter().all(|o| o.change == Change::Created), "{first:?}");
    assert_eq!(first.requests.len(), 1, "hq refreshes immediately");
    let again = scene.apply(FLEET).await;
    assert!(again.objects.iter().all(|o| o.change == Change::Unchanged));
    assert_eq!(again.version, first.version);
    assert!(again.requests.is_empty());
    let changed = scene.apply(&FLEET.replace("every: 1h", "every: 2h")).await;
    let changes: Vec<_> = changed.objects.iter().filter(|o| o.change != Change::Unchanged).collect();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!((changes[0].name.as_str(), changes[0].change), ("patches", Change::Changed));
    let schedule = scene.text("SELECT spec FROM schedules WHERE schedule = 'build/patches'").await;
    assert!(schedule.contains("2h"), "{schedule}");
}

pub async fn an_apply_against_an_older_version_changes_nothing(scene: &Scene) {
    let fleet = scene.records.fleet().await.unwrap();
    let declared = domain::definitions::parse(&[("f.yaml".to_owned(), FLEET.to_owned())]).unwrap();
    let accepted = domain::definitions::validate(&declared, &fleet.definitions).unwrap();
    scene.apply("subscribers: { oslo: { extract: never } }").await;
    let error = scene.records.apply(&accepted, fleet.version, None).await.unwrap_err();
    assert!(matches!(error, RecordsError::Conflict { .. }), "{error}");
    assert_eq!(scene.number("SELECT COUNT(*) FROM channels").await, 0);
}

pub async fn a_renamed_distribution_keeps_its_store_and_history(scene: &Scene) {
    scene.apply(FLEET).await;
    let store = scene.records.fleet().await.unwrap().stores[&"antivirus".try_into().unwrap()];
    scene.revision("antivirus", 1).await;
    scene.force("UPDATE tide_jobs SET state = 'cancelled' WHERE state IN ('waiting', 'queued', 'running')").await;
    let renamed = FLEET
        .replace("  antivirus: { distributor", "  shield: { renamed_from: antivirus, distributor")
        .replace("[antivirus, patches]", "[shield, patches]");
    let applied = scene.apply(&renamed).await;
    assert!(applied.objects.iter().any(|o| o.name == "shield" && o.change == Change::Renamed), "{applied:?}");
    let fleet = scene.records.fleet().await.unwrap();
    assert_eq!(fleet.stores[&"shield".try_into().unwrap()], store);
    assert_eq!(scene.text("SELECT distribution FROM revisions").await, "shield");
}

pub async fn targets_that_never_tried_are_rows(scene: &Scene) {
    scene.apply(FLEET).await;
    let states = "SELECT COUNT(*) FROM deliveries WHERE state = 'not built'";
    assert_eq!(scene.number(states).await, 4);
    scene.revision("antivirus", 1).await;
    let never = "SELECT COUNT(*) FROM deliveries WHERE state = 'never tried' AND distribution = 'antivirus'";
    assert_eq!(scene.number(never).await, 2);
    let job = send("paris", "antivirus", 1);
    scene.plan(std::slice::from_ref(&job)).await;
    scene.report(&[succeeded(&job, sent())]).await;
    let job = extract("paris", "antivirus", 1);
    scene.plan(std::slice::from_ref(&job)).await;
    scene.report(&[succeeded(&job, extracted())]).await;
    assert_eq!(scene.number(never).await, 1);
    let paris = "SELECT state FROM deliveries WHERE subscriber = 'paris' AND distribution = 'antivirus'";
    assert_eq!(scene.text(paris).await, "current");
}

pub async fn deleting_an_object_cancels_its_open_jobs(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.revision("antivirus", 1).await;
    let job = send("paris", "antivirus", 1);
    let (request, _) = scene.plan(std::slice::from_ref(&job)).await;
    let fleet = scene.records.fleet().await.unwrap();
    let mut definitions = fleet.definitions.clone();
    definitions.subscribers.remove(&"paris".try_into().unwrap());
    let accepted = domain::definitions::Accepted { definitions, renames: vec![], warnings: vec![] };
    scene.records.apply(&accepted, fleet.version, None).await.unwrap();
    assert_eq!(scene.state(job.id).await, "cancelled");
    assert_eq!(scene.records.request_status(request).await.unwrap().unwrap().state, "cancelled");
    assert_eq!(scene.number("SELECT COUNT(*) FROM subscribers WHERE subscriber = 'paris'").await, 0);
}
