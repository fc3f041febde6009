//! What a step cost: wall time, processor time, and the largest resident set, of a child or of a process that goes on.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub wall: Duration,
    pub cpu: Duration,
    pub peak_rss_bytes: u64,
    /// Stored or moved, whichever the step is about.
    pub bytes: u64,
}

/// Runs a command to its end; figures by `getrusage` of it and its children.
pub fn child(command: &mut Command) -> anyhow::Result<Cost> {
    let shown = format!("{command:?}");
    let mut timed = Command::new("/usr/bin/env");
    timed.arg("python3").arg("-c").arg(WRAPPER).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        timed.current_dir(directory);
    }
    let output = timed.output().with_context(|| shown.clone())?;
    if !output.status.success() {
        bail!("{shown} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().last().unwrap_or_default();
    let figures: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [wall, cpu, rss] = figures[..] else { bail!("no figures from {shown}: {text}") };
    Ok(Cost {
        wall: Duration::from_secs_f64(wall),
        cpu: Duration::from_secs_f64(cpu),
        peak_rss_bytes: rss as u64,
        bytes: 0,
    })
}

/// Standard output is kept from the figures; wall time is the command's alone.
const WRAPPER: &str = "
import os, resource, subprocess, sys, time
begin = time.monotonic()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
wall = time.monotonic() - begin
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, file=sys.stderr)
sys.exit(code)
";

/// Processes that go on: their costs between two instants. Their processor time is taken together; the resident set is that of the
/// largest.
pub struct Watch {
    pids: Vec<u32>,
    cpu: Duration,
    begin: Instant,
}

impl Watch {
    pub fn begin(pids: Vec<u32>) -> anyhow::Result<Watch> {
        for pid in &pids {
            // 5 resets the peak of the resident set.
            fs::write(format!("/proc/{pid}/clear_refs"), "5")
                .context("the peak of the resident set cannot be reset")?;
        }
        Ok(Watch { cpu: cpu_of(&pids)?, pids, begin: Instant::now() })
    }

    pub fn end(self) -> anyhow::Result<Cost> {
        self.so_far()
    }

    pub fn so_far(&self) -> anyhow::Result<Cost> {
        Ok(Cost {
            wall: self.begin.elapsed(),
            cpu: cpu_of(&self.pids)? - self.cpu,
            peak_rss_bytes: largest_rss_bytes(&self.pids)?,
            bytes: 0,
        })
    }
}

fn cpu_of(pids: &[u32]) -> anyhow::Result<Duration> {
    pids.iter().map(|&pid| cpu(pid)).sum()
}

fn largest_rss_bytes(pids: &[u32]) -> anyhow::Result<u64> {
    pids.iter().try_fold(0, |largest, &pid| Ok(peak_rss_bytes(pid)?.max(largest)))
}

fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    // utime and stime, in ticks of 10 ms (CLK_TCK is 100 on every Linux that this runs on).
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

fn peak_rss_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).context("no VmHWM")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no VmHWM")?.parse()?;
    Ok(kib << 10)
}

/// Medians of each figure.
pub fn median(costs: &[Cost]) -> Cost {
    fn middle<T: Ord + Copy + Default>(mut all: Vec<T>) -> T {
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default()
    }
    Cost {
        wall: middle(costs.iter().map(|c| c.wall).collect()),
        cpu: middle(costs.iter().map(|c| c.cpu).collect()),
        peak_rss_bytes: middle(costs.iter().map(|c| c.peak_rss_bytes).collect()),
        bytes: middle(costs.iter().map(|c| c.bytes).collect()),
    }
}
