//! The main job on RabbitMQ, PostgreSQL and S3, each role a process of its own; and requests by programs that are not ours.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::compare::assert_same;
use tests::definitions::{CHANNEL, SITES, TwoTiers, source, target};
use tests::program::repository;
use tests::wait::until;
use tests::{Fleet, Ground, tree};

const FILES: usize = 3000;
const PATIENCE: Duration = Duration::from_secs(120);

/// All roles of two tiers; `None` only if services are switched off.
fn fleet(folder: &Path) -> Option<Fleet> {
    let mut fleet = Fleet::new(folder, Ground::fresh()?);
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
    Some(fleet)
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("tidegate-services-").tempdir().unwrap()
}

/// Source → bytes, of the one send of a revision to a subscriber.
fn sources(fleet: &Fleet, subscriber: &str, revision: u64) -> BTreeMap<String, i64> {
    let of = format!("kind = 'send' AND subscriber = '{subscriber}' AND revision = {revision} AND state = 'succeeded'");
    let rows = fleet.rows(&format!(
        "SELECT s->>'source' AS source, (s->>'bytes')::bigint AS bytes
        FROM jobs, json_array_elements(result::json->'sources') s WHERE {of} AND (s->>'bytes')::bigint > 0"
    ));
    rows.iter().map(|row| (row["source"].as_str().unwrap().to_owned(), row["bytes"].as_i64().unwrap())).collect()
}

#[test]
fn a_tree_goes_through_two_tiers_to_rows_and_its_change_as_a_delta() {
    let folder = folder();
    let Some(fleet) = fleet(folder.path()) else { return };
    let tree_root = source(folder.path(), "files");
    tree::make(&tree_root, FILES, 101);
    fleet.cli.ok(&["apply", "-f", &TwoTiers::of(&["files"]).write(folder.path())]);
    fleet.cli.wait(&["build", "files"]);
    fleet.cli.wait(&["send", CHANNEL]);
    for site in SITES {
        assert_same(&tree_root, &target(folder.path(), site, "files"));
    }
    tree::change(&tree_root, 2, 102);
    fleet.cli.wait(&["build", "files"]);
    fleet.cli.wait(&["send", CHANNEL]);
    for site in SITES {
        assert_same(&tree_root, &target(folder.path(), site, "files"));
    }
    the_views_tell_the_story(&fleet);
    for revision in [1, 2] {
        the_relay_serves_its_children(&fleet, revision);
    }
    the_change_moves_little(&fleet);
    every_role_drains_and_ends(fleet);
}

fn the_views_tell_the_story(fleet: &Fleet) {
    let delivered = fleet
        .rows("SELECT subscriber, state, current_revision, extracted_revision FROM deliveries ORDER BY subscriber");
    let said: Vec<String> = delivered
        .iter()
        .map(|row| format!("{} {} {}", row["subscriber"], row["state"], row["extracted_revision"]))
        .collect();
    assert_eq!(said, ["\"lyon\" \"current\" 2", "\"paris\" \"current\" 2", "\"tokyo\" \"current\" 2"]);
    assert_eq!(fleet.number("SELECT COUNT(*) FROM jobs WHERE state <> 'succeeded'"), 0);
    assert_eq!(fleet.number("SELECT COUNT(*) FROM requests WHERE state <> 'succeeded'"), 0);
    assert_eq!(fleet.number("SELECT COUNT(*) FROM revisions"), 2);
    assert_eq!(fleet.number("SELECT COUNT(*) FROM subscribers WHERE state = 'present'"), 4);
    assert_eq!(fleet.number("SELECT COUNT(*) FROM dead_letters"), 0);
    let history = fleet.number(
        "SELECT COUNT(*) FROM (SELECT job_id FROM job_history WHERE step = 2 GROUP BY job_id HAVING COUNT(*) = 1) j",
    );
    assert_eq!(history, fleet.number("SELECT COUNT(*) FROM jobs"), "not every job has one end");
}

fn the_relay_serves_its_children(fleet: &Fleet, revision: u64) {
    let from = |site: &str| sources(fleet, site, revision).into_keys().collect::<Vec<_>>();
    assert_eq!(from("paris"), ["region"], "revision {revision}");
    assert_eq!(from("lyon"), ["region"], "revision {revision}");
    assert_eq!(from("region"), ["origin"], "revision {revision}");
    assert_eq!(from("tokyo"), ["origin"], "revision {revision}");
    // The branch below the relay costs the origin one copy: the relay's.
    let needed = fleet.number(&format!(
        "SELECT bytes_needed FROM jobs WHERE kind = 'send' AND subscriber = 'region' AND revision = {revision}"
    ));
    assert_eq!(sources(fleet, "region", revision)["origin"], needed);
}

fn the_change_moves_little(fleet: &Fleet) {
    for site in ["region", "paris", "lyon", "tokyo"] {
        let moved = |revision: u64| sources(fleet, site, revision).values().sum::<i64>();
        let (first, second) = (moved(1), moved(2));
        assert!(second > 0 && second * 8 < first, "{site}: {second} of {first} bytes for a change of 2 %");
    }
}

fn every_role_drains_and_ends(mut fleet: Fleet) {
    for name in fleet.names() {
        assert_eq!(fleet.stop(&name), Some(0), "{name} did not end in order");
    }
}

#[test]
fn requests_by_pika_and_by_amqp_publish_are_answered_and_carried_out() {
    let folder = folder();
    let Some(fleet) = fleet(folder.path()) else { return };
    tree::make(&source(folder.path(), "files"), 50, 103);
    tree::make(&source(folder.path(), "more"), 50, 104);
    fleet.cli.ok(&["apply", "-f", &TwoTiers::of(&["files", "more"]).write(folder.path())]);
    for (program, example, distribution) in
        [(python_with_pika(), "examples/post-request.py", "files"), ("sh", "examples/post-request.sh", "more")]
    {
        let posted = Command::new(program)
            .arg(repository().join(example))
            .arg(distribution)
            .env("TIDEGATE_BROKER", &fleet.ground.amqp_url)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&posted.stdout), String::from_utf8_lossy(&posted.stderr));
        assert_eq!(posted.status.code(), Some(0), "{example}: {stdout}{stderr}");
        let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(answer["answer"], "accepted", "{example}");
        let ended = format!(
            "SELECT COUNT(*) FROM revisions r JOIN jobs j ON j.id = r.job_id
            WHERE j.request_id = '{}' AND r.distribution = '{distribution}'",
            answer["request"].as_str().unwrap()
        );
        fleet.await_number(&format!("the build that {example} asked for"), &ended, 1, PATIENCE);
    }
}

#[test]
fn a_bad_request_is_answered_and_kept_as_a_dead_letter_that_can_be_shown_and_dropped() {
    let folder = folder();
    let Some(fleet) = fleet(folder.path()) else { return };
    let queue = fleet.ground.vhost.as_ref().unwrap();
    let body = r#"{"properties":{"delivery_mode":2},"routing_key":"build","payload":"{\"schema\":1,\"kind\":\"burn\"}","payload_encoding":"string"}"#;
    until("the exchange for requests", PATIENCE, || {
        let (status, answer) = queue.ask("POST", "exchanges", "/tidegate.requests/publish", body).ok()?;
        (status == 200 && answer.contains("true")).then_some(())
    });
    let kept = "SELECT COUNT(*) FROM dead_letters WHERE state = 'kept' AND code = 'request-malformed'";
    fleet.await_number("the dead letter", kept, 1, PATIENCE);
    assert_eq!(fleet.number("SELECT COUNT(*) FROM requests"), 0);
    let letters = fleet.cli.json(&["dead-letters", "list"]);
    let id = letters[0]["id"].as_str().unwrap().to_owned();
    assert!(fleet.cli.ok(&["dead-letters", "show", &id]).contains("burn"));
    // Played again it is as bad as before, and kept again: the same letter, not a second one.
    let since = fleet.psql("SELECT MAX(created_at) FROM dead_letters");
    fleet.cli.ok(&["dead-letters", "replay", &id]);
    fleet.await_number("the letter's return", &format!("{kept} AND created_at > '{since}'"), 1, PATIENCE);
    assert_eq!(fleet.number("SELECT COUNT(*) FROM dead_letters"), 1);
    fleet.cli.ok(&["dead-letters", "drop", &id]);
    assert_eq!(fleet.number(kept), 0);
}

/// The one that has the library: there may be several, and the system's packages serve the system's own.
fn python_with_pika() -> &'static str {
    let has = |python: &&str| {
        let asked =
            Command::new(python).args(["-c", "import pika"]).stdin(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    ["python3", "/usr/bin/python3"].into_iter().find(has).expect("ops/services installs python3-pika")
}
