//! The client verbs as a person types them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::program::tidegate;

/// Longer than any verb that waits may take here.
const WAIT: &str = "180s";

#[derive(Debug, Clone)]
pub struct Cli {
    data: PathBuf,
}

impl Cli {
    /// Finds the service by what it wrote into `data`.
    pub fn new(data: &Path) -> Cli {
        Cli { data: data.to_owned() }
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = program();
        command.args(arguments).arg("--data").arg(&self.data).stdin(Stdio::null());
        command.output().expect("tidegate runs")
    }

    /// What it prints when it succeeds.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.ends(arguments, 0).0
    }

    /// The same, followed to its end.
    #[track_caller]
    pub fn wait(&self, arguments: &[&str]) -> String {
        self.ok(&[arguments, &["--wait", "--timeout", WAIT]].concat())
    }

    /// Stdout and stderr of a run that ends with `code`.
    #[track_caller]
    pub fn ends(&self, arguments: &[&str], code: i32) -> (String, String) {
        let output = self.run(arguments);
        let stdout = String::from_utf8(output.stdout).expect("stdout is UTF-8");
        let stderr = String::from_utf8(output.stderr).expect("stderr is UTF-8");
        assert_eq!(output.status.code(), Some(code), "tidegate {}\n{stdout}{stderr}", arguments.join(" "));
        (stdout, stderr)
    }

    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.ok(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", arguments.join(" ")))
    }

    /// The rows of a query, each an object.
    #[track_caller]
    pub fn query(&self, sql: &str) -> Vec<Value> {
        let answer = self.json(&["query", sql]);
        answer["rows"].as_array().unwrap_or_else(|| panic!("`{sql}` gave no rows: {answer}")).clone()
    }

    /// The one number that a query gives.
    #[track_caller]
    pub fn number(&self, sql: &str) -> i64 {
        let rows = self.query(sql);
        let value = rows.first().and_then(|row| row.as_object()?.values().next()?.as_i64());
        value.unwrap_or_else(|| panic!("`{sql}` gave {rows:?}"))
    }
}

/// The program without the settings of the test's own environment, which would be taken for its.
pub fn program() -> Command {
    let mut command = Command::new(tidegate());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("TIDEGATE_") || name.starts_with("AWS_")) {
            command.env_remove(name);
        }
    }
    command
}
