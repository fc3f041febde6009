use records::OnBad;
use schemas::{JobResult, Report, SendResult};

use super::{FLEET, Scene, build, built, carried, extracted, failed, report, send, sent, started, succeeded, wait};

pub async fn success_records_what_the_site_holds(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.revision("antivirus", 1).await;
    let send = send("paris", "antivirus", 1);
    let extract = carried(&send);
    scene.plan(&[send.clone(), extract.clone()]).await;
    scene.report(&[succeeded(&send, sent())]).await;
    assert_eq!(scene.state(extract.id).await, "queued", "it travelled with its send and is at the site");
    scene.report(&[succeeded(&extract, extracted())]).await;
    let row = "SELECT stored_revision * 10 + extracted_revision FROM deliveries WHERE subscriber = 'paris' AND distribution = 'antivirus'";
    assert_eq!(scene.number(row).await, 11);
    assert_eq!(scene.text("SELECT subscriber FROM installed").await, "paris");
}

pub async fn a_rollbacks_send_takes_nothing_newer_from_what_is_stored(scene: &Scene) {
    scene.apply(FLEET).await;
    for number in 1..=3 {
        scene.revision("antivirus", number).await;
    }
    let stored = "SELECT stored_revision FROM deliveries WHERE subscriber = 'paris' AND distribution = 'antivirus'";
    for (number, as_of_ms, held, expected) in
        [(3, 10, vec![1, 2, 3], 3), (1, 20, vec![1, 2, 3], 3), (1, 30, vec![1], 1)]
    {
        let job = send("paris", "antivirus", number);
        scene.plan(std::slice::from_ref(&job)).await;
        let held = Some(schemas::HeldRevisions { as_of_ms, revisions: held });
        let result = JobResult::Send(SendResult { held, ..SendResult::default() });
        scene.report(&[succeeded(&job, result)]).await;
        assert_eq!(scene.number(stored).await, expected, "after a send of {number} as of {as_of_ms}");
    }
}

pub async fn reports_in_any_order_end_in_the_same_rows(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.revision("antivirus", 1).await;
    let mut ends = Vec::new();
    for (subscriber, order) in [("paris", [0, 1, 2, 3]), ("lyon", [3, 2, 1, 0]), ("region", [2, 0, 3, 1])] {
        let send = send(subscriber, "antivirus", 1);
        let extract = carried(&send);
        scene.plan(&[send.clone(), extract.clone()]).await;
        let reports: [Report; 4] =
            [started(&send), succeeded(&send, sent()), started(&extract), succeeded(&extract, extracted())];
        for i in order {
            scene.report(std::slice::from_ref(&reports[i])).await;
        }
        ends.push((scene.state(send.id).await, scene.state(extract.id).await));
    }
    assert!(ends.iter().all(|end| *end == ("succeeded".into(), "succeeded".into())), "{ends:?}");
    let held = "SELECT COUNT(*) FROM tide_holdings WHERE stored_revision = 1 AND extracted_revision = 1";
    assert_eq!(scene.number(held).await, 3);
}

pub async fn a_late_report_of_an_ended_job_changes_nothing(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    let job = send("paris", "antivirus", 1);
    scene.plan(std::slice::from_ref(&job)).await;
    scene.report(&[succeeded(&job, sent())]).await;
    let before = scene.text(&format!("SELECT ended_at FROM jobs WHERE id = '{}'", job.id)).await;
    let recorded = scene
        .report(&[
            failed(&job, 1, true),
            started(&job),
            report(&job, 1, schemas::Event::Cancelled {}),
            succeeded(&job, sent()),
        ])
        .await;
    assert_eq!((recorded.applied, recorded.ignored), (0, 4));
    assert_eq!(scene.state(job.id).await, "succeeded");
    assert_eq!(scene.text(&format!("SELECT ended_at FROM jobs WHERE id = '{}'", job.id)).await, before);
}

pub async fn failure_of_an_older_attempt_is_ignored(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    let job = send("paris", "antivirus", 1);
    scene.plan(std::slice::from_ref(&job)).await;
    scene.report(&[failed(&job, 1, false)]).await;
    let recorded = scene.report(&[failed(&job, 1, true)]).await;
    assert_eq!(recorded.ignored, 1);
    assert_eq!(scene.state(job.id).await, "waiting");
    scene.report(&[succeeded(&job, sent())]).await;
    assert_eq!(scene.state(job.id).await, "succeeded", "success counts from any attempt");
}

pub async fn a_failed_send_takes_its_extract_with_it(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    let send = send("paris", "antivirus", 1);
    let extract = carried(&send);
    let (request, _) = scene.plan(&[send.clone(), extract.clone()]).await;
    scene.report(&[failed(&send, 1, true)]).await;
    assert_eq!(scene.state(extract.id).await, "failed");
    let code = scene.text(&format!("SELECT error_code FROM jobs WHERE id = '{}'", extract.id)).await;
    assert_eq!(code, "awaited-failed");
    assert_eq!(scene.records.request_status(request).await.unwrap().unwrap().state, "failed");
}

pub async fn a_child_proceeds_when_its_parents_send_fails(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    let parent = send("region", "antivirus", 1);
    let mut child = send("paris", "antivirus", 1);
    child.waits.push(wait(&parent, OnBad::Proceed));
    let (_, inserted) = scene.plan(&[parent.clone(), child.clone()]).await;
    assert_eq!(inserted.publish.iter().map(|m| m.job).collect::<Vec<_>>(), [parent.id]);
    let waits = format!("SELECT awaited_id FROM waits WHERE job_id = '{}'", child.id);
    assert_eq!(scene.text(&waits).await, parent.id.to_string());
    let recorded = scene.report(&[failed(&parent, 1, true)]).await;
    assert_eq!(recorded.publish.iter().map(|m| m.job).collect::<Vec<_>>(), [child.id]);
}

pub async fn a_second_start_in_a_lane_waits_on_record(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    scene.revision("patches", 1).await;
    let (first, second) = (send("paris", "antivirus", 1), send("paris", "patches", 1));
    scene.plan(&[first.clone(), second.clone()]).await;
    // The second one's start is recorded before the first one's end.
    scene.report(&[started(&first)]).await;
    scene.report(&[started(&second)]).await;
    assert_eq!((scene.state(first.id).await, scene.state(second.id).await), ("running".into(), "queued".into()));
    scene.report(&[succeeded(&second, sent()), succeeded(&first, sent())]).await;
    assert_eq!((scene.state(first.id).await, scene.state(second.id).await), ("succeeded".into(), "succeeded".into()));
}

pub async fn a_new_revision_asks_for_its_sends_in_the_same_transaction(scene: &Scene) {
    let job = build("antivirus");
    scene.plan(std::slice::from_ref(&job)).await;
    let recorded = scene.report(&[succeeded(&job, built("antivirus", 1))]).await;
    assert_eq!(recorded.requests, 1);
    scene.report(&[succeeded(&job, built("antivirus", 1))]).await;
    let asked = "SELECT COUNT(*) FROM requests WHERE origin = 'revision' AND kind = 'send'";
    assert_eq!(scene.number(asked).await, 1);
}

pub async fn the_last_two_jobs_of_a_request_ending_at_once_complete_it(scene: &Scene) {
    for round in 0..10 {
        let name = format!("d{round}");
        scene.revision(&name, 1).await;
        let (one, two) = (send("paris", &name, 1), send("lyon", &name, 1));
        let (request, _) = scene.plan(&[one.clone(), two.clone()]).await;
        let (a, b) = (scene.records.clone(), scene.records.clone());
        let ends = [succeeded(&one, sent()), succeeded(&two, sent())];
        let (first, second) = tokio::join!(a.record(&ends[..1]), b.record(&ends[1..]));
        first.and(second).unwrap();
        assert_eq!(scene.records.request_status(request).await.unwrap().unwrap().state, "succeeded");
    }
}

pub async fn a_sync_beside_a_send_of_the_same_revision_ends_with_it(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    let first = send("paris", "antivirus", 1);
    let first_extract = carried(&first);
    scene.plan(&[first.clone(), first_extract.clone()]).await;
    // In another lane, and with the revision left open: only its promotion finds out that they are the same.
    let mut second = send("paris", "antivirus", 1);
    second.lane = "site/paris/sync".parse().unwrap();
    second.revision = None;
    let mut second_extract = carried(&second);
    second_extract.lane = second.lane.clone();
    let (request, inserted) = scene.plan(&[second.clone(), second_extract.clone()]).await;
    assert!(inserted.publish.is_empty(), "nothing travels twice");
    assert_eq!(scene.state(second_extract.id).await, "waiting", "for the first one's send");
    scene.report(&[succeeded(&first, sent())]).await;
    scene.report(&[succeeded(&first_extract, extracted())]).await;
    scene.sweep().await;
    let status = scene.records.request_status(request).await.unwrap().unwrap();
    assert_eq!(status.state, "succeeded");
}
