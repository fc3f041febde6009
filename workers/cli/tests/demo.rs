//! The demo as a newcomer runs it: the built program, on a small tree. What it says is judged by what is on the disk.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");
const PATIENCE: Duration = Duration::from_secs(60);

fn small_tree(root: &Path) {
    fs::create_dir_all(root.join("guide/empty")).unwrap();
    fs::write(root.join("README.md"), "# A tree\n").unwrap();
    let long: String = (0..20_000).map(|line| format!("line {line} of the manual\n")).collect();
    fs::write(root.join("guide/manual.txt"), long).unwrap();
    fs::write(root.join("guide/run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("guide/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("manual.txt", root.join("guide/latest")).unwrap();
}

fn demo(source: &Path, data: &Path) -> Output {
    Command::new(PROGRAM).args(["demo", "--data"]).arg(data).arg(source).stdin(Stdio::null()).output().unwrap()
}

/// Path below the root → what it is.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            let mode = about.permissions().mode() & 0o777;
            let what = if about.is_symlink() {
                format!("link {:?}", fs::read_link(&path).unwrap())
            } else if about.is_dir() {
                open.push(path.clone());
                format!("folder {mode:o}")
            } else {
                format!("file {mode:o} {:?}", fs::read(&path).unwrap())
            };
            all.insert(path.strip_prefix(root).unwrap().to_owned(), what);
        }
    }
    all
}

#[test]
fn the_demo_delivers_a_tree_and_its_change_to_three_sites_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (source, data) = (folder.path().join("tree"), folder.path().join("data"));
    small_tree(&source);
    let before = tree(&source);
    let output = demo(&source, &data);
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{:?}\n{stdout}\n{stderr}", output.status);

    assert_eq!(tree(&source), before, "the person's own files were changed");
    let changed = tree(&data.join("source"));
    assert!(changed[Path::new("guide/manual.txt")].len() > before[Path::new("guide/manual.txt")].len());
    for site in ["lyon", "paris", "tokyo"] {
        assert_eq!(tree(&data.join("servers").join(site).join("files")), changed, "{site}");
    }

    for expected in
        ["lyon", "paris", "tokyo", "region", "SELECT s.revision", "Verified:", "rm -rf", "tidegate query --data"]
    {
        assert!(stdout.contains(expected), "`{expected}` is not on stdout:\n{stdout}");
    }
    for expected in ["Building revision 1", "Sending", "received", "extracted"] {
        assert!(stderr.contains(expected), "`{expected}` is not on stderr:\n{stderr}");
        assert!(!stdout.contains(expected) || expected == "extracted", "`{expected}` is on stdout");
    }
    assert!(!stderr.contains('\u{1b}'), "bars were drawn where nobody looks: {stderr}");
}

#[test]
fn every_site_behind_the_relay_fetches_from_it_and_the_change_costs_a_fraction() {
    let folder = tempfile::tempdir().unwrap();
    let (source, data) = (folder.path().join("tree"), folder.path().join("data"));
    small_tree(&source);
    let output = demo(&source, &data);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Vec<&str>> = stdout
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|cells| cells.len() > 2 && ["1", "2"].contains(&cells[0]))
        .collect();
    let from = |revision: &str| {
        let of = rows.iter().filter(|cells| cells[0] == revision);
        of.map(|cells| (cells[1], cells[2])).collect::<BTreeMap<_, _>>()
    };
    let wanted = BTreeMap::from([("region", "origin"), ("lyon", "region"), ("paris", "region"), ("tokyo", "region")]);
    assert_eq!(from("1"), wanted, "{stdout}");
    assert_eq!(from("2"), wanted, "{stdout}");
    let percent = stdout
        .lines()
        .find(|line| line.starts_with("Sent again"))
        .and_then(|line| line.rsplit('(').next()?.split(' ').next()?.parse::<f64>().ok());
    assert!(percent.is_some_and(|percent| percent > 0.0 && percent < 60.0), "{stdout}");
}

#[test]
fn wrong_usage_is_refused_with_exit_code_2_and_nothing_on_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let (absent, empty) = (folder.path().join("absent"), folder.path().join("empty"));
    fs::create_dir(&empty).unwrap();
    for (source, data, says) in [
        (&absent, folder.path().join("a"), "not a directory"),
        (&empty, folder.path().join("b"), "holds no file"),
        (&empty, folder.path().to_owned(), "is not empty"),
    ] {
        let output = demo(source, &data);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(says) && output.stdout.is_empty(), "{stderr}");
    }
}

#[test]
fn a_job_that_fails_ends_it_with_exit_code_1_and_the_jobs_own_error() {
    let folder = tempfile::tempdir().unwrap();
    let (source, data) = (folder.path().join("tree"), folder.path().join("data"));
    fs::create_dir(&source).unwrap();
    // Nothing that some site would read as a path of another folder is ever built.
    fs::write(source.join(r"up\down"), "one").unwrap();
    let output = demo(&source, &data);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for expected in [r"up\down", "the build did not succeed", "rm -rf"] {
        assert!(stderr.contains(expected), "{expected}: {stderr}");
    }
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn ctrl_c_ends_the_demo_and_leaves_nothing_running() {
    let folder = tempfile::tempdir().unwrap();
    let (source, data) = (folder.path().join("tree"), folder.path().join("data"));
    small_tree(&source);
    let mut child = Command::new(PROGRAM)
        .args(["demo", "--stay", "--data"])
        .arg(&data)
        .arg(&source)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| data.join("api.json").exists());
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    wait_for(|| child.try_wait().unwrap().is_some());
    let code = child.wait().unwrap().code();
    assert!([Some(0), Some(130)].contains(&code), "{code:?}");
    assert!(!data.join("api.json").exists(), "the address of a service that is gone was left");
}

fn wait_for(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "it took longer than {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
