//! What is in force at a site: cancels, pauses, settings; and what it says of itself.

use schemas::{Control, Event, ExtractOutcome, JobMessage};

use crate::fixture::gate::{gate, gate_at};
use crate::fixture::*;
use crate::published;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_stops_a_running_job_at_its_next_safe_point() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let (hold, held) = gate();
    let mut config = world.config();
    config.observe = Some(held);
    let site = world.start_with(config);
    world.subscribe().await;
    world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
    hold.reached("download").await;
    world.control(&Control::Cancel { job: job("a") }).await;
    assert_eq!(world.end_of(job("a")).await.event, Event::Cancelled {});
    hold.open();
    site.stop().await;
    assert!(world.rest().await.is_empty(), "its extract was never begun");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancelled_extract_leaves_the_old_tree_and_after_the_swap_it_has_succeeded() {
    for (stop_at, cancelled) in [("stage", true), ("swapped", false)] {
        let mut world = World::new().await;
        let v1 = published(&world).await;
        let (hold, held) = gate_at(stop_at);
        let mut config = world.config();
        config.observe = Some(held);
        let site = world.start_with(config);
        world.subscribe().await;
        world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
        hold.reached(stop_at).await;
        world.control(&Control::Cancel { job: job("a-extract") }).await;
        world.control_is_done().await;
        hold.open();
        let report = world.end_of(job("a-extract")).await;
        if cancelled {
            assert_eq!(report.event, Event::Cancelled {});
            assert!(!world.target().exists());
        } else {
            assert_eq!(extracted(&report).outcome, ExtractOutcome::Installed);
            assert_eq!(content(&world.target()), content(&v1.tree));
        }
        site.stop().await;
    }
}

#[tokio::test]
async fn a_cancel_that_comes_before_its_job_ends_it_unstarted() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    world.control(&Control::Cancel { job: job("a") }).await;
    world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
    let site = world.start();
    world.subscribe().await;
    assert_eq!(world.end_of(job("a")).await.event, Event::Cancelled {});
    site.stop().await;
    assert!(!world.target().exists());
}

#[tokio::test]
async fn a_paused_lane_starts_nothing_until_it_is_resumed() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let site = world.start();
    world.control(&Control::Pause { lane: lane() }).await;
    world.subscribe().await;
    let mut presence = world.presence().await;
    while presence.settings_version == 0 {
        presence = world.presence().await;
    }
    world.publish(&send("a", 1, v1.store, v1.revision)).await;
    site.stop().await;
    let site = world.start();
    assert!(world.rest().await.is_empty());
    world.control(&Control::Resume { lane: lane() }).await;
    sent(&world.end_of(job("a")).await);
    site.stop().await;
}

#[tokio::test]
async fn presence_comes_at_once_and_lists_what_is_in_hand() {
    let world = World::new().await;
    let v1 = published(&world).await;
    std::fs::create_dir_all(world.path("site")).unwrap();
    let journal = subscriber::journal::Journal::open(&world.path("site/journal.sqlite")).await.unwrap();
    journal.admit(&send("a", 1, v1.store, v1.revision)).await.unwrap().durable().await.unwrap();
    journal.set_paused(&lane(), true).await.unwrap();
    journal.close().await;
    let site = world.start();
    let presence = world.presence().await;
    assert_eq!(presence.open_jobs, [schemas::OpenJob { job: job("a"), attempt: 1 }]);
    assert_eq!((presence.subscriber, presence.public_key.len(), presence.url), (paris(), 64, None));
    site.stop().await;
}

#[tokio::test]
async fn settings_that_come_with_a_job_are_in_force_for_it() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let site = world.start();
    world.subscribe().await;
    let mut newer = world.settings(2);
    newer.variables.insert("ROOT".to_owned(), world.path("elsewhere").to_string_lossy().into_owned());
    let message = JobMessage { settings: Some(newer), ..send_then_extract("a", 1, v1.store, v1.revision) };
    world.publish(&message).await;
    let report = world.end_of(job("a-extract")).await;
    assert_eq!(extracted(&report).target, world.path("elsewhere/antivirus").to_string_lossy());
    site.stop().await;
}

#[tokio::test]
async fn settings_say_at_once_how_the_process_is_to_log() {
    let world = World::new().await;
    let (told, mut wanted) = tokio::sync::watch::channel(subscriber::LogWanted::default());
    let site = world.start_with(subscriber::Config { log: Some(told), ..world.config() });
    let settings = schemas::Settings {
        console_level: Some("warn".into()),
        log_level: Some("debug".into()),
        log_path: Some("%WORKING_PATH%/site.log".into()),
        ..world.settings(1)
    };
    world.control(&Control::Settings(settings)).await;
    let wanted = tokio::time::timeout(PATIENCE, wanted.wait_for(|wanted| wanted.file.is_some())).await;
    let wanted = wanted.expect("it is told in time").unwrap().clone();
    assert_eq!((wanted.console_level.as_deref(), wanted.file_level.as_deref()), (Some("warn"), Some("debug")));
    assert_eq!(wanted.file, Some(world.path("site/site.log")));
    site.stop().await;
}
