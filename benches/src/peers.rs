//! The same work by other tools, each in its usual form: a daemon that is pulled from, a repository, an archive.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

use crate::data::{same, slash, sync};
use crate::meter::{Cost, child};
use crate::table::Table;
use crate::wait::{START_LOOK_EVERY, START_TIME, until};

/// Without the tool the row is missing; stderr says so.
fn have(tool: &str) -> bool {
    let found = Command::new("which").arg(tool).stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    if !found {
        eprintln!("  {tool} is not installed and is left out");
    }
    found
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Pulled from an rsync daemon on loopback. There is nothing to publish; both sides are scanned for every receiver.
pub fn rsync(room: &Path, v1: &Path, v2: &Path, table: &mut Table) -> anyhow::Result<()> {
    if !have("rsync") {
        return Ok(());
    }
    std::fs::create_dir_all(room)?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = room.join("rsyncd.conf");
    let text = format!(
        "use chroot = no\nuid = root\ngid = root\naddress = 127.0.0.1\n[v1]\npath = {}\n[v2]\npath = {}\n",
        v1.display(),
        v2.display()
    );
    std::fs::write(&config, text)?;
    let daemon = Command::new("rsync")
        .args(["--daemon", "--no-detach", "--port", &port.to_string(), "--config"])
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let _daemon = Daemon(daemon);
    until("the rsync daemon listens", START_TIME, START_LOOK_EVERY, || {
        Ok(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
    })?;
    for (tool, flags) in [("rsync -a", "-a"), ("rsync -az", "-az")] {
        let target = room.join(tool.replace(' ', ""));
        for (step, module, source) in [("deliver v1", "v1", v1), ("deliver v2", "v2", v2)] {
            sync()?;
            let url = format!("rsync://127.0.0.1:{port}/{module}/");
            let stats = room.join("stats");
            let mut command = Command::new("sh");
            command.arg("-c").arg(format!(
                "rsync {flags} --delete --stats {url} {} > {}",
                slash(&target),
                stats.display()
            ));
            let cost = child(&mut command)?;
            let bytes = received(&std::fs::read_to_string(&stats)?).context("rsync --stats")?;
            table.add(tool, step, Cost { bytes, ..cost });
            same(source, &target)?;
        }
    }
    Ok(())
}

fn received(stats: &str) -> Option<u64> {
    let line = stats.lines().find(|line| line.starts_with("Total bytes received"))?;
    line.split(':').nth(1)?.trim().replace(',', "").parse().ok()
}

/// On services its repository lies in the same S3 storage, else on disk.
pub fn restic(room: &Path, on_s3: bool, v1: &Path, v2: &Path, table: &mut Table) -> anyhow::Result<()> {
    if !have("restic") {
        return Ok(());
    }
    let (tool, repository) = match on_s3 {
        true => ("restic, S3", s3_repository()?),
        false => ("restic", room.join("repository").display().to_string()),
    };
    let restic = |arguments: &[&str]| {
        let mut command = Command::new("restic");
        command.args(arguments).args(["--no-cache", "--quiet", "-r", &repository]).env("RESTIC_PASSWORD", "bench");
        command
    };
    let restore = |target: &str| restic(&["restore", "latest", &format!("--target={target}")]);
    backups(
        Backups {
            tool,
            room,
            backup: &|| restic(&["backup", "."]),
            restore: &restore,
            restores_over_old: false,
            v1,
            v2,
        },
        table,
        || child(&mut restic(&["init"])).map(drop),
    )
}

/// A path of its own in the bucket that the environment names.
fn s3_repository() -> anyhow::Result<String> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set: . .services/env"));
    let bucket = variable("TIDEGATE_STORAGE")?;
    let bucket = bucket.strip_prefix("s3://").context("TIDEGATE_STORAGE is no bucket")?;
    Ok(format!("s3:{}/{bucket}/restic-{}", variable("TIDEGATE_S3_ENDPOINT")?, uuid::Uuid::now_v7().simple()))
}

pub fn rustic(room: &Path, v1: &Path, v2: &Path, table: &mut Table) -> anyhow::Result<()> {
    if !have("rustic") {
        return Ok(());
    }
    let repository = room.join("repository").display().to_string();
    let rustic = |arguments: &[&str]| {
        let mut command = Command::new("rustic");
        command.args(["--no-progress", "--no-cache", "--log-level", "error", "-r", &repository, "--password", "bench"]);
        command.args(arguments);
        command
    };
    let restore = |target: &str| rustic(&["restore", "latest", target]);
    backups(
        Backups {
            tool: "rustic",
            room,
            backup: &|| rustic(&["backup", "."]),
            restore: &restore,
            restores_over_old: true,
            v1,
            v2,
        },
        table,
        || child(&mut rustic(&["init"])).map(drop),
    )
}

/// A tool with a repository of snapshots.
struct Backups<'a> {
    tool: &'a str,
    room: &'a Path,
    /// Of the folder that it runs in.
    backup: &'a dyn Fn() -> Command,
    restore: &'a dyn Fn(&str) -> Command,
    /// Over a tree that is there: restic fails at links that are.
    restores_over_old: bool,
    v1: &'a Path,
    v2: &'a Path,
}

fn backups(with: Backups, table: &mut Table, init: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let Backups { tool, room, backup, restore, restores_over_old, v1, v2 } = with;
    std::fs::create_dir_all(room)?;
    let (source, target, repository) = (room.join("source"), room.join("target"), room.join("repository"));
    crate::data::copy(v1, &source)?;
    init()?;
    let stored = || if repository.exists() { bytes(&repository) } else { Ok(0) };
    let mut before = stored()?;
    let mut publish = |step: &str, table: &mut Table| -> anyhow::Result<()> {
        sync()?;
        let cost = child(backup().current_dir(&source))?;
        let now = stored()?;
        table.add(tool, step, Cost { bytes: now.saturating_sub(before), ..cost });
        before = now;
        Ok(())
    };
    publish("publish v1", table)?;
    publish("publish unchanged", table)?;
    sync()?;
    table.add(tool, "deliver v1", child(&mut restore(target.to_str().context("a path that is no UTF-8")?))?);
    // The top directory is left as it is found.
    crate::data::same_but_for_directory_times(&source, &target)?;
    crate::data::update(v2, &source)?;
    publish("publish v2", table)?;
    if restores_over_old {
        sync()?;
        table.add(tool, "deliver v2", child(&mut restore(target.to_str().context("a path that is no UTF-8")?))?);
    }
    Ok(())
}

/// An archive has no notion of a change: it is made and unpacked whole.
pub fn tar_zstd(room: &Path, v1: &Path, v2: &Path, table: &mut Table) -> anyhow::Result<()> {
    if !have("zstd") {
        return Ok(());
    }
    std::fs::create_dir_all(room)?;
    for (version, source) in [("v1", v1), ("v2", v2)] {
        let archive = room.join(format!("{version}.tar.zst"));
        let target = room.join(format!("target-{version}"));
        std::fs::create_dir_all(&target)?;
        sync()?;
        let cost =
            child(sh(&format!("tar -C {} -cf - . | zstd -q -3 -T2 -o {}", source.display(), archive.display())))?;
        let size = std::fs::metadata(&archive)?.len();
        table.add("tar, zstd -3 -T2", &format!("publish {version}"), Cost { bytes: size, ..cost });
        sync()?;
        let cost = child(sh(&format!("zstd -qdc {} | tar -C {} -xf -", archive.display(), target.display())))?;
        table.add("tar, zstd -3 -T2", &format!("deliver {version}"), Cost { bytes: size, ..cost });
        same(source, &target)?;
    }
    Ok(())
}

fn sh(text: &str) -> &'static mut Command {
    let mut command = Command::new("bash");
    command.arg("-o").arg("pipefail").arg("-c").arg(text);
    Box::leak(Box::new(command))
}

fn bytes(directory: &Path) -> anyhow::Result<u64> {
    let mut total = 0;
    let mut open: Vec<PathBuf> = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() { open.push(entry.path()) } else { total += metadata.len() }
        }
    }
    Ok(total)
}
