//! First build, unchanged rebuild, 2 % rebuild, first delivery, delta delivery, of each corpus.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::corpus;
use crate::document;
use crate::meter::Cost;
use crate::peers;
use crate::services::Ground;
use crate::table::Table;
use crate::tidegate::Tidegate;

pub struct Plan {
    pub corpus: PathBuf,
    pub tidegate: PathBuf,
    pub scratch: PathBuf,
    pub of: Vec<String>,
    pub rounds: usize,
    /// RabbitMQ, PostgreSQL and S3 as the environment names them, instead of the embedded ones.
    pub services: bool,
    pub peers: bool,
    /// The document whose tables are written anew.
    pub write: Option<PathBuf>,
}

/// What was written less than two seconds before a build is read again by the next one: a source is built when nobody writes to it.
pub const REST_TIME: Duration = Duration::from_secs(3);
/// What a site does behind the first delivery's back: the second tree, of which its next delivery is made.
const BEHIND: &str = "behind v1";
const STEPS: [&str; 6] = ["publish v1", "publish unchanged", "publish v2", "deliver v1", BEHIND, "deliver v2"];

pub fn run(plan: &Plan) -> anyhow::Result<()> {
    if let Some(document) = &plan.write {
        let names: Vec<String> = plan.of.iter().map(|name| plan.table_of(name)).collect();
        document::has_places(document, &names)?;
    }
    for name in &plan.of {
        let (v1, v2) = corpus::made(&plan.corpus, name)?;
        let mut table = Table::default();
        for round in 1..=plan.rounds {
            eprintln!("{name}, round {round} of {}", plan.rounds);
            // Old trees are moved aside, never deleted in between: deleting many files slows what is created after it.
            let room = plan.scratch.join(format!("{name}-{round}"));
            std::fs::create_dir_all(&room).with_context(|| room.display().to_string())?;
            tidegate(plan, &room.join("tidegate"), &v1, &v2, &mut table)?;
            if plan.peers {
                peers::rsync(&room.join("rsync"), &v1, &v2, &mut table)?;
                peers::restic(&room.join("restic"), plan.services, &v1, &v2, &mut table)?;
                peers::rustic(&room.join("rustic"), &v1, &v2, &mut table)?;
                peers::tar_zstd(&room.join("tar"), &v1, &v2, &mut table)?;
            }
        }
        let text =
            format!("`{name}`, {}, medians of {} round(s):\n\n{}", plan.ground(), plan.rounds, table.text(&STEPS));
        println!("{text}");
        if let Some(document) = &plan.write {
            document::put(document, &plan.table_of(name), &text)?;
        }
    }
    Ok(())
}

impl Plan {
    fn ground(&self) -> &'static str {
        if self.services { "services" } else { "embedded" }
    }

    fn table_of(&self, name: &str) -> String {
        format!("{name} {}", self.ground())
    }
}

fn tidegate(plan: &Plan, room: &Path, v1: &Path, v2: &Path, table: &mut Table) -> anyhow::Result<()> {
    let (source, target) = (room.join("source"), room.join("target"));
    std::fs::create_dir_all(room)?;
    copy(v1, &source)?;
    std::thread::sleep(REST_TIME);
    let definitions = room.join("bench.yaml");
    std::fs::write(&definitions, text(&source, &target, &room.join("other")))?;
    let ground = if plan.services { Ground::fresh()? } else { Ground::embedded() };
    let up = Tidegate::start(&plan.tidegate, &room.join("data"), &ground)?;
    up.call(&["apply", "-f", definitions.to_str().context("path")?])?;
    let moved = "SELECT SUM(bytes_moved) FROM jobs WHERE kind = 'send' AND created_at >= (SELECT MAX(created_at) FROM jobs WHERE kind = 'send')";
    let stored = "SELECT bytes_moved FROM jobs WHERE kind = 'build' ORDER BY created_at DESC LIMIT 1";
    let step = |name: &str, arguments: &[&str], bytes: &str, table: &mut Table| -> anyhow::Result<()> {
        sync()?;
        let cost = up.request(arguments)?;
        table.add("tidegate", name, Cost { bytes: up.number(bytes)?, ..cost });
        Ok(())
    };
    step("publish v1", &["build", "bench"], stored, table)?;
    step("publish unchanged", &["build", "bench"], stored, table)?;
    step("deliver v1", &["send", "bench"], moved, table)?;
    table.add("tidegate", BEHIND, up.quiet()?);
    same(&source, &target)?;
    let other = room.join("other");
    if !plan.services {
        up.call(&["send", "other", "--wait"])?;
        up.quiet()?;
        same(&source, &other)?;
    }
    update(v2, &source)?;
    step("publish v2", &["build", "bench"], stored, table)?;
    step("deliver v2", &["send", "bench"], moved, table)?;
    same(&source, &target)?;
    if plan.services {
        return Ok(());
    }
    // Where patches can be taken away by hand: the same delivery to another site, without them.
    for patches in std::fs::read_dir(room.join("data/origin"))? {
        match std::fs::remove_dir_all(patches?.path().join("patches")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    sync()?;
    let cost = up.request(&["send", "other"])?;
    table.add("tidegate, no patches", "deliver v2", Cost { bytes: up.number(moved)?, ..cost });
    same(&source, &other)
}

pub fn text(source: &Path, target: &Path, other: &Path) -> String {
    format!(
        "distributors: {{ hq: {{ refresh: never }} }}
distributions:
  bench: {{ distributor: hq, type: file, sources: [ {{ path: {} }} ], target: '%TARGET%', mode: mirror, build: never }}
channels:
  bench: {{ distributions: [bench], send: never, subscriptions: [site] }}
  other: {{ distributions: [bench], send: never, subscriptions: [other] }}
subscribers:
  site: {{ extract: immediately, variables: {{ TARGET: {} }} }}
  other: {{ extract: immediately, variables: {{ TARGET: {} }} }}
",
        source.display(),
        target.display(),
        other.display()
    )
}

pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    done(Command::new("cp").arg("-a").arg(from).arg(to))
}

/// Makes `to` equal to `from`, touching only what differs; holes stay holes.
pub fn update(from: &Path, to: &Path) -> anyhow::Result<()> {
    done(Command::new("rsync").args(["-aS", "--delete"]).arg(slash(from)).arg(slash(to)))
}

pub fn sync() -> anyhow::Result<()> {
    done(&mut Command::new("sync"))
}

/// Both trees by content, kinds, modes and times.
pub fn same(a: &Path, b: &Path) -> anyhow::Result<()> {
    compare(a, b, &["-anic", "--delete"])
}

/// For tools that don't bring the modes and times of directories back.
pub fn same_but_for_directory_times(a: &Path, b: &Path) -> anyhow::Result<()> {
    compare(a, b, &["-rltnic", "--omit-dir-times", "--delete"])
}

fn compare(a: &Path, b: &Path, flags: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("rsync").args(flags).arg(slash(a)).arg(slash(b)).output()?;
    let differences = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !differences.trim().is_empty() {
        bail!("{} and {} differ:\n{differences:.2000}", a.display(), b.display());
    }
    Ok(())
}

pub fn slash(path: &Path) -> String {
    format!("{}/", path.display())
}

pub fn done(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}
