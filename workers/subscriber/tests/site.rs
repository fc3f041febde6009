//! A site at work, with real parts around it.

mod fixture;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use fixture::gate::{gate, gate_at, wait_until};
use fixture::origin::{Published, tree};
use fixture::*;
use schemas::{Control, Event, ExtractOutcome, JobMessage, QueueName, Settings, Task};

/// Revision 1 of a small tree.
async fn published(world: &World) -> Published {
    let folder = tree(&world.path("v1"), 20, 20_000, 1);
    world.origin().publish(1, &folder, None).await
}

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

#[tokio::test]
async fn the_tree_that_the_second_revision_needs_is_made_behind_the_first_ones_back() {
    use std::os::unix::fs::MetadataExt;
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
    world.end_of(job("a-extract")).await;
    let standby = world.target().with_file_name(".antivirus.tidegate-standby");
    let inode = |tree: &std::path::Path| std::fs::metadata(tree.join("d1/f1.bin")).map(|meta| meta.ino()).ok();
    let whole = || std::fs::read_dir(&standby).is_ok() && content(&standby) == content(&v1.tree);
    tokio::time::timeout(fixture::PATIENCE, async {
        while !whole() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a standby tree");
    assert_eq!(inode(&standby), inode(&world.target()), "it shares its files");
    std::fs::write(v1.tree.join("d0/f0.bin"), fixture::origin::noise(20_000, 99)).unwrap();
    let v2 = world.origin().publish(2, &v1.tree, Some(&v1)).await;
    world.publish(&send_then_extract("b", 2, v2.store, v2.revision)).await;
    let report = world.end_of(job("b-extract")).await;
    assert_eq!((extracted(&report).files_written, extracted(&report).previous), (1, Some(1)));
    assert_eq!(content(&world.target()), content(&v2.tree));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_send_while_the_standby_tree_is_made_finds_what_stands_in_the_target() {
    let mut world = World::new().await;
    let folder = tree(&world.path("v1"), 1_500, 500, 1);
    let v1 = world.origin().publish(1, &folder, None).await;
    let changed = tree(&world.path("v2"), 1_500, 500, 1);
    std::fs::write(changed.join("d0/f0.bin"), fixture::origin::noise(500, 99)).unwrap();
    let v2 = world.origin().publish(2, &changed, Some(&v1)).await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
    world.end_of(job("a-extract")).await;
    let standby = world.target().with_file_name(".antivirus.tidegate-standby");
    tokio::time::timeout(fixture::PATIENCE, async {
        while !standby.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a standby tree begins");
    world.publish(&send_then_extract("b", 2, v2.store, v2.revision)).await;
    let report = world.end_of(job("b")).await;
    assert!(sent(&report).bytes_fetched < 100_000, "{:?}", sent(&report));
    world.end_of(job("b-extract")).await;
    assert_eq!(content(&world.target()), content(&v2.tree));
    site.stop().await;
}

#[tokio::test]
async fn only_missing_content_crosses_the_link() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let changed = tree(&world.path("v2"), 20, 20_000, 1);
    std::fs::write(changed.join("d0/f0.bin"), fixture::origin::noise(20_000, 99)).unwrap();
    let v2 = world.origin().publish(2, &changed, Some(&v1)).await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
    world.end_of(job("a-extract")).await;
    world.publish(&send_then_extract("b", 2, v2.store, v2.revision)).await;
    let report = world.end_of(job("b")).await;
    assert!(sent(&report).bytes_fetched < 30_000, "{:?}", sent(&report));
    world.end_of(job("b-extract")).await;
    assert_eq!(content(&world.target()), content(&v2.tree));
    world.publish(&send("c", 3, v2.store, v2.revision)).await;
    let report = world.end_of(job("c")).await;
    assert!(sent(&report).already_held && sent(&report).bytes_fetched == 0);
    site.stop().await;
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
            serde_json::to_vec(&JobMessage { lane: "site/paris/other".parse().unwrap(), ..good.clone() }).unwrap(),
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
    let task = Task::Send(schemas::SendTask { subscriber: "lyon".try_into().unwrap(), ..send });
    JobMessage { task, ..message.clone() }
}

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
async fn a_target_with_an_unknown_variable_or_in_anothers_fails_for_good() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let site = world.start();
    world.subscribe().await;
    let mut unknown = send_then_extract("a", 1, v1.store, v1.revision);
    unknown.then.as_mut().unwrap().task.target = "%NOBODY%/x".to_owned();
    world.publish(&unknown).await;
    let report = world.end_of(job("a-extract")).await;
    assert_eq!(failed(&report).code, "unknown-variable");
    assert!(failed(&report).permanent && failed(&report).message.contains("NOBODY"));
    let mut nested = send_then_extract("b", 2, v1.store, v1.revision);
    let others = [("tools".try_into().unwrap(), "%ROOT%".to_owned())];
    nested.then.as_mut().unwrap().task.other_targets = others.into();
    world.publish(&nested).await;
    assert_eq!(failed(&world.end_of(job("b-extract")).await).code, "targets-overlap");
    assert!(!world.target().exists(), "nothing is written");
    site.stop().await;
}

#[tokio::test]
async fn a_link_out_of_the_target_is_refused_unless_the_distribution_allows_it() {
    let mut world = World::new().await;
    let folder = tree(&world.path("v1"), 3, 100, 1);
    std::os::unix::fs::symlink("/etc/hostname", folder.join("out")).unwrap();
    let v1 = world.origin().publish(1, &folder, None).await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
    let report = world.end_of(job("a-extract")).await;
    assert!(failed(&report).permanent && failed(&report).message.contains("out"), "{report:?}");
    assert!(!world.target().exists(), "nothing is written");
    let mut allowed = send_then_extract("b", 2, v1.store, v1.revision);
    allowed.then.as_mut().unwrap().task.allow = vec![schemas::definitions::Allowance::LinkOut];
    world.publish(&allowed).await;
    assert_eq!(extracted(&world.end_of(job("b-extract")).await).outcome, ExtractOutcome::Installed);
    site.stop().await;
}

/// A site whose target is busy the first times that trees are to be exchanged.
fn busy_times(world: &World, times: u32) -> subscriber::Config {
    let left = Arc::new(std::sync::atomic::AtomicU32::new(times));
    let mut config = world.config();
    config.observe = Some(Arc::new(move |step: &'static str| {
        let one_less = |left: u32| left.checked_sub(1);
        let relaxed = std::sync::atomic::Ordering::SeqCst;
        match step == "swap" && left.fetch_update(relaxed, relaxed, one_less).is_ok() {
            true => Err(std::io::Error::from(rustix::io::Errno::BUSY)),
            false => Ok(()),
        }
    }));
    config
}

#[tokio::test]
async fn a_busy_target_is_tried_again_within_the_job_and_nobody_hears_of_it() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let site = world.start_with(busy_times(&world, 1));
    world.subscribe().await;
    world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
    let report = world.end_of(job("a-extract")).await;
    assert_eq!((extracted(&report).outcome, report.attempt), (ExtractOutcome::Installed, 1));
    assert_eq!(content(&world.target()), content(&v1.tree));
    site.stop().await;
}

#[tokio::test]
async fn a_target_that_stays_busy_fails_the_attempt_with_its_name() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let site = world.start_with(busy_times(&world, 100));
    world.subscribe().await;
    world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
    let report = world.end_of(job("a-extract")).await;
    let fault = failed(&report);
    assert_eq!((fault.code.as_str(), fault.permanent), ("target-locked", false));
    assert!(fault.message.contains(world.target().to_str().unwrap()), "{}", fault.message);
    assert!(!world.target().exists());
    site.stop().await;
}

#[tokio::test]
async fn work_that_panics_fails_its_attempt_and_the_lane_goes_on() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let mut config = world.config();
    let first = std::sync::atomic::AtomicBool::new(true);
    config.observe = Some(Arc::new(move |step: &'static str| {
        let is_first = step == "download" && first.swap(false, std::sync::atomic::Ordering::SeqCst);
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

#[tokio::test]
async fn a_job_that_would_go_below_the_free_space_floor_fails_early_with_the_figures() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let site = world.start();
    let mut settings = world.settings(1);
    settings.free_space_floor = Some(1 << 60);
    world.control(&Control::Settings(settings)).await;
    world.publish(&send("a", 1, v1.store, v1.revision)).await;
    let report = world.end_of(job("a")).await;
    assert_eq!(failed(&report).code, "free-space-floor");
    assert!(failed(&report).message.contains(&(1u64 << 60).to_string()));
    site.stop().await;
}

async fn set_floor(world: &World, version: u64, floor: u64) {
    world.control(&Control::Settings(Settings { free_space_floor: Some(floor), ..world.settings(version) })).await;
    while world.presence().await.settings_version != version {}
}

#[tokio::test]
async fn an_extract_that_would_go_below_the_floor_fails_before_it_writes_with_the_target_and_the_figures() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&send("a", 1, v1.store, v1.revision)).await;
    sent(&world.end_of(job("a")).await);
    set_floor(&world, 2, 1 << 60).await;
    world.publish(&send_then_extract("b", 2, v1.store, v1.revision)).await;
    let fault = failed(&world.end_of(job("b-extract")).await).clone();
    assert_eq!((fault.code.as_str(), fault.permanent), ("free-space-floor", false));
    let (target, needed) = (world.target().to_string_lossy().into_owned(), (20 * 20_000).to_string());
    let figures = [&target, &needed, &(1u64 << 60).to_string()];
    assert!(figures.iter().all(|figure| fault.message.contains(*figure)), "{fault}");
    assert!(!world.target().exists());
    site.stop().await;
}

#[tokio::test]
async fn an_extract_ends_when_the_room_falls_below_the_floor_while_it_writes() {
    let mut world = World::new().await;
    let v1 = world.origin().publish(1, &tree(&world.path("v1"), 400, 1_000, 1), None).await;
    let (gate, hold) = gate_at("file");
    let mut config = world.config();
    let files = AtomicU32::new(0);
    config.observe = Some(Arc::new(move |step| {
        if step == "file" && files.fetch_add(1, Relaxed) > 0 {
            hold(step)?;
            // A slow disk: some seconds for all of them.
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }));
    let site = world.start_with(config);
    world.subscribe().await;
    world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
    gate.reached("file").await;
    set_floor(&world, 2, 1 << 60).await;
    gate.open();
    let fault = failed(&world.end_of(job("a-extract")).await).clone();
    assert_eq!((fault.code.as_str(), fault.permanent), ("free-space-floor", false));
    assert!(!world.target().exists());
    set_floor(&world, 3, 0).await;
    world.publish(&send_then_extract("b", 2, v1.store, v1.revision)).await;
    extracted(&world.end_of(job("b-extract")).await);
    assert_eq!(content(&world.target()), content(&v1.tree), "it goes on when there is room");
    site.stop().await;
}

#[tokio::test]
async fn an_older_revision_than_the_installed_one_ends_superseded() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let v2 = world.origin().publish(2, &tree(&world.path("v2"), 20, 20_000, 2), Some(&v1)).await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&send_then_extract("b", 1, v2.store, v2.revision)).await;
    world.end_of(job("b-extract")).await;
    world.publish(&send_then_extract("a", 2, v1.store, v1.revision)).await;
    let report = world.end_of(job("a-extract")).await;
    assert_eq!(extracted(&report).outcome, ExtractOutcome::Superseded);
    assert_eq!(content(&world.target()), content(&v2.tree));
    site.stop().await;
}

#[tokio::test]
async fn content_that_the_store_lost_is_fetched_again_before_it_is_extracted() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&send("a", 1, v1.store, v1.revision)).await;
    world.end_of(job("a")).await;
    site.stop().await;
    std::fs::remove_dir_all(world.path("site/store")).unwrap();
    let site = world.start();
    let task = Task::Extract(extract_task(v1.store, v1.revision));
    world.publish(&JobMessage { task, ..send("b", 2, v1.store, v1.revision) }).await;
    assert_eq!(extracted(&world.end_of(job("b")).await).outcome, ExtractOutcome::Installed);
    assert_eq!(content(&world.target()), content(&v1.tree));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_transfers_of_a_site_together_keep_its_rate() {
    let mut world = World::new().await;
    let v1 = world.origin().publish(1, &tree(&world.path("v1"), 40, 100_000, 5), None).await;
    let site = world.start();
    let settings = schemas::Settings { rate_in: Some(4_000_000), ..world.settings(1) };
    world.control(&Control::Settings(settings)).await;
    let began = std::time::Instant::now();
    world.publish(&send("a", 1, v1.store, v1.revision)).await;
    let result = sent(&world.end_of(job("a")).await).clone();
    let took = began.elapsed();
    let least = Duration::from_secs_f64(result.bytes_fetched as f64 / 4e6) - Duration::from_millis(550);
    assert!(took > least, "{} bytes at 4,000,000 bytes/s took {took:?}", result.bytes_fetched);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distributors_rate_holds_for_what_comes_from_the_origin() {
    let mut world = World::new().await;
    let v1 = world.origin().publish(1, &tree(&world.path("v1"), 40, 100_000, 5), None).await;
    let site = world.start();
    world.subscribe().await;
    let message = send("a", 1, v1.store, v1.revision);
    let Task::Send(task) = message.task.clone() else { unreachable!() };
    let rate = schemas::OriginRate {
        distributor: "hq".try_into().unwrap(),
        priority: Default::default(),
        bytes_per_s: 4_000_000,
    };
    let task = schemas::SendTask { sources: vec![schemas::ContentSource::Origin { rate: Some(rate) }], ..task };
    let began = std::time::Instant::now();
    world.publish(&JobMessage { task: Task::Send(task), ..message }).await;
    let result = sent(&world.end_of(job("a")).await).clone();
    let least = Duration::from_secs_f64(result.bytes_fetched as f64 / 4e6) - Duration::from_millis(550);
    assert!(began.elapsed() > least, "{} bytes took {:?}", result.bytes_fetched, began.elapsed());
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
