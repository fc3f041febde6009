//! Tidegate under measurement: `up` in one process, driven by its own command line, results read by its own queries.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::meter::{Cost, Watch};
use crate::services::Ground;
use crate::wait::until;

/// For a process to listen.
pub const START_TIME: Duration = Duration::from_secs(60);
pub const START_LOOK_EVERY: Duration = Duration::from_millis(20);

pub struct Up {
    binary: PathBuf,
    data: PathBuf,
    process: Child,
}

impl Up {
    pub fn start(binary: &Path, data: &Path, ground: &Ground) -> anyhow::Result<Up> {
        std::fs::create_dir_all(data)?;
        let log = std::fs::File::create(data.join("up.log"))?;
        let mut command = Command::new(binary);
        let mut process = ground
            .put_under(&mut command)
            .args(["up", "--data"])
            .arg(data)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", binary.display()))?;
        until("`up` listens", START_TIME, START_LOOK_EVERY, || match process.try_wait()? {
            Some(status) => bail!("`up` ended with {status}; see {}", data.join("up.log").display()),
            None => Ok(data.join("api.json").exists()),
        })?;
        Ok(Up { binary: binary.to_owned(), data: data.to_owned(), process })
    }

    pub fn call(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.binary).args(arguments).arg("--data").arg(&self.data).output()?;
        if !output.status.success() {
            bail!("tidegate {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs a verb with `--wait`, and takes the time from the request's acceptance to its end as SQL has it; the client's own
    /// start and polling are no part of the work.
    pub fn request(&self, arguments: &[&str]) -> anyhow::Result<Cost> {
        let watch = Watch::begin(self.process.id())?;
        let mut all = arguments.to_vec();
        all.push("--wait");
        self.call(&all)?;
        let mut cost = watch.end()?;
        let wall = "SELECT MAX(ended_ms) - MIN(created_ms) FROM tide_requests WHERE created_ms >= (SELECT MAX(created_ms) FROM tide_requests WHERE origin = 'queue')";
        cost.wall = Duration::from_millis(self.number(wall)?);
        Ok(cost)
    }

    pub fn number(&self, sql: &str) -> anyhow::Result<u64> {
        let rows: serde_json::Value = serde_json::from_str(&self.call(&["query", "--output", "json", sql])?)?;
        let first = match &rows {
            serde_json::Value::Array(rows) => rows.first(),
            _ => rows.get("rows").and_then(|rows| rows.get(0)),
        };
        let value = match first {
            Some(serde_json::Value::Object(row)) => row.values().next(),
            Some(serde_json::Value::Array(row)) => row.first(),
            _ => None,
        };
        value.and_then(serde_json::Value::as_u64).with_context(|| format!("{sql}: {rows}"))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

pub fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is no UTF-8")
}
