//! Lateness: from an occurrence's nominal instant to its job confirmed by the broker, on RabbitMQ and PostgreSQL. Builds of an unchanged
//! source every few seconds, several due at the same instant.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::bail;

use crate::postgres::Postgres;
use crate::roles::Roles;
use crate::services::Ground;
use crate::tidegate::path;

const EVERY_S: usize = 5;
/// The first seconds are the programs' own: they have just started.
const WARM_TIME: Duration = Duration::from_secs(10);

pub struct Plan {
    pub tidegate: PathBuf,
    pub scratch: PathBuf,
    pub schedules: usize,
    pub seconds: u64,
}

pub fn run(plan: &Plan) -> anyhow::Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ground = Ground::fresh()?;
    let roles = start(plan, &ground)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut postgres = runtime.block_on(Postgres::connect(ground.database()?))?;
    std::thread::sleep(WARM_TIME);
    let from_ms =
        runtime.block_on(postgres.number("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"))?;
    std::thread::sleep(Duration::from_secs(plan.seconds));
    let all = runtime.block_on(postgres.pairs(format!(
        "SELECT o.fired_ms - o.nominal_ms, j.published_ms - o.nominal_ms FROM tide_occurrences o
            JOIN tide_jobs j ON j.request_id = o.request_id WHERE o.nominal_ms > {from_ms} AND j.published_ms IS NOT NULL"
    )))?;
    drop(roles);
    let of = |mut figures: Vec<i64>| {
        figures.sort_unstable();
        let at = |percent: usize| figures.get(figures.len() * percent / 100).copied().unwrap_or_default();
        format!("{} | **{}** | {}", at(50), at(99), figures.last().copied().unwrap_or_default())
    };
    println!("| from the nominal instant to | occurrences | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|");
    println!("| its row | {} | {} |", all.len(), of(all.iter().map(|(fired, _)| *fired).collect()));
    println!("| its job published | {} | {} |", all.len(), of(all.iter().map(|(_, published)| *published).collect()));
    Ok(())
}

fn start<'a>(plan: &Plan, ground: &'a Ground) -> anyhow::Result<Roles<'a>> {
    let (source, data, work) = (plan.scratch.join("source"), plan.scratch.join("api"), plan.scratch.join("work"));
    std::fs::create_dir_all(&source)?;
    std::fs::write(source.join("file"), "content\n")?;
    let definitions = plan.scratch.join("lateness.yaml");
    std::fs::write(&definitions, text(plan, &source))?;
    let (data_path, work_path) = (path(&data)?, path(&work)?);
    let mut roles = Roles::none(&plan.tidegate, ground, &plan.scratch);
    roles.start(&["api", "--data", data_path, "--listen", "127.0.0.1:0"])?;
    roles.listening(&data)?;
    roles.start(&["recorder"])?;
    roles.start(&["builder", "--distributor", "hq", "--work-dir", work_path])?;
    let applied =
        Command::new(&plan.tidegate).args(["apply", "-f", path(&definitions)?, "--data", data_path]).output()?;
    if !applied.status.success() {
        bail!("apply: {}", String::from_utf8_lossy(&applied.stderr));
    }
    roles.start(&["scheduler"])?;
    Ok(roles)
}

/// Spread over the seconds, those of one second at the same instant.
fn text(plan: &Plan, source: &Path) -> String {
    let mut text = "distributors: { hq: { refresh: never } }\ndistributions:\n".to_owned();
    for n in 0..plan.schedules {
        text.push_str(&format!(
            "  late{n}: {{ distributor: hq, type: file, sources: [ {{ path: {} }} ], target: /srv/late{n}, mode: mirror, build: {{ every: {EVERY_S}s, from: \"2026-01-01 00:00:{:02}\" }} }}\n",
            source.display(),
            n % EVERY_S
        ));
    }
    text
}
