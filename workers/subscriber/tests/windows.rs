//! Work whose window ends while it runs: it stops, keeps what it has, and goes on with what is lacking.

mod fixture;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use fixture::gate::{gate_at, wait_until};
use fixture::origin::{Published, tree};
use fixture::*;
use schemas::{Beat, Event, ExtractOutcome, JobMessage, QueueName, Report, Settings, Task};

const RATE_BYTES_PER_S: u64 = 8 << 20;
/// More than four requests of four MiB, which run at a time.
const FILES: u32 = 28;
const FILE_BYTES: usize = 1 << 20;

async fn published(world: &World, files: u32, bytes: usize) -> Published {
    let folder = tree(&world.path("v1"), files, bytes, 1);
    world.origin().publish(1, &folder, None).await
}

/// The job stops then.
fn until(message: JobMessage, stop_at_ms: i64) -> JobMessage {
    let task = match message.task.clone() {
        Task::Send(send) => Task::Send(schemas::SendTask { stop_at_ms: Some(stop_at_ms), ..send }),
        Task::Extract(extract) => Task::Extract(schemas::ExtractTask { stop_at_ms: Some(stop_at_ms), ..extract }),
        other => other,
    };
    JobMessage { task, ..message }
}

fn extraction(name: &str, n: u64, v: &Published) -> JobMessage {
    JobMessage { task: Task::Extract(extract_task(v.store, v.revision)), ..send(name, n, v.store, v.revision) }
}

async fn stopped(world: &mut World, job: schemas::JobId) -> Report {
    loop {
        let report = world.report().await;
        if report.job == job && report.event != (Event::Started {}) {
            return report;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_stops_at_its_windows_end_and_the_next_window_fetches_only_the_rest() {
    let mut world = World::new().await;
    let v1 = published(&world, FILES, FILE_BYTES).await;
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = requests.clone();
    let mut config = world.config();
    config.observe = Some(Arc::new(move |step| {
        seen.fetch_add(usize::from(step == "download"), SeqCst);
        Ok(())
    }));
    let site = world.start_with(config);
    let slow = Settings { rate_in: Some(RATE_BYTES_PER_S), ..world.settings(1) };
    world.control(&schemas::Control::Settings(slow)).await;
    let window_end_ms = worker::now_ms() + 1_000;
    world.publish(&until(send("a", 1, v1.store, v1.revision), window_end_ms)).await;
    let report = stopped(&mut world, job("a")).await;
    assert_eq!((&report.event, report.attempt), (&Event::Stopped { window_end_ms }, 1));
    assert!(worker::now_ms() >= window_end_ms);
    let before = requests.swap(0, SeqCst);
    assert!((1..7).contains(&before), "{before} requests before the window ended");
    // The next window: the same job under the same attempt, a number of its own, and another end.
    world.publish(&until(send("a", 2, v1.store, v1.revision), worker::now_ms() + 60_000)).await;
    let report = world.end_of(job("a")).await;
    let result = sent(&report);
    assert_eq!(result.bytes_content, u64::from(FILES) * FILE_BYTES as u64);
    let again = result.bytes_fetched - result.bytes_needed;
    assert!(again < 1_000, "over both windows only the header came twice, which names the rest: {result:?}");
    assert!(result.bytes_needed > result.bytes_content * 9 / 10, "{result:?}");
    assert!(requests.load(SeqCst) >= 1, "and not everything had come before");
    site.stop().await;
}

#[tokio::test]
async fn a_job_whose_window_is_over_when_its_turn_comes_is_given_back_unbegun() {
    let mut world = World::new().await;
    let v1 = published(&world, 5, 5_000).await;
    let site = world.start();
    world.subscribe().await;
    let late = until(send_then_extract("a", 1, v1.store, v1.revision), 1_000);
    world.publish(&late).await;
    assert_eq!(stopped(&mut world, job("a")).await.event, Event::Stopped { window_end_ms: 1_000 });
    // The same message once more: the same answer, and nothing is begun.
    world.publish(&late).await;
    assert_eq!(stopped(&mut world, job("a")).await.event, Event::Stopped { window_end_ms: 1_000 });
    world.publish(&send_then_extract("a", 2, v1.store, v1.revision)).await;
    assert!(matches!(world.end_of(job("a")).await.event, Event::Succeeded { .. }));
    assert_eq!(extracted(&world.end_of(job("a-extract")).await).outcome, ExtractOutcome::Installed);
    site.stop().await;
}

/// The broker is away when the window ends: the site stops all the same, and says so later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_ends_by_the_sites_own_clock_and_outlives_a_restart() {
    let mut world = World::new().await;
    let v1 = published(&world, 5, 5_000).await;
    std::fs::create_dir_all(world.path("site")).unwrap();
    let journal = subscriber::journal::Journal::open(&world.path("site/journal.sqlite")).await.unwrap();
    let message = until(send("a", 1, v1.store, v1.revision), worker::now_ms());
    journal.admit(&message).await.unwrap().durable().await.unwrap();
    journal.close().await;
    // Nobody brings it anything: it has the job and its window's end from before.
    let site = world.start();
    assert!(matches!(stopped(&mut world, job("a")).await.event, Event::Stopped { .. }));
    site.stop().await;
    assert!(world.rest().await.is_empty(), "it was said once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_extraction_stops_before_its_swap_and_the_old_tree_stands() {
    let mut world = World::new().await;
    let v1 = published(&world, 20, 20_000).await;
    let changed = tree(&world.path("v2"), 20, 20_000, 2);
    let v2 = world.origin().publish(2, &changed, Some(&v1)).await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
    world.end_of(job("a-extract")).await;
    world.publish(&send("b", 2, v2.store, v2.revision)).await;
    world.end_of(job("b")).await;
    site.stop().await;

    let (hold, held) = gate_at("stage");
    let mut config = world.config();
    config.observe = Some(held);
    let site = world.start_with(config);
    let window_end_ms = worker::now_ms() + 500;
    world.publish(&until(extraction("c", 3, &v2), window_end_ms)).await;
    hold.reached("stage").await;
    wait_until(async || worker::now_ms() > window_end_ms + 100).await;
    hold.open();
    assert_eq!(stopped(&mut world, job("c")).await.event, Event::Stopped { window_end_ms });
    assert_eq!(content(&world.target()), content(&v1.tree), "the old tree");
    world.publish(&until(extraction("c", 4, &v2), worker::now_ms() + 60_000)).await;
    assert_eq!(extracted(&world.end_of(job("c")).await).outcome, ExtractOutcome::Installed);
    assert_eq!(content(&world.target()), content(&v2.tree));
    site.stop().await;
}

#[tokio::test]
async fn a_site_says_which_start_it_is_and_its_last_word() {
    let world = World::new().await;
    let site = world.start();
    let first = world.presence().await;
    assert!(first.run.is_some() && !first.stopping);
    site.stop().await;
    let mut beats = queue::Queue::consume(&*world.queue, &QueueName::Progress, 10).await.unwrap();
    let mut last = None;
    while let Some(delivery) = beats.try_next() {
        if let Beat::Presence(presence) = serde_json::from_slice(&delivery.body).unwrap() {
            last = Some(presence);
        }
        delivery.ack().await.unwrap();
    }
    let last = last.expect("a last presence");
    assert_eq!((last.run, last.stopping), (first.run, true));
    drop(beats);
    let site = world.start();
    let second = world.presence().await;
    assert!(second.run.is_some() && second.run != first.run);
    site.stop().await;
}

#[tokio::test]
async fn work_that_ends_in_time_knows_no_window() {
    let mut world = World::new().await;
    let v1 = published(&world, 5, 5_000).await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&until(send("a", 1, v1.store, v1.revision), worker::now_ms() + 60_000)).await;
    assert!(matches!(world.end_of(job("a")).await.event, Event::Succeeded { .. }));
    let begun = std::time::Instant::now();
    site.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "the watch over the window holds nobody up");
}
