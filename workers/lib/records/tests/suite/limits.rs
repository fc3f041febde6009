use records::PlannedJob;
use schemas::{ContentSource, Lane, OriginRate, Priority, Task};

use super::{FLEET, Scene, build, failed, presence, send, sent, succeeded};

/// The fleet, with these limits of its distributor.
async fn limited(scene: &Scene, limits: &str) {
    scene.apply(&FLEET.replace("hq: { ", &format!("hq: {{ limits: {{ {limits} }}, "))).await;
}

async fn present(scene: &Scene, subscriber: &str) {
    scene.records.presence(&presence(subscriber)).await.unwrap();
}

fn published(publish: &[records::ToPublish]) -> Vec<schemas::JobId> {
    publish.iter().map(|message| message.job).collect()
}

pub async fn a_distributor_has_no_more_builds_out_than_it_may(scene: &Scene) {
    limited(scene, "concurrent_builds: 1").await;
    let (one, other) = (build("antivirus"), PlannedJob { priority: Priority::High, ..build("patches") });
    let (_, inserted) = scene.plan(&[one.clone(), other.clone()]).await;
    assert_eq!(published(&inserted.publish), [other.id], "the better head goes first");
    assert!(scene.sweep().await.publish.is_empty());
    let recorded = scene.report(&[failed(&other, 1, true)]).await;
    assert_eq!(published(&recorded.publish), [one.id], "its place goes on at once, into another lane");
}

pub async fn two_promoters_at_once_never_exceed_a_limit(scene: &Scene) {
    limited(scene, "concurrent_builds: 3").await;
    let inserts = (0..12).map(|i| {
        let (records, job) = (scene.records.clone(), build(&format!("d{i}")));
        let request = schemas::RequestId(uuid::Uuid::now_v7());
        tokio::spawn(async move { records.insert_step(request, &[job], &mut Default::default()).await.unwrap() })
    });
    let mut out = 0;
    for insert in inserts.collect::<Vec<_>>() {
        out += insert.await.unwrap().publish.len();
    }
    assert_eq!(out, 3);
    assert_eq!(scene.number("SELECT COUNT(*) FROM jobs WHERE state = 'queued'").await, 3);
}

pub async fn sends_are_counted_over_all_lanes_but_those_of_absent_sites(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    limited(scene, "concurrent_sends: 1").await;
    present(scene, "paris").await;
    present(scene, "lyon").await;
    let [paris, lyon, region] = ["paris", "lyon", "region"].map(|site| send(site, "antivirus", 1));
    let (_, inserted) = scene.plan(&[paris.clone(), lyon.clone(), region.clone()]).await;
    assert_eq!(published(&inserted.publish), [paris.id, region.id], "region never came: it delays nobody");
    assert!(scene.sweep().await.publish.is_empty());
    let recorded = scene.report(&[succeeded(&paris, sent())]).await;
    assert_eq!(published(&recorded.publish), [lyon.id]);
}

pub async fn a_full_distributor_holds_up_no_other_in_a_lane(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    scene.revision("patches", 1).await;
    limited(scene, "concurrent_sends: 1").await;
    present(scene, "paris").await;
    present(scene, "lyon").await;
    let first = send("lyon", "antivirus", 1);
    scene.plan(std::slice::from_ref(&first)).await;
    let blocked = PlannedJob { priority: Priority::High, ..send("paris", "antivirus", 1) };
    let others = PlannedJob { distributor: "lab".try_into().unwrap(), ..send("paris", "patches", 1) };
    let (_, inserted) = scene.plan(&[blocked.clone(), others.clone()]).await;
    assert_eq!(published(&inserted.publish), [others.id]);
    assert_eq!(
        inserted.publish[0].message.lane,
        Lane::site("paris".try_into().unwrap(), "protect".try_into().unwrap())
    );
    assert_eq!(scene.state(blocked.id).await, "waiting");
}

pub async fn a_raised_limit_is_found_by_the_sweeper(scene: &Scene) {
    limited(scene, "concurrent_builds: 1").await;
    scene.plan(&[build("antivirus"), build("patches")]).await;
    assert!(scene.sweep().await.publish.is_empty());
    limited(scene, "concurrent_builds: 2").await;
    assert_eq!(scene.sweep().await.publish.len(), 1);
}

pub async fn a_send_says_how_fast_it_may_leave_the_origin(scene: &Scene) {
    scene.revision("antivirus", 1).await;
    limited(scene, "rate: { high: 5000000, low: 7 }").await;
    for (site, priority, rate) in [("paris", Priority::High, Some(5_000_000)), ("lyon", Priority::Medium, None)] {
        let (_, inserted) = scene.plan(&[PlannedJob { priority, ..send(site, "antivirus", 1) }]).await;
        let Task::Send(task) = &inserted.publish[0].message.task else { panic!("not a send") };
        let distributor = || "hq".try_into().unwrap();
        let rate = rate.map(|bytes_per_s| OriginRate { distributor: distributor(), priority, bytes_per_s });
        assert_eq!(task.sources.last(), Some(&ContentSource::Origin { rate }), "{site}");
    }
}
