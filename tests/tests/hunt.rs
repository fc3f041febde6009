//! RabbitMQ and PostgreSQL stopped, started and killed in the middle of a run: the same ends as without. Both are the test's
//! own, so that no neighbour is hurt.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{Database, Private, Service};
use tests::definitions::{CHANNEL, SITES, TwoTiers, source};
use tests::program::repository;
use tests::{Fleet, Ground, ends, tree};

const DISTRIBUTIONS: [&str; 2] = ["one", "two"];
const FILES: usize = 1000;
const ROUNDS: u64 = 3;
const LOOK_EVERY: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn hunt() {
    let Some(broker) = Private::start(Service::Rabbitmq) else { return };
    let ground = Ground { amqp_url: broker.url().to_owned(), vhost: None, ..Ground::fresh().unwrap() };
    let folder = tempfile::Builder::new().prefix("tidegate-hunt-").tempdir().unwrap();
    let mut fleet = fleet(folder.path(), ground);
    for (seed, name) in DISTRIBUTIONS.iter().enumerate() {
        tree::make(&source(folder.path(), name), 300, seed as u64);
    }
    fleet.cli.ok(&["apply", "-f", &TwoTiers::of(&DISTRIBUTIONS).write(folder.path())]);
    for round in 0..10 {
        for name in DISTRIBUTIONS {
            tree::change(&source(folder.path(), name), 20, round);
        }
        fleet.cli.ok(&[&["build"], &DISTRIBUTIONS[..]].concat());
        fleet.cli.ok(&["send", CHANNEL]);
        go_away(&broker, 0);
        let begun = Instant::now();
        let ask = |verb: &[&str]| {
            let out = fleet.cli.run(&[verb, &["--wait", "--timeout", "50s"]].concat());
            if !out.status.success() {
                println!(
                    "STUCK in {verb:?} round {round}: {} {}\n{}",
                    String::from_utf8_lossy(&out.stdout),
                    String::from_utf8_lossy(&out.stderr),
                    queues_told(&broker)
                );
                panic!("stuck");
            }
        };
        ask(&[&["build"], &DISTRIBUTIONS[..]].concat());
        ask(&["send", CHANNEL]);
        println!("round {round} ok after {} s", begun.elapsed().as_secs());
    }
    let _ = (await_under_way, SITES, ROUNDS, FILES, PATIENCE);
    fleet.names();
    let _ = ends::OPEN_JOBS;
    let _ = Database::fresh_on;
    fleet.process("api");
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

/// Polled in the database, which is one of the services that may have gone away; a failure tells what the broker holds.
fn await_under_way(fleet: &Fleet, kind: &str, service: &Private) {
    let sql = format!("SELECT COUNT(*) FROM jobs WHERE kind = '{kind}' AND state IN ('queued', 'running')");
    let deadline = Instant::now() + PATIENCE;
    while fleet.number(&sql) == 0 {
        assert!(Instant::now() < deadline, "waited in vain for a {kind} under way\n{}", queues_told(service));
        std::thread::sleep(LOOK_EVERY);
    }
}

fn queues_told(service: &Private) -> String {
    let output = Command::new(repository().join("ops/services"))
        .args(["rabbitmqctl", "-q", "list_queues", "name", "messages_ready", "messages_unacknowledged", "consumers"])
        .env("TIDEGATE_SERVICES_DIR", service.directory())
        .output();
    output.map_or_else(|error| error.to_string(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn go_away(service: &Private, round: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match round {
            0 => service.restart().await,
            _ => {
                service.kill().await;
                service.up().await;
            }
        }
    });
}
