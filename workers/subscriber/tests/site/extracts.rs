//! What stands in the target, before and after, and when it is left alone.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use schemas::{Control, ExtractOutcome, Settings};

use crate::fixture::gate::{gate_at, wait_until};
use crate::fixture::origin::tree;
use crate::fixture::*;
use crate::published;

#[tokio::test]
async fn the_tree_that_the_second_revision_needs_is_made_behind_the_first_ones_back() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
    world.end_of(job("a-extract")).await;
    let standby = world.target().with_file_name(".antivirus.tidegate-standby");
    let inode = |tree: &std::path::Path| std::fs::metadata(tree.join("d1/f1.bin")).map(|meta| meta.ino()).ok();
    let whole = || std::fs::read_dir(&standby).is_ok() && content(&standby) == content(&v1.tree);
    wait_until(async || whole()).await;
    assert_eq!(inode(&standby), inode(&world.target()), "it shares its files");
    std::fs::write(v1.tree.join("d0/f0.bin"), origin::noise(20_000, 99)).unwrap();
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
    std::fs::write(changed.join("d0/f0.bin"), origin::noise(500, 99)).unwrap();
    let v2 = world.origin().publish(2, &changed, Some(&v1)).await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
    world.end_of(job("a-extract")).await;
    let standby = world.target().with_file_name(".antivirus.tidegate-standby");
    let begun = async {
        while !standby.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("a standby tree begins");
    world.publish(&send_then_extract("b", 2, v2.store, v2.revision)).await;
    let report = world.end_of(job("b")).await;
    assert!(sent(&report).bytes_fetched < 100_000, "{:?}", sent(&report));
    world.end_of(job("b-extract")).await;
    assert_eq!(content(&world.target()), content(&v2.tree));
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
    let left = Arc::new(AtomicU32::new(times));
    let mut config = world.config();
    config.observe = Some(Arc::new(move |step: &'static str| {
        let one_less = |left: u32| left.checked_sub(1);
        match step == "swap" && left.fetch_update(Relaxed, Relaxed, one_less).is_ok() {
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
