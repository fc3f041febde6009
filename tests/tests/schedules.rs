//! Schedules as a person meets them: what the program says of them, what it refuses, and what an event, a start or another's
//! extraction sets going.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tests::compare::assert_same;
use tests::program::repository;
use tests::wait::until;
use tests::{Cli, Up, tree};

const PATIENCE: Duration = Duration::from_secs(120);
const FILES: usize = 20;

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("tidegate-schedules-").tempdir().unwrap()
}

/// `hq` builds `files` for paris and lyon, all of it by schedules.
fn fleet(folder: &Path, build: &str, send: &str, paris: &str, lyon: &str) -> String {
    let root = folder.display();
    format!(
        "distributors:
  hq: {{ refresh: never, time_zone: Europe/Paris }}
distributions:
  files: {{ distributor: hq, type: file, sources: [ {{ path: {root}/source }} ], target: '%DEST%/files', mode: mirror, build: {build} }}
channels:
  protect: {{ distributions: [files], send: {send}, subscriptions: [paris, lyon] }}
subscribers:
  paris: {{ variables: {{ DEST: {root}/servers/paris }}, extract: {paris} }}
  lyon: {{ variables: {{ DEST: {root}/servers/lyon }}, extract: {lyon} }}
"
    )
}

fn apply(cli: &Cli, folder: &Path, text: &str) -> String {
    let file = folder.join("fleet.yaml");
    fs::write(&file, text).unwrap();
    cli.ok(&["apply", "-f", file.to_str().unwrap()])
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no `{field}` in {value}"))
}

/// The occurrences of a schedule that began, with what made them due.
fn causes(cli: &Cli, schedule: &str) -> Vec<String> {
    let rows = cli.query(&format!(
        "SELECT cause FROM occurrences WHERE schedule = '{schedule}' AND outcome = 'started' ORDER BY nominal"
    ));
    rows.iter().map(|row| row["cause"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_schedule_of_the_example_is_listed_explained_and_foretold() {
    let folder = folder();
    let up = Up::start(folder.path());
    let example = repository().join("examples/schedules.yaml");
    let applied = up.cli.ok(&["apply", "-f", example.to_str().unwrap()]);
    assert!(!applied.contains("warning"), "{applied}");
    let listed = up.cli.json(&["schedules"]);
    let rows = listed.as_array().unwrap().clone();
    let table = up.cli.ok(&["schedules"]);
    for (schedule, words) in [
        ("refresh/hq", "every Sunday, at 23:00 Europe/Paris"),
        ("build/definitions", "every 10m of elapsed time"),
        ("build/patches", "the 2nd Tuesday of each month, at 19:30 UTC"),
        ("build/reports", "`30 2 * * mon-fri`"),
        ("build/inventory", "whenever it starts up"),
        ("build/manuals", "whenever it shuts down"),
        ("send/patches", "the 2nd Tuesday of each month, plus 4 days, at 02:00 Europe/Paris"),
        ("send/images", "goes on in the next"),
        ("send/alarms", "whenever the event `outbreak` is posted"),
        ("send/alarms", "Up to 4 occurrences run beside each other"),
        ("extract/lyon", "30m after paris has extracted"),
        ("extract/oslo", "when its subscriber starts"),
        ("extract/quito", "once, on 2190-12-24 at 18:00"),
    ] {
        assert!(rows.iter().any(|row| row["schedule"] == schedule), "{schedule}: {listed}");
        assert!(table.contains(schedule), "{schedule}:\n{table}");
        let told = up.cli.ok(&["schedule", "explain", schedule]);
        assert!(told.contains(words), "{schedule}: {words}\n{told}");
    }
    // What waits for something else than time has no next instant, and says what it waits for instead.
    for schedule in ["build/inventory", "send/alarms", "extract/lyon"] {
        let row = rows.iter().find(|row| row["schedule"] == schedule).unwrap();
        assert!(row["next_due"].is_null(), "{row}");
        assert!(up.cli.json(&["schedule", "next", schedule])["next"].as_array().unwrap().is_empty());
        assert!(up.cli.ok(&["schedule", "next", schedule]).contains(schedule));
    }
    assert!(rows.iter().filter(|row| row["next_due"].is_string()).count() >= 11, "{listed}");
}

/// The second Tuesday is one from the 8th to the 14th, so that four days later is a Saturday from the 12th to the 18th.
#[test]
fn the_coming_occurrences_are_told_in_the_schedules_zone_and_in_utc() {
    let folder = folder();
    let up = Up::start(folder.path());
    let example = repository().join("examples/schedules.yaml");
    up.cli.ok(&["apply", "-f", example.to_str().unwrap()]);
    let told = up.cli.json(&["schedule", "next", "send/patches", "--count", "24"]);
    assert_eq!(told["zone"], "Europe/Paris");
    let next = told["next"].as_array().unwrap();
    assert_eq!(next.len(), 24);
    let mut months = Vec::new();
    for coming in next {
        let local: jiff::civil::DateTime = text(coming, "local").parse().unwrap();
        let instant: jiff::Timestamp = text(coming, "start").parse().unwrap();
        assert_eq!(local.in_tz("Europe/Paris").unwrap().timestamp(), instant, "{coming}");
        assert_eq!((local.hour(), local.weekday()), (2, jiff::civil::Weekday::Saturday), "{coming}");
        assert!((12..=18).contains(&local.day()), "{coming}");
        months.push((local.year(), local.month()));
    }
    months.dedup();
    assert_eq!(months.len(), 24, "one in each month");
    let table = up.cli.ok(&["schedule", "next", "send/patches", "--count", "2"]);
    assert!(table.contains("EUROPE/PARIS") && table.contains("UTC") && table.lines().count() >= 3, "{table}");
    let (_, stderr) = up.cli.ends(&["schedule", "next", "send/nothing"], 1);
    assert!(stderr.contains("schedule-unknown"), "{stderr}");
}

#[test]
fn hostile_schedules_are_refused_and_nothing_is_applied() {
    let folder = folder();
    let up = Up::start(folder.path());
    let bad = folder.path().join("bad.yaml");
    let window = "daily: all, window: '20:00-05:00'";
    for (build, send, paris, lyon, says) in [
        (
            "never",
            "never",
            "{ after: lyon }",
            "{ after: paris }",
            "extractions wait for each other: lyon -> paris -> lyon",
        ),
        ("never", "never", "{ after: paris }", "never", "paris -> paris"),
        ("never", "never", "{ after: nobody }", "never", "there is no subscriber `nobody`"),
        ("{ after: paris }", "never", "never", "never", "a build does not come after"),
        ("never", "{ after: paris }", "never", "never", "a send does not come after"),
        ("never", "never", "{ event: ../../x }", "never", "is not the name of an event"),
        ("never", "never", "{ event: startup, catch_up: all }", "never", "`catch_up` has no meaning beside `event`"),
        ("never", "never", "{ after: lyon, overlap: beside }", "never", "`overlap` has no meaning beside `after`"),
        ("never", "never", "{ after: lyon, delay: 99d }", "never", "is not a delay of at most 31 days"),
        ("never", "{ daily: all, at: '03:00', stop_at_end: true }", "never", "never", "`stop_at_end` needs a window"),
        (
            &format!("{{ {window}, stop_at_end: true }}"),
            "never",
            "never",
            "never",
            "a build does not stop when its window ends",
        ),
        ("never", "{ every: 10m, overlap: sideways }", "never", "never", "there are queue, skip, beside"),
    ] {
        fs::write(&bad, fleet(folder.path(), build, send, paris, lyon)).unwrap();
        let (_, stderr) = up.cli.ends(&["apply", "-f", bad.to_str().unwrap()], 1);
        assert!(stderr.contains(says) && stderr.contains("bad.yaml:"), "{says}\n{stderr}");
    }
    assert_eq!(up.cli.number("SELECT COUNT(*) FROM schedules"), 0);
}

#[test]
fn a_posted_event_sets_going_what_waits_for_it() {
    let folder = folder();
    tree::make(&folder.path().join("source"), FILES, 1);
    let up = Up::start(folder.path());
    let doors = "{ event: doors-open, overlap: beside }";
    apply(&up.cli, folder.path(), &fleet(folder.path(), doors, "immediately", "immediately", "immediately"));
    let (_, stderr) = up.cli.ends(&["event", "startup"], 2);
    assert!(stderr.contains("event-reserved"), "{stderr}");
    assert!(up.cli.wait(&["event", "doors-shut"]).contains("0 schedules"), "nobody waits for it");
    let ended = up.cli.wait(&["event", "doors-open"]);
    assert!(ended.contains("1 schedules are due by it"), "{ended}");
    until("both sites have what the event set going", PATIENCE, || {
        let current = "SELECT COUNT(*) FROM deliveries WHERE state = 'current' AND current_revision = 1";
        (up.cli.number(current) == 2).then_some(())
    });
    for site in ["paris", "lyon"] {
        assert_same(&folder.path().join("source"), &folder.path().join("servers").join(site).join("files"));
    }
    let caused = causes(&up.cli, "build/files");
    assert_eq!(caused.len(), 1, "{caused:?}");
    let posted = up.cli.query("SELECT id FROM requests WHERE kind = 'event' ORDER BY created_at DESC LIMIT 1");
    assert_eq!(caused[0], format!("event/{}", text(&posted[0], "id")));
    up.cli.wait(&["event", "doors-open"]);
    until("the second event", PATIENCE, || (causes(&up.cli, "build/files").len() == 2).then_some(()));
}

#[test]
fn a_start_is_an_event_of_the_control_side_and_of_each_subscriber_once() {
    let folder = folder();
    tree::make(&folder.path().join("source"), FILES, 1);
    let mut up = Up::start(folder.path());
    // All roles run; the first turn of the scheduler, which is the start, may be yet to come.
    up.process.await_text("the control side has started", 1, PATIENCE);
    let startup = "{ event: startup }";
    apply(&up.cli, folder.path(), &fleet(folder.path(), startup, "immediately", startup, "{ event: shutdown }"));
    // What runs already has not started since; the sites of this fleet are new, and start now.
    until("paris has started", PATIENCE, || (causes(&up.cli, "extract/paris").len() == 1).then_some(()));
    assert_eq!(causes(&up.cli, "build/files"), [""; 0], "the control side had started before");
    up.process.stop();
    up = Up::start(folder.path());
    until("the control side has started", PATIENCE, || (causes(&up.cli, "build/files").len() == 1).then_some(()));
    assert!(causes(&up.cli, "build/files")[0].starts_with("startup/"));
    until("paris has started anew", PATIENCE, || (causes(&up.cli, "extract/paris").len() == 2).then_some(()));
    until("what was built is there", PATIENCE, || {
        let stored = "SELECT COUNT(*) FROM jobs WHERE kind = 'send' AND state = 'succeeded'";
        (up.cli.number(stored) == 2).then_some(())
    });
    assert_eq!(causes(&up.cli, "build/files").len(), 1, "once for a start");
}

#[test]
fn lyon_extracts_after_paris_has_and_not_before() {
    let folder = folder();
    tree::make(&folder.path().join("source"), FILES, 1);
    let up = Up::start(folder.path());
    apply(&up.cli, folder.path(), &fleet(folder.path(), "never", "never", "never", "{ after: paris }"));
    up.cli.wait(&["build", "files"]);
    up.cli.wait(&["send", "protect"]);
    assert_eq!(causes(&up.cli, "extract/lyon").len(), 0);
    assert!(!folder.path().join("servers/lyon").exists(), "paris has not extracted yet");
    up.cli.wait(&["extract", "paris"]);
    until("lyon has extracted after paris", PATIENCE, || {
        let done = "SELECT COUNT(*) FROM jobs WHERE kind = 'extract' AND subscriber = 'lyon' AND state = 'succeeded'";
        (up.cli.number(done) == 1).then_some(())
    });
    assert_same(&folder.path().join("source"), &folder.path().join("servers/lyon/files"));
    assert_eq!(causes(&up.cli, "extract/lyon"), ["after/paris/files/1"]);
}
