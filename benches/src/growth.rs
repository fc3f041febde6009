//! How time and memory grow with the number of files and with bytes: one tree after the other, each made, measured and removed.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::corpus::{choice, script};
use crate::data::{REST_TIME, done, same, sync, text};
use crate::meter::Cost;
use crate::services::Ground;
use crate::tidegate::Tidegate;

pub struct Plan {
    pub tidegate: PathBuf,
    pub scratch: PathBuf,
    pub of: Vec<String>,
}

const HEAD: &str = "| tree | files | stored | publish v1 | unchanged | publish v2 | deliver v1 | behind v1 | deliver v2 | index, B/file | peak RSS |
|---|---|---|---|---|---|---|---|---|---|---|";

pub fn run(plan: &Plan) -> anyhow::Result<()> {
    let mut rows = vec![HEAD.to_owned()];
    for name in &plan.of {
        let room = plan.scratch.join(name);
        std::fs::create_dir_all(&room).with_context(|| room.display().to_string())?;
        eprintln!("making {name}");
        done(script("trees.py").arg(&room).args(choice(name)).arg("--v1-alone"))?;
        rows.push(measured(plan, name, &room)?);
        std::fs::remove_dir_all(&room)?;
        sync()?;
    }
    println!("{}", rows.join("\n"));
    Ok(())
}

fn measured(plan: &Plan, name: &str, room: &Path) -> anyhow::Result<String> {
    let (source, target) = (room.join(format!("{name}-v1")), room.join("target"));
    std::thread::sleep(REST_TIME);
    let definitions = room.join("bench.yaml");
    std::fs::write(&definitions, text(&source, &target, &room.join("other")))?;
    let ground = Ground::embedded();
    let up = Tidegate::start(&plan.tidegate, &room.join("data"), &ground)?;
    up.call(&["apply", "-f", definitions.to_str().context("path")?])?;
    let step = |name: &str, arguments: &[&str]| -> anyhow::Result<Cost> {
        sync()?;
        let cost = up.request(arguments)?;
        let (wall, rss) = (cost.wall.as_secs_f64(), cost.peak_rss_bytes as f64 / 1e6);
        eprintln!("  {name}: {wall:.2} s, cpu {:.2} s, rss {rss:.0} MB", cost.cpu.as_secs_f64());
        Ok(cost)
    };
    let v1 = step("publish v1", &["build", "bench"])?;
    let unchanged = step("unchanged", &["build", "bench"])?;
    let delivered = step("deliver v1", &["send", "bench"])?;
    let behind = up.quiet()?;
    same(&source, &target)?;
    done(script("trees.py").arg(&source).arg("--edit"))?;
    std::thread::sleep(REST_TIME);
    let v2 = step("publish v2", &["build", "bench"])?;
    up.quiet()?;
    let delivered_v2 = step("deliver v2", &["send", "bench"])?;
    same(&source, &target)?;
    let files = up.number("SELECT files FROM revisions WHERE revision = 1")?;
    let stored = up.number("SELECT bytes_moved FROM jobs WHERE kind = 'build' ORDER BY created_at LIMIT 1")?;
    let index = up.number("SELECT index_bytes FROM revisions WHERE revision = 1")?;
    let costs = [v1, unchanged, v2, delivered, behind, delivered_v2];
    let rss = costs.iter().map(|cost| cost.peak_rss_bytes).max().unwrap_or(0);
    let seconds: Vec<String> = costs.iter().map(|cost| format!("{:.2} s", cost.wall.as_secs_f64())).collect();
    Ok(format!(
        "| {name} | {files} | {:.0} MB | {} | {:.0} | {:.0} MB |",
        stored as f64 / 1e6,
        seconds.join(" | "),
        index as f64 / files.max(1) as f64,
        rss as f64 / 1e6
    ))
}
