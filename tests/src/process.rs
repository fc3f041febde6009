//! A process that a test started: in a group of its own, its output in a file, gone when dropped. It knows no role.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::wait::until;

/// Lines of its log that are shown when a test fails.
const LINES_SHOWN: usize = 40;
const STOP_TIME: Duration = Duration::from_secs(60);
const FREEZE_TIME: Duration = Duration::from_millis(500);

pub struct Process {
    pub name: String,
    child: Child,
    log: PathBuf,
    ended: bool,
}

impl Process {
    /// Appends what it says to `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Process {
        let open = || OpenOptions::new().create(true).append(true).open(log).expect("the log can be written");
        let child = command.stdin(Stdio::null()).stdout(open()).stderr(open()).process_group(0).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Process { name: name.to_owned(), child, log: log.to_owned(), ended: false }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Until its log has `text` at least `times` times.
    pub fn await_text(&mut self, text: &str, times: usize, patience: Duration) {
        let what = format!("`{text}` in the log of {}", self.name);
        until(&what, patience, || {
            let found = self.log_text().matches(text).count() >= times;
            if !found && let Some(status) = self.status() {
                panic!("{} ended ({status}) before it said `{text}`", self.name);
            }
            found.then_some(())
        });
    }

    /// Its end, if it has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("it is our child");
        self.ended |= status.is_some();
        status
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // It may have ended by itself: whoever minds looks at its status.
        let _ = kill_process(pid, signal);
    }

    /// Stops it where it is. The kernel stops threads one by one; only when all stand still is its step what it will be when it
    /// dies. False if they do not in time.
    pub fn freeze(&self) -> bool {
        self.signal(Signal::STOP);
        let deadline = Instant::now() + FREEZE_TIME;
        while Instant::now() < deadline {
            let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.pid())) else { return false };
            let stands = |stat: String| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'));
            if tasks.flatten().all(|task| fs::read_to_string(task.path().join("stat")).is_ok_and(stands)) {
                return true;
            }
        }
        false
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM; its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        let what = format!("the end of {}", self.name);
        until(&what, STOP_TIME, || self.status()).code()
    }

    fn end(&mut self) {
        if !self.ended {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
            self.ended = true;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let text = self.log_text();
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(LINES_SHOWN);
            eprintln!("---- {} ----\n{}", self.name, lines[from..].join("\n"));
        }
    }
}
