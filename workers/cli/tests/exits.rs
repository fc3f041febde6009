//! Exit codes and streams of the program as a shell sees them, without any service.

use std::path::Path;
use std::process::{Command, Output};

fn tidegate(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
        command.env_remove(name);
    }
    command.current_dir(dir).args(args).output().unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_exit_code_says_what_kind_of_end_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{unused}");
    for (args, code) in [
        (vec!["--version"], 0),
        (vec!["help", "apply"], 0),
        (vec!["schema", "print", "request"], 0),
        (vec!["db", "migrate", "--database", "sqlite://migrated.db"], 0),
        (vec!["schema", "print", "nothing"], 1),
        (vec![], 2),
        (vec!["burn"], 2),
        (vec!["apply", "-f", "absent.yaml", "--api", &nobody, "--token", "t"], 2),
        (vec!["status", "--api", "paris", "--token", "t"], 2),
        (vec!["db", "migrate"], 2),
        (vec!["status"], 3),
        (vec!["status", "--data", "absent"], 3),
        (vec!["build", "antivirus", "--wait", "--api", &nobody, "--token", "t"], 3),
    ] {
        let output = tidegate(dir.path(), &args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", err(&output));
        if code == 1 || code == 3 {
            assert!(output.stdout.is_empty() && err(&output).starts_with("tidegate: "), "{args:?}: {}", err(&output));
        }
    }
}

#[test]
fn results_are_on_stdout_alone_and_read_as_what_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let json = tidegate(dir.path(), &["schema", "print", "request.schema.json"]);
    assert!(json.stderr.is_empty());
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(document["properties"]["selector"].is_object());
    let listed = tidegate(dir.path(), &["schema", "print", "-o", "json"]);
    let names: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert!(names["schemas"].as_array().unwrap().contains(&"asyncapi.json".into()));
    let bash = tidegate(dir.path(), &["completions", "bash"]);
    assert!(String::from_utf8_lossy(&bash.stdout).contains("dead-letters"));
}

/// A token that others can read is refused before it is used.
#[cfg(unix)]
#[test]
fn an_address_file_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("api.json");
    std::fs::write(&file, r#"{"url":"http://127.0.0.1:1","token":"very-secret-token"}"#).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = tidegate(dir.path(), &["status", "--data", "."]);
    assert_eq!(output.status.code(), Some(3));
    assert!(err(&output).contains("chmod 600") && !err(&output).contains("very-secret-token"), "{}", err(&output));
}
