//! `tidegate up` as a process: one per directory, definitions followed as they change, a clean end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");
const PATIENCE: Duration = Duration::from_secs(60);

/// Killed when dropped, so that a failed test leaves nothing running.
struct Up {
    child: Child,
    /// Held open: what it prints has a reader.
    stdout: BufReader<ChildStdout>,
}

impl Up {
    fn start(data: &Path, files: &[&Path]) -> Up {
        let mut command = Command::new(PROGRAM);
        command.args(["up", "--drain-time", "2s", "--data"]).arg(data).stdin(Stdio::null()).stdout(Stdio::piped());
        for file in files {
            command.arg("-f").arg(file);
        }
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut up = Up { child, stdout };
        // The greeting comes once everything works.
        let mut line = String::new();
        up.stdout.read_line(&mut line).unwrap();
        assert!(line.contains("All roles run"), "{line}");
        up
    }

    fn stop(mut self) -> Option<i32> {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn definitions(folder: &Path, sites: &[&str]) -> PathBuf {
    let source = folder.join("source");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    let (root, list) = (folder.display(), sites.join(", "));
    let subscribers: String = sites
        .iter()
        .map(|site| format!("  {site}: {{ variables: {{ DEST_VOLUME: {root}/{site} }}, extract: immediately }}\n"))
        .collect();
    let text = format!(
        "distributors: {{ hq: {{}} }}
distributions:
  files: {{ distributor: hq, type: file, sources: [ {{ path: {root}/source }} ], target: \"%DEST_VOLUME%/files\", mode: mirror, build: immediately }}
channels:
  all: {{ distributions: [files], send: immediately, subscriptions: [ {list} ] }}
subscribers:
{subscribers}"
    );
    let path = folder.join("fleet.yaml");
    fs::write(&path, text).unwrap();
    path
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn two_on_one_directory_refuse_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let first = Up::start(&data, &[]);
    let second = Command::new(PROGRAM).arg("up").arg("--data").arg(&data).stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("in use by another tidegate") && stderr.contains(&first.child.id().to_string()),
        "{stderr}"
    );
    assert_eq!(first.stop(), Some(0));
    assert_eq!(Up::start(&data, &[]).stop(), Some(0));
}

#[test]
fn what_is_applied_at_the_start_is_delivered_and_new_sites_start_with_their_definition() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = definitions(folder.path(), &["paris"]);
    let up = Up::start(&data, &[&file]);
    let delivered = |site: &str| {
        let path = folder.path().join(site).join("files/file");
        move || fs::read(&path).is_ok_and(|content| content == b"content")
    };
    wait_for("the delivery to paris", delivered("paris"));
    assert_eq!(up.stop(), Some(0));
    // The second start goes on where the first ended, with a site more.
    let file = definitions(folder.path(), &["lyon", "paris"]);
    let up = Up::start(&data, &[&file]);
    wait_for("the delivery to lyon", delivered("lyon"));
    fs::remove_file(folder.path().join("fleet.yaml")).unwrap();
    assert_eq!(up.stop(), Some(0));
    assert!(!data.join("api.json").exists());
}

#[test]
fn what_lies_in_the_data_directory_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = Up::start(&data, &[&definitions(folder.path(), &["paris"])]);
    wait_for("the delivery", || folder.path().join("paris/files/file").exists());
    let secret =
        ["tidegate.sqlite", "api.json", "api.token", "sites/paris/journal.sqlite", "sites/paris/keys/site.key"];
    let beside = ["tidegate.sqlite-wal", "sites/paris/journal.sqlite-wal", "sites/paris/journal.sqlite-shm"];
    for (name, mode) in
        secret.iter().chain(&beside).map(|name| (*name, 0o600)).chain([("", 0o700), ("sites/paris", 0o700)])
    {
        let found =
            fs::metadata(data.join(name)).unwrap_or_else(|error| panic!("{name}: {error}")).permissions().mode();
        assert_eq!(found & 0o777, mode, "{name} has mode {:o}", found & 0o777);
    }
    assert_eq!(up.stop(), Some(0));
}

#[test]
fn a_site_that_is_renamed_takes_its_directory_along() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = definitions(folder.path(), &["paris"]);
    let up = Up::start(&data, &[&file]);
    let delivered = |content: &'static str| {
        let path = folder.path().join("paris/files/file");
        move || fs::read(&path).is_ok_and(|found| found == content.as_bytes())
    };
    wait_for("the delivery to paris", delivered("content"));
    let key = |site: &str| fs::read(data.join("sites").join(site).join("keys/site.key")).ok();
    let key_before = key("paris").unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("[ paris ]", "[ lutetia ]").replace("  paris: { ", "  lutetia: { renamed_from: paris, ");
    fs::write(&file, text).unwrap();
    let run = |arguments: &[&str]| {
        let run = Command::new(PROGRAM).args(arguments).arg("--data").arg(&data).stdin(Stdio::null()).output().unwrap();
        (run.status.success(), String::from_utf8_lossy(&run.stderr).into_owned())
    };
    // Its jobs go by its name: those of the delivery must have been recorded first.
    wait_for("the renaming", || {
        let (renamed, stderr) = run(&["apply", "-f", &file.display().to_string()]);
        assert!(renamed || stderr.contains("open job"), "{stderr}");
        renamed
    });
    wait_for("the directory under the new name", || key("lutetia").is_some());
    assert_eq!(key("lutetia"), Some(key_before), "a site of another identity");
    assert!(!data.join("sites/paris").exists());
    fs::write(folder.path().join("source/file"), "changed").unwrap();
    let (built, stderr) = run(&["build", "files", "--wait"]);
    assert!(built, "{stderr}");
    wait_for("a delivery under the new name", delivered("changed"));
    assert_eq!(up.stop(), Some(0));
}

#[test]
fn definitions_that_are_refused_stop_it_with_exit_code_2_and_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fleet.yaml");
    fs::write(&file, "distributors:\n  hq: { colour: red }\n").unwrap();
    let output = Command::new(PROGRAM)
        .args(["up", "--data"])
        .arg(folder.path().join("data"))
        .arg("-f")
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("fleet.yaml:2") && stderr.contains("colour"), "{stderr}");
}

#[test]
fn a_role_without_its_broker_or_with_a_wrong_setting_says_what_to_set() {
    for (arguments, code, says) in [
        (vec!["scheduler"], 2, "database"),
        (vec!["builder"], 2, "distributors"),
        (vec!["subscriber"], 2, "name"),
        (vec!["subscriber", "--name", "../x"], 2, "name"),
    ] {
        let output = Command::new(PROGRAM).args(&arguments).stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    }
}

#[cfg(feature = "services")]
#[test]
fn a_service_that_is_not_there_ends_with_exit_code_3_its_address_and_no_password() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}/x.sqlite", folder.path().display());
    let broker = "amqp://joe:HUSH@127.0.0.1:1/v";
    let run = Command::new(PROGRAM)
        .args(["recorder", "--start-timeout", "1s"])
        .env("TIDEGATE_DATABASE", &database)
        .env("TIDEGATE_BROKER", broker)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("the broker at amqp://127.0.0.1:1/v") && !stderr.contains("HUSH"), "{stderr}");
}
