//! Tidegate under measurement, driven by its own command line, results read by its own queries.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::meter::{Cost, Watch};
use crate::roles::Roles;
use crate::services::Ground;
use crate::wait::until;

/// The subscriber that is measured.
pub const SITE: &str = "site";

/// Processes that use less than this from one look to the next have nothing to do.
const QUIET_CPU: Duration = Duration::from_millis(60);
const QUIET_LOOK_EVERY: Duration = Duration::from_secs(1);
const QUIET_WITHIN: Duration = Duration::from_secs(900);

pub struct Tidegate<'a> {
    binary: PathBuf,
    data: PathBuf,
    roles: Roles<'a>,
}

impl<'a> Tidegate<'a> {
    /// `up` in one process where the ground is embedded, else a process for each role and one for the site.
    pub fn start(binary: &Path, data: &Path, ground: &'a Ground) -> anyhow::Result<Tidegate<'a>> {
        std::fs::create_dir_all(data)?;
        let mut roles = Roles::none(binary, ground, data);
        let data_path = path(data)?;
        if ground.is_embedded() {
            roles.start(&["up", "--data", data_path])?;
        } else {
            roles.start(&["api", "--data", data_path, "--listen", "127.0.0.1:0"])?;
            roles.start(&["scheduler"])?;
            roles.start(&["recorder"])?;
            roles.start(&["builder", "--distributor", "hq", "--work-dir", path(&data.join("builder"))?])?;
            roles.start(&["subscriber", "--name", SITE, "--work-dir", path(&data.join(SITE))?])?;
        }
        roles.listening(data)?;
        Ok(Tidegate { binary: binary.to_owned(), data: data.to_owned(), roles })
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
        let watch = Watch::begin(self.roles.pids())?;
        let mut all = arguments.to_vec();
        all.push("--wait");
        self.call(&all)?;
        let mut cost = watch.end()?;
        let wall = "SELECT MAX(ended_ms) - MIN(created_ms) FROM tide_requests WHERE created_ms >= (SELECT MAX(created_ms) FROM tide_requests WHERE origin = 'queue')";
        cost.wall = Duration::from_millis(self.number(wall)?);
        Ok(cost)
    }

    /// What is still done behind the last request's back, until all processes rest.
    pub fn quiet(&self) -> anyhow::Result<Cost> {
        let watch = Watch::begin(self.roles.pids())?;
        let mut cost = watch.so_far()?;
        std::thread::sleep(QUIET_LOOK_EVERY);
        until("the end of all work", QUIET_WITHIN, QUIET_LOOK_EVERY, || {
            let now = watch.so_far()?;
            let rested = now.cpu.saturating_sub(cost.cpu) < QUIET_CPU;
            if !rested {
                cost = now;
            }
            Ok(rested)
        })?;
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
        // A sum of PostgreSQL comes as a number with a point.
        let number = value.and_then(|value| value.as_u64().or(value.as_f64().map(|sum| sum as u64)));
        number.with_context(|| format!("{sql}: {rows}"))
    }
}

pub fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is no UTF-8")
}
