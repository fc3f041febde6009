//! Messages of a lane: each has its effect once and is told of, whatever becomes of the site or of its work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use schemas::{Event, ExtractOutcome, JobMessage, Lane, QueueName, SendTask, Task};

use crate::fixture::gate::{gate, wait_until};
use crate::fixture::*;
use crate::published;

#[tokio::test]
async fn a_send_and_its_extract_end_in_two_reports_and_the_target_is_the_tree() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
    let report = world.end_of(job("a")).await;
    let result = sent(&report);
    assert_eq!((result.bytes_content, result.already_held), (20 * 20_000, false));
    assert_eq!(result.bytes_fetched, result.bytes_needed);
    assert_eq!(result.sources.len(), 1);
    assert_eq!((result.sources[0].source.as_str(), result.sources[0].bytes), ("origin", result.bytes_fetched));
    assert_eq!(report.worker, "paris");
    let report = world.end_of(job("a-extract")).await;
    assert_eq!(extracted(&report).outcome, ExtractOutcome::Installed);
    assert_eq!(content(&world.target()), content(&v1.tree));
    site.stop().await;
    assert!(world.rest().await.is_empty(), "each job is reported once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn work_longer_than_a_second_is_reported_as_started_and_its_message_is_not_held() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let (hold, held) = gate();
    let mut config = world.config();
    config.observe = Some(held);
    config.started_after = Duration::from_millis(300);
    let site = world.start_with(config);
    world.subscribe().await;
    world.publish(&send("a", 1, v1.store, v1.revision)).await;
    world.publish(&send("b", 2, v1.store, v1.revision)).await;
    let report = world.report().await;
    assert_eq!((report.job, &report.event), (job("a"), &Event::Started {}));
    assert!(report.at_ms + 300 <= worker::now_ms(), "it tells when the work began, not when that is told");
    let queue = QueueName::Site(paris(), protect());
    wait_until(async || queue::Queue::depth(&*world.queue, &queue).await.unwrap() == 1).await;
    hold.open();
    world.end_of(job("a")).await;
    world.end_of(job("b")).await;
    site.stop().await;
}

#[tokio::test]
async fn a_redelivered_message_has_its_effect_once_and_its_report_again() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let site = world.start();
    world.subscribe().await;
    let message = send_then_extract("a", 1, v1.store, v1.revision);
    world.publish(&message).await;
    let first = world.end_of(job("a")).await;
    world.end_of(job("a-extract")).await;
    world.publish(&message).await;
    let again = world.end_of(job("a")).await;
    assert_eq!(again.event, first.event, "the same report, figures and all: nothing was done again");
    let extract = world.end_of(job("a-extract")).await;
    assert_eq!(extracted(&extract).outcome, ExtractOutcome::Installed);
    site.stop().await;
}

#[tokio::test]
async fn a_message_older_than_its_lane_starts_nothing_and_is_given_back() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&send("a", 5, v1.store, v1.revision)).await;
    world.publish(&send("late", 4, v1.store, v1.revision)).await;
    let (mut ended, mut given_back) = (false, false);
    while !(ended && given_back) {
        let report = world.report().await;
        ended |= report.job == job("a") && report.event.is_terminal();
        given_back |= report.job == job("late") && report.event == Event::Yielded {};
        assert!(report.job == job("a") || report.event == Event::Yielded {}, "{report:?}");
    }
    // Under a number of its own it is done.
    world.publish(&send("late", 6, v1.store, v1.revision)).await;
    assert!(matches!(world.end_of(job("late")).await.event, Event::Succeeded { .. }));
    site.stop().await;
}

#[tokio::test]
async fn a_terminal_report_that_was_lost_is_sent_again_after_a_restart() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    std::fs::create_dir_all(world.path("site")).unwrap();
    let journal = subscriber::journal::Journal::open(&world.path("site/journal.sqlite")).await.unwrap();
    journal.admit(&send("a", 1, v1.store, v1.revision)).await.unwrap().durable().await.unwrap();
    journal.end(job("a"), &Event::Cancelled {}).await.unwrap().durable().await.unwrap();
    journal.close().await;
    let site = world.start();
    assert_eq!(world.end_of(job("a")).await.event, Event::Cancelled {});
    site.stop().await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&send("b", 2, v1.store, v1.revision)).await;
    assert_eq!(world.report().await.job, job("b"), "once confirmed it is not sent any more");
    site.stop().await;
}

#[tokio::test]
async fn the_fourth_try_of_a_job_is_reported_as_failed() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    std::fs::create_dir_all(world.path("site")).unwrap();
    let journal = subscriber::journal::Journal::open(&world.path("site/journal.sqlite")).await.unwrap();
    journal.admit(&send_then_extract("a", 1, v1.store, v1.revision)).await.unwrap().durable().await.unwrap();
    for _ in 0..3 {
        journal.begin(job("a")).await.unwrap();
    }
    journal.close().await;
    let site = world.start();
    let report = world.end_of(job("a")).await;
    assert_eq!(failed(&report).code, "too-many-tries");
    world.subscribe().await;
    let retry = JobMessage { attempt: 2, ..send("a", 2, v1.store, v1.revision) };
    world.publish(&retry).await;
    let report = world.end_of(job("a")).await;
    assert_eq!(report.attempt, 2);
    sent(&report);
    site.stop().await;
}

#[tokio::test]
async fn a_bad_message_is_dead_lettered_with_its_reason_and_the_lane_goes_on() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let site = world.start();
    world.subscribe().await;
    let good = send("a", 1, v1.store, v1.revision);
    let mut unknown = serde_json::to_value(&good).unwrap();
    unknown["schema"] = 99.into();
    let queue = || QueueName::Site(paris(), protect());
    for (body, code) in [
        (serde_json::to_vec(&unknown).unwrap(), "schema-unknown"),
        (b"{".to_vec(), "message-malformed"),
        (serde_json::to_vec(&for_lyon(&good)).unwrap(), "wrong-subscriber"),
        (
            serde_json::to_vec(&JobMessage { lane: Lane::site(paris(), "other".try_into().unwrap()), ..good.clone() })
                .unwrap(),
            "wrong-lane",
        ),
    ] {
        world.post(queue(), body.clone()).await;
        let (dead, reason) = world.dead_letter().await;
        assert_eq!((dead, reason.as_str()), (body, code));
    }
    world.publish(&good).await;
    sent(&world.end_of(job("a")).await);
    site.stop().await;
}

fn for_lyon(message: &JobMessage) -> JobMessage {
    let Task::Send(send) = message.task.clone() else { unreachable!() };
    let task = Task::Send(SendTask { subscriber: "lyon".try_into().unwrap(), ..send });
    JobMessage { task, ..message.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn past_the_drain_time_a_job_is_given_back_and_taken_again_later() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let (hold, held) = gate();
    let mut config = world.config();
    config.observe = Some(held);
    config.drain_time = Duration::from_millis(10);
    let site = world.start_with(config);
    world.subscribe().await;
    world.publish(&send("a", 1, v1.store, v1.revision)).await;
    hold.reached("download").await;
    site.stop().await;
    hold.open();
    assert_eq!(world.rest().await.pop().unwrap().event, Event::Yielded {});
    let journal = subscriber::journal::Journal::open(&world.path("site/journal.sqlite")).await.unwrap();
    assert!(journal.in_hand().await.unwrap().is_empty(), "it is forgotten here");
    journal.close().await;
    let site = world.start();
    world.publish(&send("a", 2, v1.store, v1.revision)).await;
    sent(&world.end_of(job("a")).await);
    site.stop().await;
}

#[tokio::test]
async fn work_that_panics_fails_its_attempt_and_the_lane_goes_on() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let mut config = world.config();
    let first = AtomicBool::new(true);
    config.observe = Some(Arc::new(move |step: &'static str| {
        let is_first = step == "download" && first.swap(false, Relaxed);
        assert!(!is_first, "this test's own panic");
        Ok(())
    }));
    let site = world.start_with(config);
    world.subscribe().await;
    world.publish(&send("a", 1, v1.store, v1.revision)).await;
    let fault = failed(&world.end_of(job("a")).await).clone();
    assert_eq!((fault.code.as_str(), fault.permanent), ("worker-panic", false));
    world.publish(&send("b", 2, v1.store, v1.revision)).await;
    assert_eq!(sent(&world.end_of(job("b")).await).bytes_content, 20 * 20_000);
    site.stop().await;
}
