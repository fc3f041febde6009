//! `tidegate up` on a directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{Cli, program};
use crate::process::Process;

const START: Duration = Duration::from_secs(60);

pub struct Up {
    pub process: Process,
    pub cli: Cli,
}

impl Up {
    /// Returns once all roles run.
    pub fn start(folder: &Path) -> Up {
        Up::start_with(folder, &[])
    }

    pub fn start_with(folder: &Path, flags: &[&str]) -> Up {
        let data = data(folder);
        let log = folder.join("up.log");
        let mut command = program();
        command.args(["up", "--drain-time", "2s", "--data"]).arg(&data).args(flags);
        let before = std::fs::read_to_string(&log).unwrap_or_default().matches(GREETING).count();
        let mut process = Process::start("up", &mut command, &log);
        process.await_text(GREETING, before + 1, START);
        Up { process, cli: Cli::new(&data) }
    }
}

const GREETING: &str = "All roles run";

pub fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}
