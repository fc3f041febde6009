//! RabbitMQ and PostgreSQL stopped, started and killed in the middle of a run: the same ends as without. Both are the test's
//! own, so that no neighbour is hurt. A run in which no job was open at the instant when the service was gone proves nothing,
//! and fails.

use std::ops::RangeFrom;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use testkit::{Database, Private, Service};
use tests::definitions::{CHANNEL, SITES, TwoTiers, source};
use tests::program::repository;
use tests::{Fleet, Ground, ends, tree};

const DISTRIBUTIONS: [&str; 2] = ["one", "two"];
const FILES: usize = 400;
const ROUNDS: u64 = 3;
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Jobs that are open when the service goes: a build of each distribution, and what waits for them.
const OPEN_MIN: i64 = 4;
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_broker_that_restarts_or_is_killed_costs_time_and_nothing_else() {
    let Some(broker) = Private::start(Service::Rabbitmq) else { return };
    let ground = Ground {
        amqp_url: broker.url().to_owned(),
        vhost: None,
        ..Ground::fresh().expect("services are switched on, or there were no broker")
    };
    survive(ground, &broker);
}

#[test]
fn a_database_that_restarts_or_is_killed_costs_time_and_nothing_else() {
    let Some(server) = Private::start(Service::Postgresql) else { return };
    let database = Database::fresh_on(server.url());
    let ground = Ground { database, ..Ground::fresh().expect("services are switched on, or there were no server") };
    survive(ground, &server);
}

/// In each round much changes, is built and sent, and the service goes away in the middle: first in order, then killed.
/// Everything is asked for again and again until the service is back: what is asked meanwhile may be refused, and must not be
/// lost in part.
fn survive(ground: Ground, service: &Private) {
    let folder = tempfile::Builder::new().prefix("tidegate-restarts-").tempdir().unwrap();
    let mut fleet = fleet(folder.path(), ground);
    for (seed, name) in DISTRIBUTIONS.iter().enumerate() {
        tree::make(&source(folder.path(), name), FILES, seed as u64);
    }
    let declared = TwoTiers::of(&DISTRIBUTIONS);
    fleet.cli.ok(&["apply", "-f", &declared.write(folder.path())]);
    let mut seeds = 0..;
    for round in 0..ROUNDS {
        get_under_way(&fleet, service, &mut seeds);
        let gone = std::thread::scope(|scope| {
            let away = scope.spawn(|| go_away(service, round));
            while !away.is_finished() {
                change_and_ask(&fleet, &mut seeds);
            }
            away.join().expect("the service went away and came back")
        });
        ends::await_ends(&fleet);
        assert_work_was_open(&fleet, round, gone);
    }
    ends::assert_ended_once(&fleet);
    ends::assert_targets_are_right(&fleet, &declared);
    ends::assert_ended_once(&fleet);
    ends::assert_queues_are_empty(&mut fleet, &[]);
    ends::assert_nothing_is_left_over(&fleet, &DISTRIBUTIONS);
}

fn fleet(folder: &Path, ground: Ground) -> Fleet {
    let mut fleet = Fleet::new(folder, ground);
    fleet.scheduler("scheduler-1");
    fleet.scheduler("scheduler-2");
    fleet.recorder("recorder");
    fleet.builder("builder-1", "hq");
    fleet.builder("builder-2", "hq");
    fleet.api();
    fleet.subscriber("region", true);
    for site in SITES {
        fleet.subscriber(site, false);
    }
    fleet.await_ready();
    fleet
}

fn change_and_ask(fleet: &Fleet, seeds: &mut RangeFrom<u64>) {
    for (name, seed) in DISTRIBUTIONS.iter().zip(seeds) {
        tree::change(&source(&fleet.folder, name), 5, seed);
    }
    fleet.cli.run(&[&["build"], &DISTRIBUTIONS[..]].concat());
    fleet.cli.run(&["send", CHANNEL]);
}

/// Asks until several jobs are open: a change may be delivered before anybody has looked. A failure tells what the broker holds.
fn get_under_way(fleet: &Fleet, service: &Private, seeds: &mut RangeFrom<u64>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fleet.number(ends::OPEN_JOBS) {
            0 => change_and_ask(fleet, seeds),
            1..OPEN_MIN => std::thread::sleep(LOOK_EVERY),
            _ => return,
        }
        assert!(Instant::now() < deadline, "waited in vain for jobs under way\n{}", queues_told(service));
    }
}

fn queues_told(service: &Private) -> String {
    let output = Command::new(repository().join("ops/services"))
        .args(["rabbitmqctl", "-q", "list_queues", "name", "messages_ready", "messages_unacknowledged", "consumers"])
        .env("TIDEGATE_SERVICES_DIR", service.directory())
        .output();
    output.map_or_else(|error| error.to_string(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The instant at which the service was gone: after its end, before its return.
fn go_away(service: &Private, round: u64) -> SystemTime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match round {
            0 => service.down().await,
            _ => service.kill().await,
        }
        let gone = SystemTime::now();
        service.up().await;
        gone
    })
}

/// Jobs that were made before the instant and ended after it were open at it.
fn assert_work_was_open(fleet: &Fleet, round: u64, gone: SystemTime) {
    let gone_ms = gone.duration_since(UNIX_EPOCH).unwrap().as_millis();
    let open = fleet.rows(&format!(
        "SELECT kind, state, COUNT(*) AS jobs, MIN(ended_at) AS first_end FROM jobs
        WHERE created_at < to_timestamp({gone_ms} / 1000.0) AND ended_at > to_timestamp({gone_ms} / 1000.0)
        GROUP BY 1, 2 ORDER BY 1, 2"
    ));
    println!("round {round}: open when the service was gone ({gone_ms}): {}", serde_json::Value::from(open.clone()));
    assert!(!open.is_empty(), "round {round}: no job was open when the service was gone, so that nothing was proved");
}
