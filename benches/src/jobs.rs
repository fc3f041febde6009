//! No-op jobs, request in to result row committed: extracts of what is extracted already, forced. Every lane is a channel of
//! one site with several distributions, because one distribution has one open job at a time. The distributions are asked for in
//! groups that overlap, so that the pipeline never runs dry.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use queue::amqp::{AmqpConfig, AmqpQueue};
use queue::{Outgoing, Queue};
use schemas::{QueueName, Request, RequestId, RequestKind};
use uuid::Uuid;

use crate::postgres::Postgres;
use crate::roles::Roles;
use crate::services::Ground;
use crate::tidegate::path;

/// Between two looks at the results.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const THROUGHPUT_TIME: Duration = Duration::from_secs(300);
const LATENCY_LOOK_EVERY: Duration = Duration::from_millis(1);
/// Distributions of a channel, and groups that are asked for in turn.
const PER_LANE: usize = 16;
const GROUPS: usize = 4;

pub struct Plan {
    pub tidegate: PathBuf,
    pub scratch: PathBuf,
    pub lanes: usize,
    pub jobs: usize,
    pub celery_python: Option<PathBuf>,
}

pub fn run(plan: &Plan) -> anyhow::Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let broker = std::env::var("TIDEGATE_BROKER").context("TIDEGATE_BROKER is not set: . .services/env")?;
    let ground = Ground::fresh()?;
    let roles = start(plan, &ground)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut postgres = runtime.block_on(Postgres::connect(ground.database()?))?;
    println!("| what | lanes | jobs/s | p50 ms | p99 ms |\n|---|---|---|---|---|");
    for depth in [1, 2] {
        let set = format!("UPDATE tide_lanes SET depth = {depth} WHERE subscriber IS NOT NULL");
        runtime.block_on(postgres.execute(set))?;
        let rate = runtime.block_on(throughput(plan, &broker, &mut postgres))?;
        let (p50, p99) = runtime.block_on(latency(&broker, &mut postgres))?;
        println!("| tidegate, lane_depth {depth} | {} | **{rate:.0}** | {p50} | {p99} |", plan.lanes);
    }
    drop(roles);
    celery(plan)
}

fn start<'a>(plan: &Plan, ground: &'a Ground) -> anyhow::Result<Roles<'a>> {
    std::fs::create_dir_all(&plan.scratch)?;
    let definitions = plan.scratch.join("jobs.yaml");
    std::fs::write(&definitions, text(plan)?)?;
    let work = plan.scratch.join("work");
    let (builder, subscriber) = (work.join("builder"), work.join("site"));
    let data = plan.scratch.join("api");
    let mut roles = Roles::none(&plan.tidegate, ground, &plan.scratch);
    roles.start(&["api", "--data", path(&data)?, "--listen", "127.0.0.1:0"])?;
    roles.start(&["scheduler"])?;
    roles.start(&["recorder"])?;
    roles.start(&["builder", "--distributor", "hq", "--work-dir", path(&builder)?])?;
    roles.start(&["subscriber", "--name", "site", "--work-dir", path(&subscriber)?, "--slots", "64"])?;
    roles.listening(&data)?;
    let call = |arguments: &[&str]| -> anyhow::Result<()> {
        let output = Command::new(&plan.tidegate).args(arguments).args(["--data", path(&data)?]).output()?;
        if !output.status.success() {
            bail!("tidegate {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    };
    call(&["apply", "-f", path(&definitions)?])?;
    let mut build = vec!["build".to_owned(), "--wait".to_owned()];
    build.extend((0..plan.lanes).flat_map(|lane| (0..PER_LANE).map(move |n| distribution(lane, n))));
    call(&build.iter().map(String::as_str).collect::<Vec<_>>())?;
    let mut send = vec!["send".to_owned(), "--wait".to_owned()];
    send.extend((0..plan.lanes).map(|lane| format!("c{lane}")));
    call(&send.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(roles)
}

fn text(plan: &Plan) -> anyhow::Result<String> {
    let (source, targets) = (plan.scratch.join("source"), plan.scratch.join("targets"));
    std::fs::create_dir_all(&source)?;
    std::fs::write(source.join("file"), "content\n")?;
    let mut text =
        "distributors: { hq: { refresh: never } }\nsubscribers: { site: { extract: immediately } }\n".to_owned();
    text.push_str("distributions:\n");
    for name in (0..plan.lanes).flat_map(|lane| (0..PER_LANE).map(move |n| distribution(lane, n))) {
        text.push_str(&format!(
            "  {name}: {{ distributor: hq, type: file, sources: [ {{ path: {} }} ], target: {}/{name}, mode: mirror, build: never }}\n",
            source.display(),
            targets.display()
        ));
    }
    text.push_str("channels:\n");
    for lane in 0..plan.lanes {
        let own: Vec<String> = (0..PER_LANE).map(|n| distribution(lane, n)).collect();
        let line =
            format!("  c{lane}: {{ distributions: [{}], send: never, subscriptions: [site] }}\n", own.join(", "));
        text.push_str(&line);
    }
    Ok(text)
}

fn distribution(lane: usize, n: usize) -> String {
    format!("d{lane}-{n}")
}

/// Each group's next request is posted when its last one has ended.
async fn throughput(plan: &Plan, broker: &str, postgres: &mut Postgres) -> anyhow::Result<f64> {
    let queue = AmqpQueue::open(AmqpConfig::new(broker))?;
    let succeeded = "SELECT COUNT(*) FROM tide_jobs WHERE state = 'succeeded'";
    let before = postgres.number(succeeded).await?;
    let mut under_way: Vec<Option<RequestId>> = vec![None; GROUPS];
    let mut asked = 0;
    let begin = Instant::now();
    while asked < plan.jobs || under_way.iter().any(Option::is_some) {
        for (group, slot) in under_way.iter_mut().enumerate() {
            if slot.is_none() && asked < plan.jobs {
                let names: Vec<String> = (0..plan.lanes)
                    .flat_map(|lane| (group..PER_LANE).step_by(GROUPS).map(move |n| distribution(lane, n)))
                    .collect();
                let request = extract(&names)?;
                *slot = Some(request.id);
                asked += names.len();
                post(&queue, vec![request]).await?;
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
        for slot in &mut under_way {
            if let Some(id) = slot
                && postgres.ended_ms(&id.to_string()).await?.is_some()
            {
                *slot = None;
            }
        }
        if begin.elapsed() > THROUGHPUT_TIME {
            bail!("{asked} jobs did not end within {} s", THROUGHPUT_TIME.as_secs());
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let after = postgres.number(succeeded).await?;
    queue.close().await;
    Ok((after - before) as f64 / seconds)
}

/// One job at a time: from the request's own instant (its id is a UUIDv7) to its row's end.
async fn latency(broker: &str, postgres: &mut Postgres) -> anyhow::Result<(i64, i64)> {
    let queue = AmqpQueue::open(AmqpConfig::new(broker))?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let request = extract(&[distribution(0, 0)])?;
        let id = request.id;
        let (seconds, nanos) = id.0.get_timestamp().context("a UUIDv7 has its time")?.to_unix();
        let asked_ms = (seconds * 1_000 + u64::from(nanos) / 1_000_000) as i64;
        post(&queue, vec![request]).await?;
        let begin = Instant::now();
        let ended_ms = loop {
            if let Some(ended_ms) = postgres.ended_ms(&id.to_string()).await? {
                break ended_ms;
            }
            if begin.elapsed() > Duration::from_secs(30) {
                bail!("request {id} did not end within 30 s");
            }
            tokio::time::sleep(LATENCY_LOOK_EVERY).await;
        };
        times.push(ended_ms - asked_ms);
    }
    queue.close().await;
    times.sort_unstable();
    Ok((times[times.len() / 2], times[times.len() * 99 / 100]))
}

fn extract(distributions: &[String]) -> anyhow::Result<Request> {
    let mut request = Request::new(RequestId(Uuid::now_v7()), RequestKind::Extract);
    request.selector.subscribers.push("site".try_into()?);
    for name in distributions {
        request.selector.distributions.push(name.as_str().try_into()?);
    }
    request.options.force = true;
    Ok(request)
}

async fn post(queue: &AmqpQueue, requests: Vec<Request>) -> anyhow::Result<()> {
    let mut messages = Vec::with_capacity(requests.len());
    for request in requests {
        messages.push(Outgoing::new(QueueName::Requests, serde_json::to_vec(&request)?));
    }
    for result in queue.publish(messages).await {
        result?;
    }
    Ok(())
}

fn celery(plan: &Plan) -> anyhow::Result<()> {
    let Some(python) = &plan.celery_python else {
        eprintln!("Celery is left out: name a Python that has it with --celery-python");
        return Ok(());
    };
    let (broker, database) = (std::env::var("TIDEGATE_BROKER")?, std::env::var("TIDEGATE_DATABASE")?);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/celery_jobs.py");
    let output = Command::new(python).arg(script).args([&broker, &database]).arg("4000").output()?;
    if !output.status.success() {
        bail!("Celery: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let figures: Vec<&str> = text.split_whitespace().collect();
    let [rate, p50, p99] = figures[..] else { bail!("Celery printed `{text}`") };
    println!("| Celery, 2 workers, results in PostgreSQL | | **{rate}** | {p50} | {p99} |");
    Ok(())
}
