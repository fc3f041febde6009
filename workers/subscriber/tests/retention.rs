//! What a site keeps of the revisions that came, and what it never drops.

mod fixture;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fixture::origin::{Published, tree};
use fixture::*;
use schemas::{Control, ExtractOutcome, JobMessage, Keep, Task};

const FILES: u32 = 12;
const FILE_BYTES: usize = 30_000;

fn kept(message: JobMessage, keep: Keep) -> JobMessage {
    let mut message = message;
    match &mut message.task {
        Task::Send(task) => task.keep = Some(keep),
        Task::Extract(task) => task.keep = Some(keep),
        other => panic!("{other:?}"),
    }
    if let Some(follow) = &mut message.then {
        follow.task.keep = Some(keep);
    }
    message
}

fn keep(revisions: u32) -> Keep {
    Keep { revisions, from: 0, delete_first: false }
}

/// `count` revisions, each with content of its own.
async fn revisions(world: &World, count: u64) -> Vec<Published> {
    let mut all: Vec<Published> = Vec::new();
    for number in 1..=count {
        let folder = tree(&world.path(&format!("v{number}")), FILES, FILE_BYTES, number);
        let next = world.origin().publish(number, &folder, all.last()).await;
        all.push(next);
    }
    all
}

fn store(world: &World) -> PathBuf {
    world.path("site/store")
}

fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => bytes_in(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Waits until the site's store takes no more than this.
async fn shrinks_to(world: &World, bytes_max: u64) {
    let begun = std::time::Instant::now();
    while bytes_in(&store(world)) > bytes_max {
        assert!(begun.elapsed() < PATIENCE, "{} bytes, not {bytes_max}", bytes_in(&store(world)));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Of one revision, with some room for heads, header and index.
fn one_revision() -> u64 {
    u64::from(FILES) * FILE_BYTES as u64 + 20_000
}

#[tokio::test]
async fn revisions_beyond_the_maximum_go_and_the_report_says_what_is_left() {
    let mut world = World::new().await;
    let all = revisions(&world, 4).await;
    let site = world.start();
    world.subscribe().await;
    let mut held = Vec::new();
    for (n, v) in (1..).zip(&all) {
        let name = format!("send-{n}");
        world.publish(&kept(send_then_extract(&name, n, v.store, v.revision), keep(2))).await;
        let report = world.end_of(job(&name)).await;
        held.push(sent(&report).held.clone().expect("it says what it holds").revisions);
        let report = world.end_of(job(&format!("{name}-extract"))).await;
        assert_eq!(extracted(&report).held.as_ref().unwrap().revisions, held[held.len() - 1]);
        assert_eq!(content(&world.target()), content(&v.tree));
    }
    assert_eq!(held, [vec![1], vec![1, 2], vec![2, 3], vec![3, 4]]);
    shrinks_to(&world, 2 * one_revision()).await;
    // Back to one that is kept, and to one that is not: that comes from the origin again.
    for (n, v, moved) in [(10, &all[2], false), (11, &all[0], true)] {
        let name = format!("back-{n}");
        let mut message = kept(send_then_extract(&name, n, v.store, v.revision), keep(2));
        message.then.as_mut().unwrap().task.pin = true;
        world.publish(&message).await;
        let report = world.end_of(job(&name)).await;
        assert_eq!(sent(&report).bytes_fetched > 0, moved, "{:?}", sent(&report));
        let report = world.end_of(job(&format!("{name}-extract"))).await;
        assert_eq!(extracted(&report).outcome, ExtractOutcome::Installed);
        assert_eq!(content(&world.target()), content(&v.tree));
    }
    site.stop().await;
}

#[tokio::test]
async fn what_stands_in_the_target_and_what_a_job_in_hand_is_about_stays() {
    let mut world = World::new().await;
    let all = revisions(&world, 3).await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&kept(send_then_extract("a", 1, all[0].store, all[0].revision), keep(1))).await;
    world.end_of(job("a-extract")).await;
    for (n, v) in (2..).zip(&all[1..]) {
        let name = format!("send-{n}");
        world.publish(&kept(send(&name, n, v.store, v.revision), keep(1))).await;
        let report = world.end_of(job(&name)).await;
        let held = sent(&report).held.clone().unwrap().revisions;
        assert_eq!(held, [1, v.revision.number], "1 is installed");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_revision_past_its_age_goes_though_there_is_room_for_more() {
    let mut world = World::new().await;
    let all = revisions(&world, 3).await;
    let site = world.start();
    world.subscribe().await;
    for (n, v) in (1..).zip(&all) {
        let name = format!("send-{n}");
        let keep = Keep { revisions: 10, from: if n == 3 { 3 } else { 0 }, delete_first: false };
        world.publish(&kept(send(&name, n, v.store, v.revision), keep)).await;
        let report = world.end_of(job(&name)).await;
        let held = sent(&report).held.clone().unwrap().revisions;
        assert_eq!(held, if n == 3 { vec![3] } else { (1..=n).collect() });
    }
    shrinks_to(&world, one_revision()).await;
    site.stop().await;
}

#[tokio::test]
async fn where_there_is_room_for_one_the_old_goes_before_the_new_comes() {
    for delete_first in [true, false] {
        let mut world = World::new().await;
        let all = revisions(&world, 2).await;
        // What is in the store when the first frames of the second revision come.
        let (largest, folder) = (std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0)), store(&world));
        let mut config = world.config();
        let seen = largest.clone();
        config.observe = Some(std::sync::Arc::new(move |step| {
            if step == "download" {
                seen.fetch_max(bytes_in(&folder), std::sync::atomic::Ordering::SeqCst);
            }
            Ok(())
        }));
        let site = world.start_with(config);
        world.subscribe().await;
        let rule = Keep { revisions: 1, from: 0, delete_first };
        for (n, v) in (1..).zip(&all) {
            let name = format!("send-{n}");
            world.publish(&kept(send_then_extract(&name, n, v.store, v.revision), rule)).await;
            world.end_of(job(&format!("{name}-extract"))).await;
            assert_eq!(content(&world.target()), content(&v.tree));
        }
        let before = largest.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(before < one_revision() / 2, delete_first, "{before} bytes were there when the new one came");
        shrinks_to(&world, one_revision()).await;
        site.stop().await;
    }
}

#[tokio::test]
async fn nothing_is_kept_of_a_distribution_that_is_gone_but_what_was_extracted() {
    let mut world = World::new().await;
    let all = revisions(&world, 2).await;
    let mut config = world.config();
    config.served_kept = Duration::from_secs(1);
    let site = world.start_with(config);
    world.subscribe().await;
    world.publish(&kept(send_then_extract("first", 1, all[0].store, all[0].revision), keep(3))).await;
    world.end_of(job("first-extract")).await;
    world.control(&Control::Forget { stores: vec![all[0].store] }).await;
    shrinks_to(&world, 0).await;
    assert_eq!(content(&world.target()), content(&all[0].tree));
    // One that was under way comes to its end, and leaves nothing either.
    world.publish(&kept(send_then_extract("late", 2, all[1].store, all[1].revision), keep(3))).await;
    world.end_of(job("late-extract")).await;
    assert_eq!(content(&world.target()), content(&all[1].tree));
    shrinks_to(&world, 0).await;
    fixture::gate::wait_until(async || !store(&world).join(all[0].store.to_string()).exists()).await;
    site.stop().await;
}

#[tokio::test]
async fn a_distribution_that_was_gone_when_its_site_died_is_forgotten_at_the_next_start() {
    let mut world = World::new().await;
    let v1 = revisions(&world, 1).await.remove(0);
    let site = world.start();
    world.subscribe().await;
    world.publish(&send("send", 1, v1.store, v1.revision)).await;
    world.end_of(job("send")).await;
    site.stop().await;
    let journal = subscriber::journal::Journal::open(&world.path("site/journal.sqlite")).await.unwrap();
    journal.note_gone(&[v1.store]).await.unwrap();
    journal.close().await;
    let site = world.start();
    fixture::gate::wait_until(async || !store(&world).join(v1.store.to_string()).exists()).await;
    site.stop().await;
}

#[tokio::test]
async fn a_site_that_died_before_it_made_room_does_so_at_its_next_start() {
    let mut world = World::new().await;
    let all = revisions(&world, 2).await;
    let site = world.start();
    world.subscribe().await;
    for (n, v) in (1..).zip(&all) {
        world.publish(&send(&format!("send-{n}"), n, v.store, v.revision)).await;
        world.end_of(job(&format!("send-{n}"))).await;
    }
    site.stop().await;
    assert!(bytes_in(&store(&world)) > one_revision() * 3 / 2);
    // It came to the header of the old revision and to its index, and no further.
    let folder = store(&world).join(all[0].store.to_string());
    std::fs::remove_file(folder.join("headers").join(all[0].revision.header.to_string())).unwrap();
    let index = all[0].index.seal().at.digest;
    std::fs::remove_file(folder.join("indexes").join(index.to_string())).unwrap();
    let site = world.start();
    shrinks_to(&world, one_revision()).await;
    world.control(&Control::Settings(world.settings(2))).await;
    world.publish(&send_then_extract("again", 9, all[1].store, all[1].revision)).await;
    let report = world.end_of(job("again")).await;
    assert!(sent(&report).already_held, "the other one is whole: {:?}", sent(&report));
    world.end_of(job("again-extract")).await;
    assert_eq!(content(&world.target()), content(&all[1].tree));
    site.stop().await;
}
