use records::{OnBad, PlannedJob, Template};
use schemas::definitions::Priority;

use super::{Scene, build, carried, extract, extracted, failed, send, sent, started, succeeded, wait};

/// Distributions enough for one lane, each with a revision on record.
async fn many(scene: &Scene, count: usize) -> Vec<PlannedJob> {
    let mut jobs = Vec::new();
    for i in 0..count {
        let name = format!("d{i}");
        scene.revision(&name, 1).await;
        jobs.push(send("paris", &name, 1));
    }
    jobs
}

pub async fn a_lane_gives_out_its_depth_and_the_rest_wait(scene: &Scene) {
    let jobs = many(scene, 5).await;
    let (_, inserted) = scene.plan(&jobs).await;
    assert_eq!(inserted.publish.len(), 2);
    assert_eq!(scene.number("SELECT COUNT(*) FROM jobs WHERE state = 'waiting' AND kind = 'send'").await, 3);
    let first = jobs.iter().find(|j| j.id == inserted.publish[0].job).unwrap();
    let recorded = scene.report(&[succeeded(first, sent())]).await;
    assert_eq!(recorded.publish.len(), 1);
    let numbers: Vec<u64> = inserted.publish.iter().chain(&recorded.publish).map(|message| message.seq.n).collect();
    assert_eq!(numbers, [1, 2, 3], "a lane counts its messages");
}

pub async fn priority_goes_before_age(scene: &Scene) {
    let mut jobs = many(scene, 4).await;
    scene.plan(&jobs[..3]).await;
    jobs[3].priority = Priority::High;
    scene.plan(&jobs[3..]).await;
    let recorded = scene.report(&[succeeded(&jobs[0], sent()), succeeded(&jobs[1], sent())]).await;
    let order: Vec<_> = recorded.publish.iter().map(|message| message.job).collect();
    assert_eq!(order, [jobs[3].id, jobs[2].id]);
}

pub async fn a_job_that_backs_off_does_not_hold_its_lane(scene: &Scene) {
    let jobs = many(scene, 3).await;
    scene.plan(&jobs).await;
    let recorded = scene.report(&[failed(&jobs[0], 1, false)]).await;
    assert_eq!(recorded.publish.iter().map(|m| m.job).collect::<Vec<_>>(), [jobs[2].id]);
    assert_eq!(scene.state(jobs[0].id).await, "waiting");
    assert_eq!(scene.number(&format!("SELECT attempt FROM jobs WHERE id = '{}'", jobs[0].id)).await, 2);
}

pub async fn revisions_of_one_distribution_keep_their_order(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    scene.revision("antivirus", 2).await;
    let (older, newer) = (send("paris", "antivirus", 1), send("paris", "antivirus", 2));
    scene.plan(std::slice::from_ref(&older)).await;
    scene.report(&[started(&older)]).await;
    scene.force("UPDATE tide_jobs SET created_ms = created_ms - 1000 WHERE state = 'running'").await;
    let (_, inserted) = scene.plan(std::slice::from_ref(&newer)).await;
    assert!(inserted.publish.is_empty(), "the older one is still under way");
    let recorded = scene.report(&[succeeded(&older, sent())]).await;
    assert_eq!(recorded.publish.len(), 1);
}

pub async fn planning_twice_makes_no_second_job(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    let request = scene.request().await;
    let job = send("paris", "antivirus", 1);
    let first = scene.insert(request, std::slice::from_ref(&job)).await;
    let second = scene.insert(request, std::slice::from_ref(&job)).await;
    assert_eq!((first.new, second.new), (1, 0));
    assert_eq!(scene.number("SELECT COUNT(*) FROM jobs WHERE kind = 'send'").await, 1);
    scene.records.planned(request, None).await.unwrap();
    assert_eq!(scene.records.request_status(request).await.unwrap().unwrap().jobs, 1);
}

pub async fn a_second_request_attaches_to_the_open_job(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    let job = send("paris", "antivirus", 1);
    let (first, _) = scene.plan(std::slice::from_ref(&job)).await;
    let (second, inserted) = scene.plan(&[send("paris", "antivirus", 1)]).await;
    assert_eq!((inserted.new, inserted.attached), (0, 1));
    scene.report(&[succeeded(&job, sent())]).await;
    for request in [first, second] {
        let status = scene.records.request_status(request).await.unwrap().unwrap();
        assert_eq!((status.state.as_str(), status.jobs), ("succeeded", 1));
    }
}

pub async fn a_build_that_reads_everything_attaches_to_none_that_does_not(scene: &Scene) {
    let reading_all = || {
        let job = build("antivirus");
        let Template::Build { store, of_type, sources, keep, send_on, .. } = job.template else { unreachable!() };
        PlannedJob { template: Template::Build { store, of_type, sources, read_all: true, keep, send_on }, ..job }
    };
    let attached = async |job: PlannedJob| scene.plan(std::slice::from_ref(&job)).await.1.attached;
    assert_eq!(attached(build("antivirus")).await, 0);
    assert_eq!(attached(build("antivirus")).await, 1);
    assert_eq!(attached(reading_all()).await, 0, "the open one trusts what looks unchanged");
    assert_eq!(attached(reading_all()).await, 1);
}

pub async fn a_newer_revision_supersedes_what_has_not_begun(scene: &Scene) {
    let first = many(scene, 2).await;
    scene.revision("antivirus", 1).await;
    scene.revision("antivirus", 2).await;
    scene.plan(&first).await;
    let older = send("paris", "antivirus", 1);
    let (request, inserted) = scene.plan(std::slice::from_ref(&older)).await;
    assert!(inserted.publish.is_empty(), "the lane is full");
    let (_, inserted) = scene.plan(&[send("paris", "antivirus", 2)]).await;
    assert_eq!(inserted.superseded, 1);
    assert_eq!(scene.state(older.id).await, "cancelled");
    assert_eq!(scene.records.request_status(request).await.unwrap().unwrap().state, "cancelled");
    let note = scene.text(&format!("SELECT note FROM jobs WHERE id = '{}'", older.id)).await;
    assert_eq!(note, "superseded by revision 2");
}

/// Two requests were planned while the build went on, the third after it; all their sends wait for the relay's.
pub async fn sends_that_give_way_leave_no_extract_in_the_others_way(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    let relay = send("region", "antivirus", 1);
    scene.plan(std::slice::from_ref(&relay)).await;
    let behind = |job: PlannedJob| PlannedJob { waits: vec![wait(&relay, OnBad::Proceed)], ..job };
    let mut requests = Vec::new();
    let mut sends = Vec::new();
    for revision in [None, None, Some(1)] {
        let job = behind(PlannedJob { revision, ..send("paris", "antivirus", 1) });
        scene.force("UPDATE tide_jobs SET created_ms = created_ms - 1000 WHERE subscriber = 'paris'").await;
        let (request, _) = scene.plan(&[job.clone(), carried(&job)]).await;
        requests.push(request);
        sends.push(job);
    }
    scene.report(&[succeeded(&relay, sent())]).await;
    for _ in &sends {
        scene.sweep().await;
    }
    let states = [scene.state(sends[0].id).await, scene.state(sends[1].id).await, scene.state(sends[2].id).await];
    assert_eq!(states, ["cancelled", "cancelled", "queued"], "an extract that lost its send stands in the way");
    scene.report(&[succeeded(&sends[2], sent())]).await;
    scene.sweep().await;
    let last = scene.text("SELECT id FROM jobs WHERE kind = 'extract' AND state = 'queued'").await;
    let extract = PlannedJob { id: last.parse().unwrap(), ..carried(&sends[2]) };
    scene.report(&[succeeded(&extract, extracted())]).await;
    scene.sweep().await;
    for request in requests {
        assert_eq!(scene.records.request_status(request).await.unwrap().unwrap().state, "succeeded");
    }
}

pub async fn a_paused_lane_gives_nothing_out_until_resumed(scene: &Scene) {
    let jobs = many(scene, 3).await;
    scene.plan(&jobs[..1]).await;
    let lane = &jobs[0].lane;
    assert!(scene.records.pause(lane, true).await.unwrap().known);
    let (_, inserted) = scene.plan(&jobs[1..]).await;
    assert!(inserted.publish.is_empty());
    assert!(scene.sweep().await.publish.is_empty());
    let resumed = scene.records.pause(lane, false).await.unwrap();
    assert_eq!(resumed.publish.len(), 1, "one is out already");
}

pub async fn two_insertions_at_once_never_overfill_a_lane(scene: &Scene) {
    let jobs = many(scene, 12).await;
    let inserts = jobs.into_iter().map(|job| {
        let records = scene.records.clone();
        let request = schemas::RequestId(uuid::Uuid::now_v7());
        tokio::spawn(async move { records.insert_step(request, &[job], &mut Default::default()).await.unwrap() })
    });
    let mut published = Vec::new();
    for insert in inserts.collect::<Vec<_>>() {
        published.extend(insert.await.unwrap().publish);
    }
    assert_eq!(published.len(), 2);
    let mut numbers: Vec<u64> = published.iter().map(|m| m.seq.n).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
}

/// A planner died after it had put the jobs into their lanes, and the request is planned once more.
pub async fn an_extract_of_a_plan_made_again_does_not_wait_for_the_ride_that_has_gone(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    // Somebody else's extract of the same was under way, so that the first plan's send went alone.
    let theirs = extract("paris", "antivirus", 1);
    scene.plan(std::slice::from_ref(&theirs)).await;
    let send = send("paris", "antivirus", 1);
    let plan = [send.clone(), carried(&send)];
    let request = scene.request().await;
    scene.insert(request, &plan).await;
    scene.report(&[succeeded(&theirs, extracted())]).await;
    scene.report(&[succeeded(&send, sent())]).await;
    let inserted = scene.insert(request, &plan).await;
    assert_eq!(inserted.publish.iter().map(|message| message.job).collect::<Vec<_>>(), [plan[1].id]);
    scene.report(&[succeeded(&plan[1], extracted())]).await;
    scene.records.planned(request, None).await.unwrap();
    assert_eq!(scene.text(&format!("SELECT state FROM requests WHERE id = '{request}'")).await, "succeeded");
}

pub async fn what_waits_is_not_handed_to_a_job_of_a_plan_made_again_that_is_over(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    let unfilled = || PlannedJob { revision: None, ..send("paris", "antivirus", 1) };
    let first = unfilled();
    let request = scene.request().await;
    scene.insert(request, std::slice::from_ref(&first)).await;
    scene.report(&[succeeded(&first, sent())]).await;
    // Two more wait for a build, as their plans found one.
    let build = build("antivirus");
    scene.plan(std::slice::from_ref(&build)).await;
    let (second, third) = (unfilled(), unfilled());
    for job in [&second, &third] {
        let waits = vec![wait(&build, OnBad::Proceed)];
        let job = PlannedJob { waits, id: job.id, ..unfilled() };
        scene.insert(scene.request().await, std::slice::from_ref(&job)).await;
        scene.force("UPDATE tide_jobs SET created_ms = created_ms - 1000").await;
    }
    let states = [scene.state(second.id).await, scene.state(third.id).await];
    scene.insert(request, std::slice::from_ref(&first)).await;
    assert_eq!([scene.state(second.id).await, scene.state(third.id).await], states);
}
