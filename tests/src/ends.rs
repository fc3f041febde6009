//! What must be so after every fault: each request and job ended once, queues empty, no staging left, every target right.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use queue::Queue;
use queue::amqp::{AmqpConfig, AmqpQueue};
use schemas::{ChannelName, QueueName, SubscriberName};

use crate::compare::{assert_merged, assert_same};
use crate::definitions::{CHANNEL, FOREIGN, MERGE, SITES, TwoTiers, source, target};
use crate::fleet::Fleet;
use crate::wait::until;

/// Longer than a builder's lease, which has to run out if the builder died silently.
const ENDS: Duration = Duration::from_secs(150);
pub const OPEN_JOBS: &str = "SELECT COUNT(*) FROM jobs WHERE state NOT IN ('succeeded', 'failed', 'cancelled')";
const OPEN_REQUESTS: &str = "SELECT COUNT(*) FROM requests WHERE state NOT IN ('succeeded', 'failed', 'cancelled')";

/// What the view does not say and promotion goes by.
const WHY_WAITING: &str =
    "SELECT id, distribution, created_ms, place, not_before_ms, cancel_requested_ms, carried_by, claimed_until_ms
    FROM tide_jobs WHERE state IN ('waiting', 'queued', 'running')";
const AWAITED: &str = "SELECT w.job_id, w.awaited_id, w.on_bad, w.until_ms, a.kind, a.state, a.lane FROM tide_job_waits w
    JOIN tide_jobs j ON j.id = w.job_id JOIN tide_jobs a ON a.id = w.awaited_id WHERE j.state IN ('waiting', 'queued', 'running')";
const PLACES: &str = "SELECT name, depth, paused FROM tide_lanes";

/// Waits for the end of everything that was asked for.
pub fn await_ends(fleet: &Fleet) {
    let begun = Instant::now();
    let look = || (fleet.ground.database.psql(OPEN_JOBS).ok()? == "0").then_some(());
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| until("the end of every job", ENDS, look)));
    if ended.is_err() {
        let columns = "id, kind, state, lane, revision, attempt, worker, published_at, started_at, error_code, note";
        let open = "state NOT IN ('succeeded', 'failed', 'cancelled')";
        let jobs = fleet.psql(&format!("SELECT {columns} FROM jobs WHERE {open}"));
        panic!(
            "jobs without an end:\n{jobs}\n{}\n{}\n{}",
            fleet.psql(WHY_WAITING),
            fleet.psql(AWAITED),
            fleet.psql(PLACES)
        );
    }
    fleet.await_number("the end of every request", OPEN_REQUESTS, 0, ENDS);
    println!("everything had ended {} s after the last request", begun.elapsed().as_secs());
}

/// Each job of each request is there once, and has one end.
pub fn assert_ended_once(fleet: &Fleet) {
    let twice = "SELECT request_id, kind, subscriber, distribution FROM jobs WHERE retry_of IS NULL
        GROUP BY request_id, kind, subscriber, distribution HAVING COUNT(*) > 1";
    assert_eq!(fleet.rows(twice).len(), 0, "jobs planned twice: {}", fleet.psql(twice));
    let ends = "SELECT j.id FROM jobs j LEFT JOIN job_history h ON h.job_id = j.id AND h.step = 2
        GROUP BY j.id HAVING COUNT(h.job_id) <> 1";
    assert_eq!(fleet.rows(ends).len(), 0, "not one end each: {}", fleet.psql(ends));
    let running = "SELECT lane FROM jobs WHERE state = 'running' GROUP BY lane HAVING COUNT(*) > 1";
    assert_eq!(fleet.rows(running).len(), 0);
}

/// Sends once more what is newest, and compares every target with its source.
pub fn assert_targets_are_right(fleet: &Fleet, declared: &TwoTiers) {
    let distributions: Vec<&str> = declared.distributions.iter().map(|(name, _)| name.as_str()).collect();
    fleet.cli.wait(&[&["build"], &distributions[..]].concat());
    fleet.cli.wait(&["send", CHANNEL]);
    for (distribution, mode) in &declared.distributions {
        for site in SITES {
            let (source, target) = (source(&fleet.folder, distribution), target(&fleet.folder, site, distribution));
            match *mode {
                MERGE => assert_merged(&source, &target, &[FOREIGN]),
                _ => assert_same(&source, &target),
            }
        }
    }
    let wanted = (distributions.len() * SITES.len()) as i64;
    let current = "SELECT COUNT(*) FROM deliveries WHERE state = 'current' AND extracted_revision = current_revision";
    assert_eq!(
        fleet.number(current),
        wanted,
        "{}",
        fleet.psql("SELECT subscriber, distribution, state, error FROM deliveries")
    );
}

/// Ends every role in order, so that what somebody holds comes back, and finds nothing in the broker; `dead` are the codes
/// of dead letters that were to be expected.
pub fn assert_queues_are_empty(fleet: &mut Fleet, dead: &[&str]) {
    for letter in fleet.rows("SELECT code, queue, reason FROM dead_letters") {
        assert!(dead.contains(&letter["code"].as_str().unwrap_or_default()), "an unexpected dead letter: {letter}");
    }
    for name in fleet.names() {
        assert_eq!(fleet.stop(&name), Some(0), "{name} did not end in order");
    }
    let left = left_in_queues(&fleet.ground.amqp_url);
    assert!(left.is_empty(), "left in queues: {left:?}");
}

/// All but progress, whose last words nobody misses.
fn left_in_queues(amqp_url: &str) -> Vec<(QueueName, u64)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let queue = AmqpQueue::open(AmqpConfig::new(amqp_url)).expect("the URL is valid");
        let mut left = Vec::new();
        for name in queue_names() {
            let depth = queue.depth(&name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            left.extend((depth > 0).then_some((name, depth)));
        }
        queue.close().await;
        left
    })
}

fn queue_names() -> Vec<QueueName> {
    let distributor = QueueName::Build("hq".try_into().expect("a name"));
    let channel: ChannelName = CHANNEL.try_into().expect("a name");
    let sites = SITES.into_iter().chain(["region"]).flat_map(|site| {
        let site: SubscriberName = site.try_into().expect("a name");
        [QueueName::Site(site.clone(), channel.clone()), QueueName::Control(site)]
    });
    [QueueName::Requests, QueueName::Reports, QueueName::Dead, distributor].into_iter().chain(sites).collect()
}

/// Beside a target stand its standby tree and its lock, and nothing else; no folder of a role holds a half-written file.
pub fn assert_nothing_is_left_over(fleet: &Fleet, distributions: &[&str]) {
    for site in SITES {
        let servers = fleet.folder.join("servers").join(site);
        for name in names(&servers) {
            let known = distributions.iter().any(|d| {
                [d.to_string(), format!(".{d}.tidegate-standby"), format!(".{d}.tidegate-lock")].contains(&name)
            });
            assert!(known, "{} was left in {}", name, servers.display());
        }
    }
    for path in below(&fleet.folder).into_iter().filter(|path| !path.starts_with(fleet.folder.join("source"))) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let half = [".tmp", ".new", ".part", ".partial"].iter().any(|end| name.ends_with(end));
        assert!(!half, "{} was left", path.display());
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found
}
