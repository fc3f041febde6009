//! The jobs of a request as lines: what the views say of them, in words.

use std::collections::BTreeMap;

use records::{Records, RecordsError};
use schemas::{JobProgress, RequestId};
use serde_json::Value;

use crate::demo::board::Line;
use crate::demo::definitions::RELAY;
use crate::demo::text;

/// A job's row.
struct Job<'a> {
    columns: &'a [String],
    row: &'a [Value],
}

impl Job<'_> {
    fn get(&self, column: &str) -> Option<&Value> {
        let at = self.columns.iter().position(|name| name == column)?;
        self.row.get(at).filter(|value| !value.is_null())
    }

    fn text(&self, column: &str) -> &str {
        self.get(column).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, column: &str) -> u64 {
        self.get(column).and_then(Value::as_u64).unwrap_or_default()
    }

    fn ended(&self) -> bool {
        ["succeeded", "failed", "cancelled"].contains(&self.text("state"))
    }

    fn progress(&self) -> Option<JobProgress> {
        serde_json::from_str(self.text("progress")).ok()
    }
}

/// One line for each server, about the job that it is at: a send, then its extract.
pub async fn lines(records: &Records, request: RequestId) -> Result<Vec<Line>, RecordsError> {
    let sql = format!(
        "SELECT kind, state, COALESCE(subscriber, 'builder') AS who, revision, bytes_needed, took_ms, files_changed, progress, error
         FROM jobs WHERE request_id = '{request}' ORDER BY subscriber, kind DESC"
    );
    let found = records.query(&sql).await?;
    let mut by_server: BTreeMap<String, Vec<Job>> = BTreeMap::new();
    for row in &found.rows {
        let job = Job { columns: &found.columns, row };
        by_server.entry(job.text("who").to_owned()).or_default().push(job);
    }
    let mut lines: Vec<Line> = by_server.into_iter().map(|(name, jobs)| line(name, &jobs)).collect();
    // Who receives first stands first.
    lines.sort_by_key(|line| line.name != RELAY);
    Ok(lines)
}

/// Why jobs of the request failed, each reason once, with its code and the servers that it befell. What failed only because
/// something before it did is left out.
pub async fn failures(records: &Records, request: RequestId) -> Result<Vec<String>, RecordsError> {
    let sql = format!(
        "SELECT kind, COALESCE(subscriber, distribution) AS who, error_code, error FROM jobs
         WHERE request_id = '{request}' AND state = 'failed' AND COALESCE(error_code, '') <> 'awaited-failed' ORDER BY subscriber"
    );
    let found = records.query(&sql).await?;
    let mut befell: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let jobs: Vec<Job> = found.rows.iter().map(|row| Job { columns: &found.columns, row }).collect();
    for job in &jobs {
        let reason = format!("{} [{}]", job.text("error"), job.text("error_code"));
        befell.entry(reason).or_default().push(job.text("who"));
    }
    Ok(befell.into_iter().map(|(reason, servers)| format!("{}: {reason}", servers.join(", "))).collect())
}

fn line(name: String, jobs: &[Job]) -> Line {
    let ended = jobs.iter().all(Job::ended);
    let at = jobs.iter().find(|job| !job.ended());
    let progress = at.and_then(Job::progress);
    let part = progress.as_ref().map_or((0, 0), |p| (p.bytes_done, p.bytes_total));
    let says = match at {
        Some(job) => doing(job, progress.as_ref()),
        None => jobs.iter().map(done).collect::<Vec<_>>().join(", "),
    };
    Line { name, says, part, ended }
}

fn doing(job: &Job, progress: Option<&JobProgress>) -> String {
    let kind = job.text("kind");
    match progress {
        Some(p) if p.bytes_total > 0 => {
            format!("{kind}: {} {} of {}", p.step, text::bytes(p.bytes_done), text::bytes(p.bytes_total))
        }
        Some(p) => format!("{kind}: {}", p.step),
        None => format!("{kind}: {}", job.text("state")),
    }
}

fn done(job: &Job) -> String {
    let revision = job.number("revision");
    match (job.text("state"), job.text("kind")) {
        ("succeeded", "build") => format!("revision {revision} built in {} ms", job.number("took_ms")),
        ("succeeded", "send") => format!("received {}", text::bytes(job.number("bytes_needed"))),
        ("succeeded", "extract") => format!("extracted {}", text::counted(job.number("files_changed"), "file")),
        (state, kind) => format!("{kind} {state}: {}", job.text("error")),
    }
}
