//! Sends on a schedule to a site that does not answer: one request is at work, one waits, whatever the schedule goes on to name.

use std::collections::BTreeSet;

use records::PlannedJob;
use schemas::Request;

use super::{FLEET, Scene, carried, send, sent, succeeded, synced};

const HOURS: i64 = 12;
const OPEN: &str = "SELECT COUNT(*) FROM requests WHERE origin = 'schedule' AND state = 'open'";

impl Scene {
    /// An hour later: what the schedule asks is planned for `revision`, and every site but paris does it. The sites asked for.
    async fn hour(&self, revision: u64) -> Option<BTreeSet<String>> {
        self.force("UPDATE tide_schedules SET next_due_ms = next_due_ms - 3600001, through_ms = through_ms - 3600001, anchor_ms = anchor_ms - 3600001 WHERE name = 'send/protect'").await;
        self.force("UPDATE tide_occurrences SET nominal_ms = nominal_ms - 3600001").await;
        // Nothing is as old as the last hour any more.
        self.force("UPDATE tide_requests SET created_ms = created_ms - 3600001").await;
        self.force("UPDATE tide_objects SET changed_ms = 1, activated_ms = 1").await;
        let fired = self.records.tick(&self.term().await).await.unwrap();
        let fired = fired.first()?;
        let body = self.text(&format!("SELECT body FROM requests WHERE id = '{}'", fired.request)).await;
        let asked: Request = serde_json::from_str(&body).unwrap();
        let mut sites: BTreeSet<String> = asked.selector.subscribers.iter().map(ToString::to_string).collect();
        if sites.is_empty() {
            sites = ["paris", "lyon"].map(str::to_owned).into();
        }
        let jobs: Vec<PlannedJob> = sites.iter().map(|site| send(site, "antivirus", revision)).collect();
        self.insert(fired.request, &jobs).await;
        self.records.planned(fired.request, None).await.unwrap();
        for job in jobs.iter().filter(|job| job.subscriber.as_ref().is_some_and(|site| site.as_str() != "paris")) {
            self.report(&[succeeded(job, sent())]).await;
        }
        Some(sites)
    }

    async fn schedule_of_sends(&self, subscriptions: &str) {
        let fleet = FLEET.replace("send: immediately", "send: { every: 1h }").replace("[paris, lyon]", subscriptions);
        self.apply(&fleet).await;
        self.revision("antivirus", 1).await;
        self.force("UPDATE tide_revisions SET created_ms = 1").await;
    }
}

pub async fn a_dead_site_has_one_request_at_work_and_one_that_waits(scene: &Scene) {
    scene.schedule_of_sends("[paris, lyon]").await;
    let mut asked = Vec::new();
    for _ in 0..HOURS {
        asked.push(scene.hour(1).await.expect("lyon lives"));
        assert!(scene.number(OPEN).await <= 2, "{asked:?}");
    }
    assert!(asked.iter().all(|sites| sites.contains("lyon")), "{asked:?}");
    assert_eq!(asked.iter().filter(|sites| sites.contains("paris")).count(), 2, "{asked:?}");
    assert_eq!(scene.number("SELECT COUNT(*) FROM jobs WHERE subscriber = 'paris'").await, 1);
    let ended = "SELECT COUNT(*) FROM requests WHERE origin = 'schedule' AND state = 'succeeded'";
    assert_eq!(scene.number(ended).await, HOURS - 2, "lyon's are over");
}

pub async fn what_is_new_takes_the_place_of_what_waits(scene: &Scene) {
    scene.schedule_of_sends("[paris, lyon]").await;
    for revision in 1..=6 {
        if revision > 1 {
            scene.revision("antivirus", revision).await;
        }
        let asked = scene.hour(revision).await.expect("lyon lives");
        assert!(asked.contains("paris"), "revision {revision} is new to it");
        assert!(scene.number(OPEN).await <= 2, "revision {revision}");
        scene.force("UPDATE tide_revisions SET created_ms = 1").await;
    }
    let newest = "SELECT MAX(revision) FROM jobs WHERE subscriber = 'paris' AND state IN ('waiting', 'queued')";
    assert_eq!(scene.number(newest).await, 6);
    let open = "SELECT COUNT(*) FROM jobs WHERE subscriber = 'paris' AND state IN ('waiting', 'queued', 'running')";
    assert!(scene.number(open).await <= 3, "two are handed out, the newest waits");
    // It comes back: everything ends, and with it both requests.
    scene.force("UPDATE tide_jobs SET state = 'succeeded', ended_ms = 1 WHERE state IN ('waiting', 'queued')").await;
    scene.sweep().await;
    assert_eq!(scene.number(OPEN).await, 0);
}

pub async fn where_no_other_site_is_asked_further_occurrences_join(scene: &Scene) {
    scene.schedule_of_sends("[paris]").await;
    let mut asked = Vec::new();
    for _ in 0..HOURS {
        asked.push(scene.hour(1).await.is_some());
    }
    assert_eq!(asked.iter().filter(|asked| **asked).count(), 2, "{asked:?}");
    let joined = "SELECT COUNT(*) FROM occurrences WHERE outcome = 'joined' AND state = 'open'";
    assert_eq!(scene.number(joined).await, HOURS - 2);
    assert_eq!(scene.number("SELECT COUNT(*) FROM requests WHERE origin = 'schedule'").await, 2);
    assert_eq!(scene.number("SELECT COUNT(*) FROM alerts").await, 0, "nothing is lost");
}

pub async fn syncs_to_a_dead_site_have_one_request_at_work_and_one_that_waits(scene: &Scene) {
    let fleet = FLEET.replacen("type: file,", "type: file, component: core,", 1);
    scene
        .apply(&format!(
            "{fleet}syncs: {{ s: {{ subscriber: paris, components: [core], schedule: {{ every: 1h }} }} }}\n"
        ))
        .await;
    scene.revision("antivirus", 1).await;
    let term = scene.term().await;
    let mut began = 0;
    for _ in 0..HOURS {
        scene.force("UPDATE tide_schedules SET next_due_ms = next_due_ms - 3600001, through_ms = through_ms - 3600001, anchor_ms = anchor_ms - 3600001 WHERE name = 'sync/s'").await;
        scene.force("UPDATE tide_occurrences SET nominal_ms = nominal_ms - 3600001").await;
        for fired in scene.records.tick(&term).await.unwrap() {
            let send = synced(send("paris", "antivirus", 1));
            scene.insert(fired.request, &[send.clone(), synced(carried(&send))]).await;
            scene.records.planned(fired.request, None).await.unwrap();
            began += 1;
        }
    }
    assert_eq!((began, scene.number(OPEN).await), (2, 2));
    assert_eq!(scene.number("SELECT COUNT(*) FROM occurrences WHERE outcome = 'joined'").await, HOURS - 2);
    assert_eq!(scene.number("SELECT COUNT(*) FROM jobs WHERE kind = 'send' AND subscriber = 'paris'").await, 1);
    scene.force("UPDATE tide_jobs SET state = 'succeeded', ended_ms = 1 WHERE state IN ('waiting', 'queued')").await;
    scene.sweep().await;
    assert_eq!(scene.number(OPEN).await, 0, "the site came back, and with it both end");
}

/// The same revision is being extracted by another lane when a send that waited for its revision gets it.
pub async fn a_revision_that_is_filled_in_finds_its_extract_under_way(scene: &Scene) {
    scene.schedule_of_sends("[paris]").await;
    let (_, inserted) = scene.plan(&[synced(super::extract("paris", "antivirus", 1))]).await;
    assert_eq!(inserted.publish.len(), 1);
    let mut again = send("paris", "antivirus", 1);
    again.revision = None;
    let mut extract = carried(&again);
    extract.revision = None;
    let (request, _) = scene.plan(&[again, extract]).await;
    let open = "SELECT COUNT(*) FROM jobs WHERE kind = 'extract' AND state IN ('waiting', 'queued', 'running')";
    assert_eq!(scene.number(open).await, 1, "the one that was there");
    let has = format!(
        "SELECT COUNT(*) FROM tide_request_jobs x JOIN tide_jobs j ON j.id = x.job_id WHERE x.request_id = '{request}' AND j.kind = 'extract' AND j.revision = 1"
    );
    assert_eq!(scene.number(&has).await, 1, "it does this request's work too");
}

/// Each occurrence that falls into a build leaves the revision open until a place in the lane is free, which it never is.
pub async fn sends_that_wait_for_their_revision_do_not_pile_up(scene: &Scene) {
    scene.schedule_of_sends("[paris]").await;
    scene.revision("patches", 1).await;
    // Both places of the lane are taken.
    scene.plan(&[send("paris", "antivirus", 1), send("paris", "patches", 1)]).await;
    let mut requests = Vec::new();
    for _ in 0..8 {
        let mut job = send("paris", "antivirus", 1);
        job.revision = None;
        let mut extract = carried(&job);
        extract.revision = None;
        requests.push(scene.plan(&[job, extract]).await.0);
        scene.force("UPDATE tide_jobs SET created_ms = created_ms - 1").await;
    }
    let open = |kind: &str| {
        format!(
            "SELECT COUNT(*) FROM jobs WHERE kind = '{kind}' AND subscriber = 'paris' AND distribution = 'antivirus' AND state IN ('waiting', 'queued')"
        )
    };
    assert_eq!(scene.number(&open("send")).await, 2, "the one that is out and the newest");
    assert!(scene.number(&open("extract")).await <= 2);
    for request in &requests {
        let state = format!("SELECT state FROM requests WHERE id = '{request}'");
        assert_eq!(scene.text(&state).await, "open", "it has the newest one");
    }
    scene.force("UPDATE tide_jobs SET state = 'succeeded', ended_ms = 1 WHERE state IN ('waiting', 'queued')").await;
    scene.sweep().await;
    for request in &requests {
        let state = format!("SELECT state FROM requests WHERE id = '{request}'");
        assert_eq!(scene.text(&state).await, "succeeded", "{request}");
    }
}
