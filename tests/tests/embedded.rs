//! `tidegate up` as a person runs it, and every client verb against it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tests::compare::{assert_contains, assert_same, is_same};
use tests::definitions::{CHANNEL, SITES, TwoTiers, source, target};
use tests::program::repository;
use tests::wait::until;
use tests::{Cli, Up, tree};

const FILES: usize = 300;
const PATIENCE: Duration = Duration::from_secs(120);

/// A service with a fleet applied, on a folder of its own.
struct Stage {
    up: Up,
    // After the process, which works in it.
    folder: tempfile::TempDir,
}

impl Stage {
    fn new(fleet: &TwoTiers) -> Stage {
        let folder = tempfile::Builder::new().prefix("tidegate-embedded-").tempdir().unwrap();
        let up = Up::start(folder.path());
        up.cli.ok(&["apply", "-f", &fleet.write(folder.path())]);
        Stage { up, folder }
    }

    /// With a tree of `files` for its one distribution.
    fn with_tree(fleet: &TwoTiers, files: usize, seed: u64) -> Stage {
        let stage = Stage::new(fleet);
        tree::make(&stage.source(), files, seed);
        stage
    }

    fn cli(&self) -> &Cli {
        &self.up.cli
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn source(&self) -> PathBuf {
        source(self.path(), "files")
    }

    fn target(&self, site: &str) -> PathBuf {
        target(self.path(), site, "files")
    }

    fn build(&self) {
        self.cli().wait(&["build", "files"]);
    }

    fn send(&self) {
        self.cli().wait(&["send", CHANNEL]);
    }

    fn moved(&self, subscriber: &str, revision: u64) -> i64 {
        let of =
            format!("kind = 'send' AND subscriber = '{subscriber}' AND revision = {revision} AND state = 'succeeded'");
        self.cli().number(&format!("SELECT bytes_moved FROM jobs WHERE {of}"))
    }
}

fn files_fleet() -> TwoTiers {
    TwoTiers::of(&["files"])
}

#[test]
fn a_tree_goes_from_apply_to_rows_and_its_change_as_a_delta() {
    let stage = Stage::with_tree(&files_fleet(), FILES, 1);
    stage.build();
    stage.send();
    for site in SITES {
        assert_same(&stage.source(), &stage.target(site));
    }
    assert_eq!(
        stage.cli().number("SELECT COUNT(*) FROM deliveries WHERE state = 'current' AND current_revision = 1"),
        3
    );
    assert!(!stage.path().join("servers/region").exists(), "a relay that is not subscribed extracted");

    let changed = tree::change(&stage.source(), 2, 2);
    stage.build();
    stage.send();
    for site in SITES {
        assert_same(&stage.source(), &stage.target(site));
        assert!(
            !stage.target(site).join(&changed.removed).exists()
                && !stage.target(site).join(&changed.renamed.0).exists()
        );
        let (first, second) = (stage.moved(site, 1), stage.moved(site, 2));
        assert!(second > 0 && second * 5 < first, "{site}: {second} of {first} bytes moved for a change of 2 %");
    }
}

#[test]
fn children_take_their_bytes_from_the_relay() {
    let stage = Stage::with_tree(&files_fleet(), FILES, 3);
    stage.build();
    stage.send();
    let sources = |site: &str| {
        let of = format!("SELECT result FROM jobs WHERE kind = 'send' AND subscriber = '{site}'");
        let result: Value = serde_json::from_str(stage.cli().query(&of)[0]["result"].as_str().unwrap()).unwrap();
        let all = result["sources"].as_array().unwrap().clone();
        all.iter()
            .filter(|one| one["bytes"] != 0)
            .map(|one| one["source"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(sources("paris"), ["region"]);
    assert_eq!(sources("lyon"), ["region"]);
    assert_eq!(sources("region"), ["origin"]);
    assert_eq!(sources("tokyo"), ["origin"]);
}

#[test]
fn an_unchanged_tree_makes_no_revision_and_a_second_send_no_job() {
    let stage = Stage::with_tree(&files_fleet(), 40, 4);
    stage.build();
    stage.build();
    stage.send();
    let sends = "SELECT COUNT(*) FROM jobs WHERE kind = 'send'";
    let before = stage.cli().number(sends);
    stage.send();
    assert_eq!(stage.cli().number(sends), before);
    assert_eq!(stage.cli().number("SELECT COUNT(*) FROM revisions"), 1);
    assert_eq!(stage.cli().number("SELECT COUNT(*) FROM jobs WHERE kind = 'build' AND state = 'succeeded'"), 2);
}

#[test]
fn merge_replaces_files_in_a_shared_folder_and_deletes_only_its_own() {
    let mut fleet = files_fleet();
    fleet.distributions[0].1 = "merge";
    let stage = Stage::with_tree(&fleet, 60, 5);
    let foreign = stage.target("paris").join("foreign.conf");
    fs::create_dir_all(stage.target("paris")).unwrap();
    fs::write(&foreign, "mine").unwrap();
    stage.build();
    stage.send();
    assert_contains(&stage.source(), &stage.target("paris"));
    let changed = tree::change(&stage.source(), 5, 6);
    stage.build();
    stage.send();
    assert_contains(&stage.source(), &stage.target("paris"));
    assert!(!stage.target("paris").join(&changed.removed).exists(), "what was removed is still there");
    assert_eq!(fs::read(&foreign).unwrap(), b"mine");
}

#[test]
fn a_site_that_never_extracts_holds_content_until_it_is_told() {
    let fleet = TwoTiers { lyon_extracts: "never", ..files_fleet() };
    let stage = Stage::with_tree(&fleet, 60, 7);
    stage.build();
    stage.send();
    assert!(!stage.target("lyon").exists());
    let state = || stage.cli().query("SELECT state FROM deliveries WHERE subscriber = 'lyon'")[0]["state"].clone();
    assert_eq!(state(), "received");
    stage.cli().wait(&["extract", "lyon"]);
    assert_same(&stage.source(), &stage.target("lyon"));
    assert_eq!(state(), "current");
}

#[test]
fn a_drifted_target_is_told_by_verify_and_set_right_by_the_next_extract() {
    let stage = Stage::with_tree(&files_fleet(), 30, 21);
    stage.build();
    stage.send();
    let target = stage.target("paris");
    let verify = |code: i32| stage.cli().ends(&["verify", target.to_str().unwrap()], code).0;
    assert!(verify(0).contains("is revision 1"));
    fs::write(target.join("not-ours"), "x").unwrap();
    assert!(verify(1).contains("extra                not-ours"));
    stage.cli().wait(&["extract", "paris", "--force"]);
    verify(0);
    assert!(stage.cli().ends(&["verify", "/srv/never"], 2).1.contains("nothing was extracted to /srv/never"));
}

#[test]
fn a_rollback_brings_the_earlier_tree_back_without_download_until_the_next_extract() {
    let stage = Stage::with_tree(&files_fleet(), 60, 8);
    stage.build();
    stage.send();
    let first = stage.path().join("first");
    copy(&stage.target("paris"), &first);
    tree::change(&stage.source(), 10, 9);
    stage.build();
    stage.send();
    assert_same(&stage.source(), &stage.target("paris"));
    stage.cli().wait(&["rollback", "paris", "files", "--revision", "1"]);
    assert_same(&first, &stage.target("paris"));
    assert_eq!(stage.cli().query("SELECT state FROM deliveries WHERE subscriber = 'paris'")[0]["state"], "rolled back");
    let last =
        "SELECT bytes_moved FROM jobs WHERE kind = 'send' AND subscriber = 'paris' ORDER BY created_at DESC LIMIT 1";
    assert_eq!(stage.cli().number(last), 0, "a rollback moved bytes");
    // A send does not undo what a person pinned; an extract does.
    stage.send();
    assert_same(&first, &stage.target("paris"));
    stage.cli().wait(&["extract", "paris"]);
    assert_same(&stage.source(), &stage.target("paris"));
}

#[test]
fn a_rollback_without_a_number_goes_one_step_back_past_what_the_site_never_had() {
    let stage = Stage::with_tree(&files_fleet(), 40, 31);
    stage.build();
    stage.send();
    let first = stage.path().join("first");
    copy(&stage.target("paris"), &first);
    tree::change(&stage.source(), 10, 32);
    stage.build();
    tree::change(&stage.source(), 10, 33);
    stage.build();
    stage.send();
    stage.cli().wait(&["rollback", "paris", "files"]);
    assert_same(&first, &stage.target("paris"));
    let pinned = "SELECT extracted_revision, state FROM deliveries WHERE subscriber = 'paris'";
    assert_eq!(stage.cli().query(pinned)[0]["extracted_revision"], 1);
    let rows = stage.cli().query(
        "SELECT revision, bytes_moved FROM jobs WHERE subscriber = 'paris' ORDER BY created_at DESC, kind LIMIT 2",
    );
    assert!(rows.iter().all(|row| row["revision"] == 1 && row["bytes_moved"] == 0), "{rows:?}");
}

#[test]
fn a_paused_lane_holds_its_jobs_which_can_be_cancelled_and_retried() {
    let stage = Stage::with_tree(&files_fleet(), 40, 10);
    stage.build();
    stage.send();
    tree::change(&stage.source(), 10, 11);
    stage.build();
    let lane = format!("site/paris/{CHANNEL}");
    stage.cli().ok(&["pause", &lane]);
    stage.cli().ok(&["send", CHANNEL]);
    until("the others' deliveries", PATIENCE, || is_same(&stage.source(), &stage.target("lyon")).then_some(()));
    assert!(!is_same(&stage.source(), &stage.target("paris")), "a paused lane went on");
    let open = "SELECT id FROM jobs WHERE subscriber = 'paris' AND kind = 'send' AND state IN ('waiting', 'queued')";
    let job = stage.cli().query(open)[0]["id"].as_str().unwrap().to_owned();
    stage.cli().wait(&["cancel", &job]);
    let state = || stage.cli().query(&format!("SELECT state FROM jobs WHERE id = '{job}'"))[0]["state"].clone();
    assert_eq!(state(), "cancelled");
    stage.cli().ok(&["resume", &lane]);
    stage.cli().wait(&["retry", &job]);
    assert_eq!(state(), "cancelled", "a terminal state changed");
    assert_eq!(
        stage.cli().number(&format!("SELECT COUNT(*) FROM jobs WHERE retry_of = '{job}' AND state = 'succeeded'")),
        1
    );
    stage.send();
    stage.cli().wait(&["extract", "paris"]);
    assert_same(&stage.source(), &stage.target("paris"));
}

#[test]
fn a_failed_job_ends_with_exit_code_1_and_a_retry_after_the_repair_succeeds() {
    let stage = Stage::new(&files_fleet());
    // There is no source.
    let (_, stderr) = stage.cli().ends(&["build", "files", "--wait"], 1);
    let failed = stage.cli().query("SELECT job_id, error_code FROM failures");
    assert_eq!(failed.len(), 1, "{stderr}");
    tree::make(&stage.source(), 20, 12);
    stage.cli().wait(&["retry", failed[0]["job_id"].as_str().unwrap()]);
    assert_eq!(stage.cli().number("SELECT COUNT(*) FROM revisions"), 1);
    assert_eq!(stage.cli().number("SELECT retried FROM failures"), 1);
}

#[test]
fn every_view_and_verb_that_shows_answers_in_every_form() {
    let stage = Stage::with_tree(&files_fleet(), 20, 13);
    stage.build();
    stage.send();
    let shows: [&[&str]; 13] = [
        &["jobs"],
        &["deliveries"],
        &["lanes"],
        &["schedules"],
        &["status"],
        &["routes"],
        &["dead-letters", "list"],
        &["get", "subscribers"],
        &["get", "channel", CHANNEL],
        &["describe", "subscriber", "paris"],
        &["db", "url"],
        &["db", "views"],
        &["query", "SELECT * FROM deliveries"],
    ];
    for verb in shows {
        for form in ["table", "json", "yaml"] {
            let text = stage.cli().ok(&[verb, &["--output", form]].concat());
            assert!(!text.trim().is_empty(), "{verb:?} as {form} says nothing");
        }
        stage.cli().json(verb);
    }
    let routes = stage.cli().ok(&["routes", "paris"]);
    assert!(routes.contains("region"), "{routes}");
}

#[test]
fn the_example_applies_as_it_stands_and_delivers_where_its_paths_are_moved() {
    let folder = tempfile::Builder::new().prefix("tidegate-embedded-").tempdir().unwrap();
    let up = Up::start(folder.path());
    let example = repository().join("examples/hello.yaml");
    up.cli.ok(&["apply", "--dry-run", "-f", example.to_str().unwrap()]);
    assert_eq!(count(&up.cli, "subscribers"), 0, "a dry run changed something");
    up.cli.ok(&["apply", "-f", example.to_str().unwrap()]);
    up.cli.ok(&["apply", "-f", example.to_str().unwrap()]);
    let moved = folder.path().join("tour");
    tree::make(&moved.join("source"), 30, 14);
    fs::write(moved.join("source/left.tmp"), "excluded").unwrap();
    let text = fs::read_to_string(&example).unwrap().replace("/tmp/tidegate-tour", moved.to_str().unwrap());
    let file = folder.path().join("hello.yaml");
    fs::write(&file, text).unwrap();
    up.cli.ok(&["apply", "-f", file.to_str().unwrap()]);
    up.cli.wait(&["build", "antivirus"]);
    // `send: immediately`: nobody asks for the sends.
    let arrived = |site: &str| moved.join(site).join("antivirus/bin/run").exists();
    until("the deliveries of the example", PATIENCE, || (arrived("paris") && arrived("tokyo")).then_some(()));
    fs::remove_file(moved.join("source/left.tmp")).unwrap();
    assert_contains(&moved.join("source"), &moved.join("paris/antivirus"));
    assert!(!moved.join("paris/antivirus/left.tmp").exists());
}

#[test]
fn input_of_the_wrong_form_is_refused_with_its_exit_code_and_changes_nothing() {
    let stage = Stage::new(&files_fleet());
    let bad = stage.path().join("bad.yaml");
    let declared = |text: &str| fs::write(&bad, text).unwrap();
    let file = bad.display().to_string();
    for (text, says) in [
        ("distributors:\n  hq: { colour: red }\n", "bad.yaml:2"),
        ("distributors:\n  \"../hq\": {}\n", "../hq"),
        ("channels:\n  late: { distributions: [files], send: dayly }\n", "dayly"),
        ("channels:\n  lost: { distributions: [nowhere], send: never }\n", "nowhere"),
        ("subscribers:\n  a: { parent: b, extract: never }\n  b: { parent: a, extract: never }\n", "loop"),
        ("distributors: [", "bad.yaml"),
    ] {
        declared(text);
        let (_, stderr) = stage.cli().ends(&["apply", "-f", &file], 1);
        assert!(stderr.contains(says), "{text}\n{stderr}");
    }
    assert_eq!(count(stage.cli(), "subscribers"), 4, "a refused file changed something");
    for (arguments, code) in [
        (vec!["build", "nothing"], 1),
        (vec!["build", "../x"], 2),
        (vec!["burn"], 2),
        (vec!["delete", "group", "asia"], 1),
        (vec!["query", "DELETE FROM tide_jobs"], 2),
        (vec!["query", "SELECT x FROM nowhere"], 2),
        (vec!["jobs", "ffffffff"], 1),
        (vec!["dead-letters", "show", "ffffffff"], 1),
        (vec!["wait", "01930000-0000-7000-8000-000000000001"], 1),
        (vec!["rollback", "paris", "files", "--revision", "9", "--wait", "--timeout", "60s"], 1),
        (vec!["pause", "site/nobody/here"], 1),
    ] {
        stage.cli().ends(&arguments, code);
    }
    let elsewhere = Cli::new(&stage.path().join("nowhere"));
    elsewhere.ends(&["status"], 3);
}

#[test]
fn a_kill_in_the_middle_of_a_send_is_made_good_by_the_next_start() {
    let mut stage = Stage::with_tree(&files_fleet(), 1500, 15);
    stage.build();
    for round in 0..3 {
        if round > 0 {
            tree::change(&stage.source(), 30, 20 + round);
            stage.build();
        }
        stage.cli().ok(&["send", CHANNEL]);
        until("the send's beginning", PATIENCE, || begun(&stage).then_some(()));
        let folder = stage.folder.path().to_owned();
        stage.up.process.signal(rustix::process::Signal::KILL);
        until("the end of up", PATIENCE, || stage.up.process.status());
        stage.up = Up::start(&folder);
        let open = "SELECT COUNT(*) FROM jobs WHERE state IN ('waiting', 'queued', 'running')";
        until("the end of every job", PATIENCE, || (stage.cli().number(open) == 0).then_some(()));
        for site in SITES {
            assert_same(&stage.source(), &stage.target(site));
        }
    }
    assert_eq!(stage.cli().number("SELECT COUNT(*) FROM jobs WHERE state <> 'succeeded'"), 0);
    // A planner that was killed keeps its request for the time of its claim.
    let open = "SELECT COUNT(*) FROM requests WHERE state IN ('accepted', 'open')";
    until("the end of every request", PATIENCE, || (stage.cli().number(open) == 0).then_some(()));
    assert_eq!(stage.cli().number("SELECT COUNT(*) FROM requests WHERE state <> 'succeeded'"), 0);
    let ends = "SELECT COUNT(*) AS n FROM job_history WHERE step = 2 GROUP BY job_id HAVING COUNT(*) > 1";
    assert!(stage.cli().query(ends).is_empty(), "a job ended twice");
}

/// Objects of a kind in effect.
fn count(cli: &Cli, kind: &str) -> usize {
    cli.json(&["get", kind])["objects"].as_array().map_or(0, Vec::len)
}

/// Some of the first tier's content has arrived, and not everything is done.
fn begun(stage: &Stage) -> bool {
    stage.cli().number("SELECT COUNT(*) FROM jobs WHERE kind = 'send' AND state IN ('queued', 'running')") > 0
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}
