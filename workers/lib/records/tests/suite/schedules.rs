use super::{FLEET, Scene};

pub async fn an_occurrence_fires_once(scene: &Scene) {
    scene.apply(FLEET).await;
    let term = scene.term().await;
    assert!(scene.records.tick(&term).await.unwrap().is_empty(), "nothing is due yet");
    scene.force("UPDATE tide_schedules SET anchor_ms = anchor_ms - 600000, next_due_ms = next_due_ms - 600000 WHERE name = 'build/antivirus'").await;
    let (a, b) = (scene.records.clone(), scene.records.clone());
    let (first, second) = tokio::join!(a.tick(&term), b.tick(&term));
    let fired: Vec<_> = first.unwrap().into_iter().chain(second.unwrap()).collect();
    assert_eq!(fired.len(), 1, "{fired:?}");
    assert_eq!(fired[0].schedule, "build/antivirus");
    let asked = "SELECT COUNT(*) FROM requests WHERE origin = 'schedule' AND kind = 'build'";
    assert_eq!(scene.number(asked).await, 1);
    assert!(scene.records.tick(&term).await.unwrap().is_empty());
}

pub async fn missed_occurrences_fire_once_under_the_latest_instant(scene: &Scene) {
    scene.apply(FLEET).await;
    let term = scene.term().await;
    let hour = 3_600_000;
    scene.force(&format!("UPDATE tide_schedules SET anchor_ms = anchor_ms - {hour} * 2, next_due_ms = next_due_ms - {hour} * 2 WHERE name = 'build/antivirus'")).await;
    let fired = scene.records.tick(&term).await.unwrap();
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0].missed, 11, "every ten minutes for two hours");
    assert!(scene.number("SELECT late_ms FROM occurrences").await < 600_000);
    let next = scene.number("SELECT next_due_ms FROM tide_schedules WHERE name = 'build/antivirus'").await;
    assert!(next > scene.records.now_ms().await.unwrap());
}
