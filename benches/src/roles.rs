//! Processes of the program, a role each, on the services that the environment names. They end with this value.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

use crate::services::Ground;
use crate::wait::{START_LOOK_EVERY, START_TIME, until};

pub struct Roles<'a> {
    binary: PathBuf,
    ground: &'a Ground,
    /// Where each leaves its log, by its role's name.
    logs: PathBuf,
    processes: Vec<Child>,
}

impl<'a> Roles<'a> {
    pub fn none(binary: &Path, ground: &'a Ground, logs: &Path) -> Roles<'a> {
        Roles { binary: binary.to_owned(), ground, logs: logs.to_owned(), processes: Vec::new() }
    }

    /// The first of the arguments is the role.
    pub fn start(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let log = std::fs::File::create(self.logs.join(format!("{}.log", arguments[0])))?;
        let mut command = Command::new(&self.binary);
        self.ground.put_under(&mut command).args(arguments).env("TIDEGATE_LOG", "warn");
        let process = command.stdout(Stdio::null()).stderr(log).spawn();
        self.processes.push(process.with_context(|| format!("{} cannot be started", self.binary.display()))?);
        Ok(())
    }

    /// Waits for the API; a process that ends meanwhile is an error that says where to look.
    pub fn listening(&mut self, data: &Path) -> anyhow::Result<()> {
        until("the API listens", START_TIME, START_LOOK_EVERY, || {
            for process in &mut self.processes {
                if let Some(status) = process.try_wait()? {
                    bail!("a process ended with {status}; see the logs in {}", self.logs.display());
                }
            }
            Ok(data.join("api.json").exists())
        })
    }

    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Child::id).collect()
    }
}

impl Drop for Roles<'_> {
    fn drop(&mut self) {
        for process in &self.processes {
            let _ = Command::new("kill").arg(process.id().to_string()).status();
        }
        for process in &mut self.processes {
            let _ = process.wait();
        }
    }
}
