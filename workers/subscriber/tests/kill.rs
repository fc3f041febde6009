//! A site that is killed at every step of its work, and what the next start makes of it.

mod fixture;

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use async_trait::async_trait;
use fixture::given::{Given, Then};
use fixture::origin::{Published, tree};
use fixture::*;
use queue::{Address, Outgoing, QueueError};
use schemas::{Event, ExtractOutcome, JobMessage, Mode, QueueName, Reports};
use subscriber::config::Retries;
use subscriber::journal::Journal;
use testkit::{Tamper, Tampered};
use tokio::sync::Semaphore;

const DIR: &str = "TIDEGATE_TEST_DIR";
const STEP: &str = "TIDEGATE_TEST_STEP";
const COUNT: &str = "TIDEGATE_TEST_COUNT";
const GIVES: &str = "TIDEGATE_TEST_GIVES";
const ABORTED: i32 = 6;
/// A step that is not the tree's: a terminal report goes to the broker.
const REPORT: &str = "report";

/// Not a test of its own: the process that the others start, and that dies at the step they name.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_process_that_dies() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let step = std::env::var(STEP).unwrap();
    let count: u32 = std::env::var(COUNT).unwrap().parse().unwrap();
    let dir = Path::new(&dir);
    let world = World::new().await;
    let mut config = subscriber::Config::new(paris(), dir.join("site"));
    let dies = DiesAtReport { at: (step == REPORT).then_some(count), seen: 0.into() };
    let queue = Tampered::new(world.queue.clone(), dies);
    let seen = AtomicU32::new(0);
    config.observe = Some(Arc::new(move |now: &'static str| {
        if now == step && seen.fetch_add(1, Relaxed) + 1 == count {
            std::process::abort();
        }
        Ok(())
    }));
    let gives = std::env::var(GIVES).map_or(u64::MAX, |bytes| bytes.parse().unwrap());
    let then = Then::Die { folder: dir.join("site/store"), bytes: count.into() };
    let _site = world.start_by(queue, config, Arc::new(Given::up_to(dir, gives, then)));
    let root = dir.join("target").to_string_lossy().into_owned();
    world.control(&schemas::Control::Settings(settings(1, root))).await;
    let message: JobMessage = serde_json::from_slice(&std::fs::read(dir.join("message")).unwrap()).unwrap();
    world.publish(&message).await;
    tokio::time::sleep(PATIENCE * 2).await;
    panic!("the step was never reached");
}

/// Runs a site on the world's folder until it dies at the `count`th time of `step`.
fn die_at(world: &World, message: &JobMessage, step: &str, count: u32) {
    die(world, message, &[(STEP, step), (COUNT, &count.to_string())]);
}

/// The same until its origin has given so many bytes of an answer and so many are in its store.
fn die_after(world: &World, message: &JobMessage, given: u64, held: u64) {
    die(world, message, &[(STEP, "none"), (GIVES, &given.to_string()), (COUNT, &held.to_string())]);
}

fn die(world: &World, message: &JobMessage, told: &[(&str, &str)]) {
    std::fs::write(world.path("message"), serde_json::to_vec(message).unwrap()).unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["the_process_that_dies", "--exact", "--nocapture"]);
    process.env(DIR, world.dir.path()).envs(told.iter().copied());
    let ended = process.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(ended.signal(), Some(ABORTED), "it died as told, {told:?}: {ended}");
}

/// A broker that never gets its `at`th terminal report: the process dies where it would publish it.
struct DiesAtReport {
    at: Option<u32>,
    seen: AtomicU32,
}

#[async_trait]
impl Tamper for DiesAtReport {
    async fn publish(&self, messages: &[Outgoing]) -> Option<Vec<Result<(), QueueError>>> {
        let reports = messages.iter().filter(|message| message.to == Address::Queue(QueueName::Reports));
        let reports = reports.flat_map(|message| serde_json::from_slice::<Reports>(&message.body).unwrap().reports);
        for _ in reports.filter(|report| report.event.is_terminal()) {
            if Some(self.seen.fetch_add(1, Relaxed) + 1) == self.at {
                std::process::abort();
            }
        }
        None
    }
}

async fn published(world: &World) -> Published {
    world.origin().publish(1, &tree(&world.path("v1"), 20, 20_000, 1), None).await
}

fn bytes_of(world: &World, key: blobs::Key) -> u64 {
    std::fs::metadata(world.origin().object(key)).unwrap().len()
}

/// All that a site without content has to fetch.
fn needed_bytes(world: &World, of: &Published) -> u64 {
    bytes_of(world, of.header_key()) + bytes_of(world, of.index_key()) + frames_bytes(of)
}

fn frames_bytes(of: &Published) -> u64 {
    of.index.frames.iter().map(|frame| u64::from(frame.stored_bytes)).sum()
}

#[tokio::test]
async fn a_download_killed_within_a_request_goes_on_at_the_last_whole_frame() {
    for cut_off in [0, 1_000] {
        let mut world = World::new().await;
        let v1 = world.origin().publish(1, &tree(&world.path("v1"), 30, 100_000, 1), None).await;
        assert!(v1.index.packs.len() == 1 && v1.index.frames.len() > 8, "one request, many frames");
        let held: u64 = v1.index.frames[..8].iter().map(|frame| u64::from(frame.stored_bytes)).sum();
        die_after(&world, &send("a", 1, v1.store, v1.revision), held + cut_off, held);
        let origin = Arc::new(Given::whole(world.dir.path()));
        let site = world.start_on(world.config(), origin.clone());
        let report = world.end_of(job("a")).await;
        let (needed, result) = (needed_bytes(&world, &v1), sent(&report));
        let again = bytes_of(&world, v1.header_key()) + cut_off;
        assert_eq!(origin.bytes(), needed + again, "the header, which is kept last, and the frame that was cut off");
        assert_eq!((result.bytes_needed, result.bytes_fetched), (needed, needed), "no more than that is not counted");
        site.stop().await;
    }
}

#[tokio::test]
async fn a_download_that_was_killed_among_many_requests_loses_and_miscounts_little() {
    let mut world = World::new().await;
    let v1 = world.origin().publish(1, &tree(&world.path("v1"), 40, 1 << 20, 1), None).await;
    die_at(&world, &send("a", 1, v1.store, v1.revision), "download", 8);
    let origin = Arc::new(Given::whole(world.dir.path()));
    let before = origin.bytes();
    let site = world.start_on(world.config(), origin.clone());
    let report = world.end_of(job("a")).await;
    let needed = needed_bytes(&world, &v1);
    let (given, result) = (origin.bytes(), sent(&report));
    assert!(before > 0 && given - before < needed, "{before} of {needed} bytes came before, {given} in all");
    assert_eq!(result.bytes_needed, needed, "the need is that of the first start");
    let lost = given - needed;
    assert!(lost < 8 * (2 << 20), "of each request under way what was not in the store yet: {lost}");
    assert!(result.bytes_fetched <= given && result.bytes_fetched >= given - lost, "{given} {result:?}");
    site.stop().await;
}

#[tokio::test]
async fn what_sources_gave_in_vain_is_reported_over_all_starts() {
    let mut world = World::new().await;
    let v1 = world.origin().publish(1, &tree(&world.path("v1"), 30, 100_000, 1), None).await;
    let asked = Arc::new(Semaphore::new(0));
    let seen = asked.clone();
    let mut config = world.config();
    config.retries = Retries { tries_per_source: 1, rounds: u32::MAX };
    config.observe = Some(Arc::new(move |step| {
        seen.add_permits(usize::from(step == "download"));
        Ok(())
    }));
    let bytes_max = u64::from(v1.index.frames[0].stored_bytes) * 5 / 2;
    let breaking = Arc::new(Given::up_to(world.dir.path(), bytes_max, Then::Break));
    let site = world.start_on(config, breaking);
    world.subscribe().await;
    world.publish(&send("a", 1, v1.store, v1.revision)).await;
    drop(tokio::time::timeout(PATIENCE, asked.acquire_many(3)).await.expect("it is tried again").unwrap());
    site.stop().await;
    let origin = Arc::new(Given::whole(world.dir.path()));
    let site = world.start_on(world.config(), origin.clone());
    let result = sent(&world.end_of(job("a")).await).clone();
    assert_eq!(result.bytes_needed, needed_bytes(&world, &v1));
    assert!(result.bytes_fetched > result.bytes_needed, "halves of frames came in vain: {result:?}");
    assert_eq!(result.bytes_fetched, origin.bytes(), "all that was given, in both starts");
    assert_eq!(result.sources[0].bytes, origin.bytes());
    site.stop().await;
}

#[tokio::test]
async fn a_download_killed_among_its_patches_ends_with_the_whole_tree() {
    for (step, count) in [("patch", 1), ("patch", 2), ("patched", 1)] {
        let mut world = World::new().await;
        let [v1, v2] = ["v1", "v2"].map(|name| tree(&world.path(name), 600, 200, 1));
        let mut content_of_large = fixture::origin::noise(60_000, 1);
        std::fs::write(v1.join("large"), &content_of_large).unwrap();
        content_of_large.splice(30_000..30_000, *b"an insertion");
        std::fs::write(v2.join("large"), content_of_large).unwrap();
        let v1 = world.origin().publish(1, &v1, None).await;
        let v2 = world.origin().publish(2, &v2, Some(&v1)).await;
        world.origin().patch_frames(&v1, &v2).await;
        let site = world.start();
        world.subscribe().await;
        world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
        world.end_of(job("a-extract")).await;
        site.stop().await;
        die_at(&world, &send_then_extract("b", 2, v2.store, v2.revision), step, count);
        let site = world.start();
        let result = sent(&world.end_of(job("b")).await).clone();
        assert!(result.bytes_fetched >= result.bytes_needed, "{result:?}");
        extracted(&world.end_of(job("b-extract")).await);
        assert_eq!(content(&world.target()), content(&v2.tree), "killed at {step} {count}");
        site.stop().await;
    }
}

#[tokio::test]
async fn an_extract_killed_at_any_step_ends_once_with_the_whole_tree() {
    for (step, count) in [("stage", 1), ("file", 7), ("sync", 1), ("swap", 1), ("swapped", 1), ("commit", 1)] {
        let mut world = World::new().await;
        let v1 = published(&world).await;
        die_at(&world, &send_then_extract("a", 1, v1.store, v1.revision), step, count);
        assert!(!world.target().exists() || content(&world.target()) == content(&v1.tree), "half a tree after {step}");
        let site = world.start();
        // The queue of the killed process may have had the send's end already.
        let end = world.end_of(job("a-extract")).await;
        assert_ne!(extracted(&end).outcome, ExtractOutcome::Superseded);
        assert_eq!(content(&world.target()), content(&v1.tree), "killed at {step}");
        site.stop().await;
        assert!(world.rest().await.iter().all(|r| !r.event.is_terminal()), "reported once, killed at {step}");
        let left: Vec<_> = std::fs::read_dir(world.path("target")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|n| !n.to_string_lossy().contains("tmp")), "{left:?}");
    }
}

#[tokio::test]
async fn a_report_that_the_broker_never_got_is_sent_by_the_next_start_and_nothing_is_done_again() {
    for (count, name) in [(1, "a"), (2, "a-extract")] {
        let mut world = World::new().await;
        let v1 = published(&world).await;
        let message = send_then_extract("a", 1, v1.store, v1.revision);
        die_at(&world, &message, REPORT, count);
        let journal = Journal::open(&world.path("site/journal.sqlite")).await.unwrap();
        let ended: Vec<_> = journal.unconfirmed().await.unwrap().iter().map(|ending| ending.job).collect();
        journal.close().await;
        assert!(ended.contains(&job(name)), "the journal has the end of {name}: {ended:?}");
        let extracted_before = std::fs::metadata(world.target()).map(|about| about.ino()).ok();

        let origin = Arc::new(Given::whole(world.dir.path()));
        let before = origin.bytes();
        let site = world.start_on(world.config(), origin.clone());
        let report = world.end_of(job(name)).await;
        let mut extract = report.clone();
        if name != "a-extract" {
            extract = world.end_of(job("a-extract")).await;
        }
        // It was never acknowledged: the broker brings it once more, and gets the same answers.
        world.subscribe().await;
        world.publish(&message).await;
        let again = [world.end_of(job("a")).await, world.end_of(job("a-extract")).await];
        assert!(again.iter().any(|again| again.job == report.job && again.event == report.event), "{again:?}");
        assert_eq!((&again[1].event, extracted(&extract).outcome), (&extract.event, ExtractOutcome::Installed));
        site.stop().await;

        assert_eq!(origin.bytes(), before, "something was fetched again");
        assert_eq!(content(&world.target()), content(&v1.tree));
        if let Some(ino) = extracted_before {
            assert_eq!(std::fs::metadata(world.target()).unwrap().ino(), ino, "the trees were exchanged again");
        }
        assert_eq!(extracted_before.is_some(), count == 2);
    }
}

#[tokio::test]
async fn a_kill_between_the_exchange_and_its_record_of_a_second_revision_does_not_swap_back() {
    for step in ["swap", "swapped", "commit"] {
        let mut world = World::new().await;
        let v1 = published(&world).await;
        let v2 = world.origin().publish(2, &tree(&world.path("v2"), 20, 20_000, 2), Some(&v1)).await;
        let site = world.start();
        world.subscribe().await;
        world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
        world.end_of(job("a-extract")).await;
        site.stop().await;
        die_at(&world, &send_then_extract("b", 2, v2.store, v2.revision), step, 1);
        let between = content(&world.target());
        assert!(between == content(&v1.tree) || between == content(&v2.tree), "a mixed tree after {step}");
        let site = world.start();
        extracted(&world.end_of(job("b-extract")).await);
        assert_eq!(content(&world.target()), content(&v2.tree), "killed at {step}");
        site.stop().await;
    }
}

#[tokio::test]
async fn a_job_that_kills_its_process_three_times_is_failed_at_the_fourth_start() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let message = send_then_extract("a", 1, v1.store, v1.revision);
    for _ in 0..3 {
        die_at(&world, &message, "stage", 1);
    }
    let site = world.start();
    let report = world.end_of(job("a-extract")).await;
    assert_eq!(failed(&report).code, "too-many-tries");
    world.publish(&JobMessage { ..send("b", 2, v1.store, v1.revision) }).await;
    sent(&world.end_of(job("b")).await);
    site.stop().await;
    assert!(!world.rest().await.iter().any(|r| matches!(r.event, Event::Yielded {})));
}

/// The same, into a directory that others use too.
fn send_then_merge(name: &str, n: u64, of: &Published) -> JobMessage {
    let mut message = send_then_extract(name, n, of.store, of.revision);
    message.then.as_mut().unwrap().task.mode = Mode::Merge;
    message
}

/// A site that has the first revision in its target, and some files of the second, whose merge `b-extract` was killed.
async fn half_merged(kills: u32) -> (World, [Published; 2]) {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    let v2 = world.origin().publish(2, &tree(&world.path("v2"), 20, 20_000, 2), Some(&v1)).await;
    let site = world.start();
    world.subscribe().await;
    world.publish(&send_then_merge("a", 1, &v1)).await;
    extracted(&world.end_of(job("a-extract")).await);
    site.stop().await;
    for _ in 0..kills {
        die_at(&world, &send_then_merge("b", 2, &v2), "move", 8);
    }
    let changed = content(&v1.tree).into_iter().filter(|(path, old)| content(&world.target()).get(path) != Some(old));
    assert_eq!(changed.count(), 7, "it is half old, half new");
    (world, [v1, v2])
}

async fn cancel_in_hand(world: &World, name: &str) {
    let journal = Journal::open(&world.path("site/journal.sqlite")).await.unwrap();
    journal.cancel(job(name)).await.unwrap();
    journal.close().await;
}

#[tokio::test]
async fn a_merge_that_was_killed_is_undone_although_its_job_is_cancelled() {
    let (mut world, [v1, _]) = half_merged(1).await;
    cancel_in_hand(&world, "b-extract").await;
    let site = world.start();
    assert_eq!(world.end_of(job("b-extract")).await.event, Event::Cancelled {});
    assert_eq!(content(&world.target()), content(&v1.tree));
    site.stop().await;
}

#[tokio::test]
async fn a_merge_that_was_killed_is_undone_although_its_job_is_given_up() {
    let (mut world, [v1, _]) = half_merged(3).await;
    let site = world.start();
    assert_eq!(failed(&world.end_of(job("b-extract")).await).code, "too-many-tries");
    assert_eq!(content(&world.target()), content(&v1.tree));
    site.stop().await;
}

#[tokio::test]
async fn a_merge_that_was_killed_is_undone_by_the_next_extract_if_its_target_was_not_there_at_the_start() {
    let (mut world, [v1, v2]) = half_merged(1).await;
    cancel_in_hand(&world, "b-extract").await;
    let elsewhere = world.path("elsewhere");
    std::fs::rename(world.target(), &elsewhere).unwrap();
    let site = world.start();
    assert_eq!(world.end_of(job("b-extract")).await.event, Event::Cancelled {});
    std::fs::rename(&elsewhere, world.target()).unwrap();
    let mut nowhere = send_then_merge("c", 3, &v2);
    nowhere.then.as_mut().unwrap().task.target = "%NOBODY%/antivirus".to_owned();
    world.publish(&nowhere).await;
    assert_eq!(failed(&world.end_of(job("c-extract")).await).code, "unknown-variable");
    assert_eq!(content(&world.target()), content(&v1.tree), "even by one that fails");
    world.publish(&send_then_merge("d", 4, &v2)).await;
    extracted(&world.end_of(job("d-extract")).await);
    assert_eq!(content(&world.target()), content(&v2.tree));
    site.stop().await;
}
