//! What crosses the link, at what rate, and how much room is left for it.

use std::time::Duration;

use schemas::{Control, ExtractOutcome, JobMessage, Task};

use crate::fixture::origin::tree;
use crate::fixture::*;
use crate::published;

#[tokio::test]
async fn only_missing_content_crosses_the_link() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let changed = tree(&world.path("v2"), 20, 20_000, 1);
    std::fs::write(changed.join("d0/f0.bin"), origin::noise(20_000, 99)).unwrap();
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
