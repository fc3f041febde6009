use records::{OnBad, RecordsError, Thresholds};
use schemas::{Control, JobProgress, OpenJob, Presence};

use super::{FLEET, Scene, build, presence, send, sent, started, succeeded, wait};

fn with_open(subscriber: &str, open: &[OpenJob]) -> Presence {
    Presence { open_jobs: open.to_vec(), ..presence(subscriber) }
}

/// The recorder has been listening for an hour, and everything is recorded.
async fn listening(scene: &Scene) {
    scene.records.heard(None, 10_000).await.unwrap();
    scene.force("UPDATE tide_meta SET number = number - 3600000 WHERE name = 'listening_since_ms'").await;
}

pub async fn a_lost_wake_up_is_found_by_query(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    scene.revision("patches", 1).await;
    let (first, second) = (send("paris", "antivirus", 1), send("paris", "patches", 1));
    let mut third = send("paris", "antivirus", 1);
    third.lane = first.lane.clone();
    scene.plan(&[first.clone(), second.clone()]).await;
    // Somebody ended them and died before it promoted.
    scene.revision("other", 1).await;
    let waiting = send("paris", "other", 1);
    scene.plan(std::slice::from_ref(&waiting)).await;
    scene.force("UPDATE tide_jobs SET state = 'succeeded', ended_ms = 1 WHERE state = 'queued'").await;
    assert_eq!(scene.state(waiting.id).await, "waiting");
    let swept = scene.sweep().await;
    assert_eq!(swept.publish.iter().map(|m| m.job).collect::<Vec<_>>(), [waiting.id]);
    assert!(swept.completed > 0, "and their requests are over");
}

pub async fn a_builder_past_its_lease_loses_the_job(scene: &Scene) {
    let job = build("antivirus");
    scene.plan(std::slice::from_ref(&job)).await;
    scene.report(&[started(&job)]).await;
    listening(scene).await;
    assert_eq!(scene.sweep().await.lost, 0);
    scene.force("UPDATE tide_jobs SET lease_until_ms = 1").await;
    let swept = scene.sweep().await;
    assert_eq!(swept.lost, 1);
    assert_eq!(scene.number(&format!("SELECT attempt FROM jobs WHERE id = '{}'", job.id)).await, 2);
    // The first builder lives after all: its success counts, once.
    scene.report(&[succeeded(&job, super::built("antivirus", 1))]).await;
    assert_eq!(scene.state(job.id).await, "succeeded");
}

pub async fn an_outage_of_the_recorder_longer_than_every_lease_kills_no_healthy_work(scene: &Scene) {
    let job = build("antivirus");
    scene.plan(std::slice::from_ref(&job)).await;
    scene.report(&[started(&job)]).await;
    scene.force("UPDATE tide_jobs SET lease_until_ms = 1").await;
    // Nobody has recorded anything for an hour: nothing is judged later than that.
    scene.force("UPDATE tide_meta SET number = 0 WHERE name IN ('reports_through_ms', 'heard_ms')").await;
    assert_eq!(scene.sweep().await.lost, 0);
    // It is back, and hears the builder's next sign of life before it judges.
    scene.records.heard(None, 10_000).await.unwrap();
    assert_eq!(scene.sweep().await.lost, 0);
    let progress = JobProgress {
        job: job.id,
        attempt: 1,
        step: "read".into(),
        files_done: 1,
        files_total: 2,
        bytes_done: 1,
        bytes_total: 2,
    };
    scene.records.progress("builder@here:1", &[progress]).await.unwrap();
    scene.force("UPDATE tide_meta SET number = number - 3600000 WHERE name = 'listening_since_ms'").await;
    assert_eq!(scene.sweep().await.lost, 0);
    assert_eq!(scene.state(job.id).await, "running");
}

pub async fn a_job_that_its_site_does_not_list_is_published_again(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.revision("antivirus", 1).await;
    scene.revision("patches", 1).await;
    let (lost, held) = (send("paris", "antivirus", 1), send("lyon", "antivirus", 1));
    scene.plan(&[lost.clone(), held.clone()]).await;
    scene.force("UPDATE tide_jobs SET published_ms = 1000 WHERE state = 'queued'").await;
    let open = [OpenJob { job: held.id, attempt: 1 }];
    for _ in 0..2 {
        assert_eq!(scene.sweep().await.again, 0, "one presence is not enough");
        scene.records.presence(&with_open("paris", &[])).await.unwrap();
        scene.records.presence(&with_open("lyon", &open)).await.unwrap();
        listening(scene).await;
    }
    let swept = scene.sweep().await;
    assert_eq!(swept.again, 1);
    assert_eq!(swept.publish.iter().map(|m| (m.job, m.message.attempt)).collect::<Vec<_>>(), [(lost.id, 1)]);
}

pub async fn a_job_that_waits_behind_a_download_in_progress_is_left_alone(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.revision("antivirus", 1).await;
    scene.revision("patches", 1).await;
    let (running, behind) = (send("paris", "antivirus", 1), send("paris", "patches", 1));
    scene.plan(&[running.clone(), behind]).await;
    scene.force("UPDATE tide_jobs SET published_ms = 1000 WHERE state = 'queued'").await;
    for _ in 0..2 {
        let open = [OpenJob { job: running.id, attempt: 1 }];
        scene.records.presence(&with_open("paris", &open)).await.unwrap();
        listening(scene).await;
    }
    assert_eq!(scene.sweep().await.again, 0);
    for _ in 0..2 {
        scene.records.presence(&with_open("paris", &[])).await.unwrap();
        listening(scene).await;
    }
    assert_eq!(scene.sweep().await.again, 2, "now neither is there");
}

pub async fn a_site_that_lost_its_settings_is_told_them_again(scene: &Scene) {
    scene.apply(FLEET).await;
    let mut paris = presence("paris");
    let owed = async || {
        let owed = scene.records.settings_to_send().await.unwrap();
        owed.into_iter().find(|control| control.subscriber == "paris".try_into().unwrap())
    };
    let Some(told) = owed().await else { panic!("its first settings") };
    let Control::Settings(settings) = &told.control else { panic!("{told:?}") };
    scene.records.controls_sent(&scene.term().await, std::slice::from_ref(&told)).await.unwrap();
    paris.settings_version = settings.version;
    scene.records.presence(&paris).await.unwrap();
    assert!(owed().await.is_none(), "it has them");
    paris.settings_version = 0;
    scene.records.presence(&paris).await.unwrap();
    assert_eq!(owed().await.map(|again| again.control), Some(told.control));
}

pub async fn a_silent_parent_is_passed_by(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.revision("antivirus", 1).await;
    let parent = send("region", "antivirus", 1);
    let mut child = send("paris", "antivirus", 1);
    child.waits.push(wait(&parent, OnBad::Proceed));
    scene.plan(&[parent, child.clone()]).await;
    scene.records.presence(&with_open("region", &[])).await.unwrap();
    listening(scene).await;
    assert!(scene.sweep().await.publish.is_empty());
    scene.force("UPDATE tide_sites SET presence_ms = presence_ms - 400000").await;
    let swept = scene.sweep().await;
    assert_eq!(swept.silent, 1);
    assert_eq!(swept.publish.iter().map(|m| m.job).collect::<Vec<_>>(), [child.id]);
}

pub async fn a_stale_leader_changes_nothing(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    let job = send("paris", "antivirus", 1);
    let (request, _) = scene.plan(std::slice::from_ref(&job)).await;
    let old = scene.records.lead("scheduler", "first", 60_000).await.unwrap().unwrap();
    scene.force("UPDATE tide_leases SET until_ms = 1").await;
    let new = scene.records.lead("scheduler", "second", 60_000).await.unwrap().unwrap();
    assert!(new.term > old.term);
    scene.force("UPDATE tide_jobs SET state = 'succeeded', ended_ms = 1 WHERE kind = 'send'").await;
    let error = scene.records.sweep(&old, &Thresholds::default()).await.unwrap_err();
    assert!(matches!(error, RecordsError::Fenced), "{error}");
    assert_eq!(scene.records.request_status(request).await.unwrap().unwrap().state, "open");
    scene.records.sweep(&new, &Thresholds::default()).await.unwrap();
    assert_eq!(scene.records.request_status(request).await.unwrap().unwrap().state, "succeeded");
    let _ = sent();
}

pub async fn a_lease_is_taken_over_only_after_its_end(scene: &Scene) {
    let first = scene.records.lead("scheduler", "first", 60_000).await.unwrap().unwrap();
    assert!(scene.records.lead("scheduler", "second", 60_000).await.unwrap().is_none());
    let renewed = scene.records.lead("scheduler", "first", 60_000).await.unwrap().unwrap();
    assert_eq!(renewed.term, first.term);
    scene.records.resign(&first).await.unwrap();
    let second = scene.records.lead("scheduler", "second", 60_000).await.unwrap().unwrap();
    assert_eq!(second.term, first.term + 1);
    assert!(scene.records.lead("scheduler", "first", 60_000).await.unwrap().is_none());
}
