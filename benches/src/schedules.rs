//! A hundred thousand schedules: how soon a scheduler leads and fires, how much memory it has, what a tick costs. On PostgreSQL and on
//! SQLite, each declared by an object of a fleet.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use domain::definitions::{parse, validate};
use records::Records;

use crate::postgres::Postgres;
use crate::wait::until;

/// Of each kind that has one: distributors, distributions, channels, subscribers, syncs.
const EACH: usize = 20_000;
const KINDS: usize = 5;
/// Objects of one `apply`.
const PART: usize = 2_500;
const SCHEDULES: i64 = (EACH * KINDS) as i64;
const TICKS: usize = 400;
/// Due at once, for the ticks that fire.
const DUE: usize = 10;
const LEADS_TIME: Duration = Duration::from_secs(120);
/// What a scheduler does within it: several sweeps, a retirement, its fleet read.
const SETTLE_TIME: Duration = Duration::from_secs(8);

pub struct Plan {
    pub tidegate: PathBuf,
    pub scratch: PathBuf,
}

pub fn run(plan: &Plan) -> anyhow::Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    if plan.scratch.exists() {
        bail!("{} is there already; name a directory that is not", plan.scratch.display());
    }
    std::fs::create_dir_all(&plan.scratch)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let server = std::env::var("TIDEGATE_DATABASE").context("TIDEGATE_DATABASE is not set: . .services/env")?;
    let name = format!("bench_{}", uuid::Uuid::now_v7().simple());
    let mut postgres = runtime.block_on(Postgres::connect(&server))?;
    runtime.block_on(postgres.execute(format!("CREATE DATABASE {name}")))?;
    let on_postgres = format!("{}/{name}", server.rsplit_once('/').context("a database URL")?.0);
    let on_sqlite = format!("sqlite://{}", plan.scratch.join("schedules.sqlite").display());
    println!(
        "| database | apply of {} objects | first start | start | ready to leading | peak RSS | RSS | peak RSS, {DUE} refreshes | tick, nothing due p50 / p99 | tick, {DUE} due |",
        EACH * KINDS
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut ended = Ok(());
    for (what, url) in [("PostgreSQL", &on_postgres), ("SQLite", &on_sqlite)] {
        ended = ended.and_then(|()| measure(plan, &runtime, what, url));
    }
    runtime.block_on(postgres.execute(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")))?;
    ended
}

fn measure(plan: &Plan, runtime: &tokio::runtime::Runtime, what: &str, url: &str) -> anyhow::Result<()> {
    let applied = runtime.block_on(fill(url))?;
    // Other time-zone data than last time, as after an update of the program: every `next due` is computed again.
    let first = Started::scheduler(plan, url)?;
    let first_leads = first.leads;
    first.stop()?;
    let second = Started::scheduler(plan, url)?;
    std::thread::sleep(SETTLE_TIME);
    let (peak, now) = (second.memory("VmHWM")?, second.memory("VmRSS")?);
    let (leads, ready_to_leading) = (second.leads, second.leads - second.ready);
    runtime.block_on(refreshed(url))?;
    let refreshing = second.memory("VmHWM")?;
    second.stop()?;
    let (idle, firing) = runtime.block_on(ticks(url))?;
    println!(
        "| {what} | {:.1} s | {:.2} s | **{:.2} s** | {:.2} s | **{peak} MiB** | {now} MiB | **{refreshing} MiB** | **{:.2} / {:.2} ms** | {:.1} ms |",
        applied.as_secs_f64(),
        first_leads.as_secs_f64(),
        leads.as_secs_f64(),
        ready_to_leading.as_secs_f64(),
        ms(&idle, 50),
        ms(&idle, 99),
        ms(&firing, 50),
    );
    Ok(())
}

fn ms(sorted: &[Duration], percent: usize) -> f64 {
    sorted.get(sorted.len() * percent / 100).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
}

/// How long the applying took.
async fn fill(url: &str) -> anyhow::Result<Duration> {
    let records = Records::open(url).await?;
    records.migrate().await?;
    let begun = Instant::now();
    for part in 0..EACH / PART {
        let fleet = records.fleet().await?;
        let files = [(format!("part-{part}.yaml"), text(part * PART..(part + 1) * PART))];
        let declared = parse(&files).map_err(|faults| anyhow::anyhow!("{:?}", faults.first()))?;
        let accepted =
            validate(&declared, &fleet.definitions).map_err(|faults| anyhow::anyhow!("{:?}", faults.first()))?;
        records.apply(&accepted, fleet.version, None).await?;
        eprintln!(
            "{} of {} objects are applied after {} s",
            (part + 1) * PART * KINDS,
            EACH * KINDS,
            begun.elapsed().as_secs()
        );
    }
    let applied = begun.elapsed();
    records.force_for_tests("ANALYZE").await?;
    let count = records.query("SELECT COUNT(*) FROM schedules").await?.rows[0][0].as_i64();
    if count != Some(SCHEDULES) {
        bail!("{count:?} schedules, not {SCHEDULES}");
    }
    records.close().await;
    Ok(applied)
}

/// Every kind that time makes due, once a day at most.
fn rule(n: usize) -> String {
    let at = format!("{:02}:{:02}", n % 24, n % 60);
    match n % 6 {
        0 => format!("{{ daily: all, at: \"{at}\" }}"),
        1 => format!("{{ daily: [mon, wed, fri], at: \"{at}\", time_zone: America/New_York }}"),
        2 => "{ weekly: sun, window: \"01:00-04:00\", random_start: true }".to_owned(),
        3 => format!("{{ monthly: second tuesday, delay_days: {}, at: \"{at}\" }}", n % 9),
        4 => format!("{{ cron: \"{} {} * * mon-fri\", dialect: croner }}", n % 60, n % 24),
        _ => format!("{{ every: 2d, from: \"2026-01-01 {at}\" }}"),
    }
}

fn text(part: std::ops::Range<usize>) -> String {
    let [mut hq, mut what, mut via, mut who, mut with]: [String; KINDS] = Default::default();
    for n in part {
        let rule = rule(n);
        // Those whose refreshes fall due have nothing to build.
        let owner = if n < DUE * 6 { DUE * 6 } else { n };
        hq.push_str(&format!("  h{n}: {{ time_zone: Europe/Paris, refresh: {rule} }}\n"));
        what.push_str(&format!(
            "  d{n}: {{ distributor: h{owner}, type: file, sources: [ {{ path: /srv/d{n} }} ], target: /srv/t{n}, mode: mirror, build: {rule} }}\n"
        ));
        via.push_str(&format!("  c{n}: {{ distributions: [d{n}], send: {rule}, subscriptions: [s{n}] }}\n"));
        who.push_str(&format!("  s{n}: {{ extract: {rule} }}\n"));
        with.push_str(&format!("  n{n}: {{ subscriber: s{n}, components: [k{n}], schedule: {rule} }}\n"));
    }
    format!("distributors:\n{hq}distributions:\n{what}channels:\n{via}subscribers:\n{who}syncs:\n{with}")
}

/// A scheduler's process, with how long it took until its log says so.
struct Started {
    process: Child,
    ready: Duration,
    leads: Duration,
}

impl Started {
    fn scheduler(plan: &Plan, url: &str) -> anyhow::Result<Started> {
        let log = plan.scratch.join("scheduler.log");
        let begun = Instant::now();
        let process = Command::new(&plan.tidegate)
            .arg("scheduler")
            .env("TIDEGATE_DATABASE", url)
            .env("TIDEGATE_LOG", "info")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .with_context(|| format!("{} cannot be started", plan.tidegate.display()))?;
        let mut started = Started { process, ready: Duration::ZERO, leads: Duration::ZERO };
        started.ready = started.said(&log, ": ready", begun)?;
        started.leads = started.said(&log, ": leads", begun)?;
        Ok(started)
    }

    fn said(&mut self, log: &Path, words: &str, begun: Instant) -> anyhow::Result<Duration> {
        until(&format!("the scheduler says `{words}`"), LEADS_TIME, Duration::from_millis(2), || {
            match self.process.try_wait()? {
                Some(status) => bail!("the scheduler ended with {status}; see {}", log.display()),
                None => Ok(std::fs::read_to_string(log)?.contains(words)),
            }
        })?;
        Ok(begun.elapsed())
    }

    /// In MiB.
    fn memory(&self, what: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find(|line| line.starts_with(what)).context("no such line")?;
        Ok(line.split_whitespace().nth(1).context("no figure")?.parse::<u64>()? / 1_024)
    }

    fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").arg(self.process.id().to_string()).status()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Refreshes fall due at once, each of which puts definitions in effect and so reads them all; waits until they are planned.
async fn refreshed(url: &str) -> anyhow::Result<()> {
    let records = Records::open(url).await?;
    make_due(&records, (0..DUE).map(|n| format!("refresh/h{}", n * 6))).await?;
    let begun = Instant::now();
    loop {
        let planned = "SELECT COUNT(*) FROM requests WHERE kind = 'refresh' AND planned_at IS NOT NULL";
        if records.query(planned).await?.rows[0][0].as_i64() >= Some(DUE as i64) {
            break;
        }
        if begun.elapsed() > LEADS_TIME {
            bail!("{DUE} refreshes were not planned within {} s", LEADS_TIME.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eprintln!("{DUE} refreshes took {:.1} s", begun.elapsed().as_secs_f64());
    records.close().await;
    Ok(())
}

/// By rules that come once a day.
async fn make_due(records: &Records, names: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let names: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    let due = format!(
        "UPDATE tide_schedules SET next_due_ms = 1, through_ms = through_ms - 86400000, anchor_ms = anchor_ms - 86400000 WHERE name IN ({})",
        names.join(", ")
    );
    records.force_for_tests(&due).await?;
    Ok(())
}

/// Times of ticks that find nothing due, and of ticks that fire, each sorted.
async fn ticks(url: &str) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let records = Records::open(url).await?;
    let term = records.lead("scheduler", "bench", 600_000).await?.context("the scheduler's lease did not end")?;
    // What became due meanwhile.
    while records.due_in_ms().await?.is_some_and(|due_in_ms| due_in_ms <= 0) {
        records.tick(&term).await?;
    }
    let mut idle = Vec::with_capacity(TICKS);
    for _ in 0..TICKS {
        let begun = Instant::now();
        records.due_in_ms().await?;
        records.tick(&term).await?;
        idle.push(begun.elapsed());
    }
    let mut firing = Vec::new();
    for round in 0..20 {
        make_due(&records, (0..DUE).map(|n| format!("build/d{}", (round * DUE + n) * 6))).await?;
        let begun = Instant::now();
        let fired = records.tick(&term).await?;
        firing.push(begun.elapsed());
        if fired.len() != DUE {
            bail!("{} fired, not {DUE}", fired.len());
        }
    }
    records.resign(&term).await?;
    records.close().await;
    idle.sort_unstable();
    firing.sort_unstable();
    Ok((idle, firing))
}
