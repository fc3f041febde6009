//! Following a request to its end: asked again and again, shown as it goes on, with patience for a service that is away for a
//! moment.

use std::time::{Duration, Instant};

use schemas::{JobProgress, RequestId};
use serde::Deserialize;
use serde_json::Value;

use super::bars::Bars;
use super::{Client, ClientError};
use crate::output::clean;
use crate::output::people::{size, span_ms};
use crate::output::table::{Table, width_here};

const POLL_FIRST: Duration = Duration::from_millis(100);
const POLL_MAX: Duration = Duration::from_millis(500);
/// A scheduler takes a request within moments.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// How long the service may be away.
const AWAY_MAX: Duration = Duration::from_secs(60);

/// How to follow.
#[derive(Debug, Clone, Copy)]
pub struct Follow {
    pub timeout: Option<Duration>,
    /// Progress on stderr: bars on a terminal, else lines.
    pub progress: bool,
    /// It must be recorded already: an unknown one is a fault at once.
    pub is_known: bool,
}

impl Follow {
    pub fn here() -> Follow {
        Follow { timeout: None, progress: true, is_known: false }
    }
}

/// As far as it has come: its end, unless the time ran out before.
#[derive(Debug, Clone, Default)]
pub struct RequestEnd {
    pub state: String,
    pub note: Option<String>,
    pub jobs: Vec<JobLine>,
    /// The service's answer, for other forms than a table.
    pub whole: Value,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct JobLine {
    pub id: String,
    pub kind: String,
    pub state: String,
    pub distribution: String,
    pub revision: Option<u64>,
    pub subscriber: Option<String>,
    pub channel: Option<String>,
    pub attempt: u32,
    pub bytes_content: Option<u64>,
    pub bytes_needed: Option<u64>,
    pub bytes_moved: Option<u64>,
    pub files_changed: Option<u64>,
    pub took_ms: Option<i64>,
    pub error_code: Option<String>,
    pub error: Option<String>,
    pub note: Option<String>,
    pub progress: Option<JobProgress>,
}

#[derive(Deserialize)]
struct Answer {
    request: AnswerRequest,
    #[serde(default)]
    jobs: Vec<JobLine>,
}

#[derive(Deserialize)]
struct AnswerRequest {
    state: String,
    note: Option<String>,
}

pub async fn until_end(client: &Client, id: RequestId, how: Follow) -> Result<RequestEnd, ClientError> {
    let begun = Instant::now();
    let mut bars = Bars::new(how.progress);
    let mut watch = Watch { id, how, begun, answered: begun, seen: None };
    let mut pause = POLL_FIRST;
    loop {
        let ended = watch.look(client).await?;
        if let Some(seen) = &watch.seen {
            bars.show(seen);
        }
        let is_over = how.timeout.is_some_and(|timeout| begun.elapsed() >= timeout);
        if ended || is_over {
            bars.finish();
            let open = RequestEnd { state: "accepted".to_owned(), whole: Value::Null, ..RequestEnd::default() };
            return Ok(watch.seen.unwrap_or(open));
        }
        let left = how.timeout.map_or(pause, |timeout| timeout.saturating_sub(begun.elapsed()));
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 3 / 2).min(POLL_MAX);
    }
}

struct Watch {
    id: RequestId,
    how: Follow,
    begun: Instant,
    answered: Instant,
    seen: Option<RequestEnd>,
}

impl Watch {
    /// True once the request has ended.
    async fn look(&mut self, client: &Client) -> Result<bool, ClientError> {
        let answer = client.get::<Value>(&format!("/v1/requests/{}", self.id)).await;
        match answer {
            Ok(whole) => {
                self.answered = Instant::now();
                let end = RequestEnd::read(whole)?;
                let ended = end.has_ended();
                self.seen = Some(end);
                Ok(ended)
            }
            Err(ClientError::Refused(refusal))
                if refusal.status == 404 && !self.how.is_known && self.seen.is_none() =>
            {
                self.answered = Instant::now();
                let after = self.begun.elapsed();
                if after < TAKEN_WITHIN {
                    return Ok(false);
                }
                Err(ClientError::NotTaken { id: self.id, after_s: after.as_secs() })
            }
            Err(error) if error.is_transient() && self.answered.elapsed() < AWAY_MAX => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl RequestEnd {
    fn read(whole: Value) -> Result<RequestEnd, ClientError> {
        let answer: Answer = serde_json::from_value(whole.clone())
            .map_err(|e| ClientError::Local(format!("the service's answer cannot be read: {e}")))?;
        Ok(RequestEnd { state: answer.request.state, note: answer.request.note, jobs: answer.jobs, whole })
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.state.as_str(), "succeeded" | "failed" | "cancelled")
    }

    /// Its jobs, and a last line that says how it ended.
    pub fn table(&self) -> String {
        let mut out = String::new();
        if !self.jobs.is_empty() {
            let titles =
                ["job", "kind", "distribution", "rev", "subscriber", "state", "needed", "moved", "took", "error"];
            let mut table = Table::new(&titles);
            for job in &self.jobs {
                table.push(job.cells());
            }
            let empty = ["rev", "subscriber", "needed", "moved", "took", "error"];
            out.push_str(&table.without_empty(&empty).extra(&["needed", "took", "moved", "job"]).render(width_here()));
        }
        let note = self.note.as_deref().map(|note| format!(": {}", clean::line(note))).unwrap_or_default();
        let jobs = if self.jobs.len() == 1 { "1 job".to_owned() } else { format!("{} jobs", self.jobs.len()) };
        out.push_str(&format!("{}, {jobs}{note}\n", clean::line(&self.state)));
        out
    }
}

impl JobLine {
    fn cells(&self) -> Vec<String> {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let error = self.error.as_ref().or(self.error_code.as_ref()).or(self.note.as_ref());
        vec![
            self.id.chars().take(8).collect(),
            self.kind.clone(),
            self.distribution.clone(),
            or_dash(self.revision.map(|n| n.to_string())),
            or_dash(self.subscriber.clone()),
            self.state.clone(),
            or_dash(self.bytes_needed.map(size)),
            or_dash(self.bytes_moved.map(size)),
            or_dash(self.took_ms.map(span_ms)),
            or_dash(error.map(|text| clean::line(text))),
        ]
    }

    /// `send antivirus r3 → paris`
    pub fn title(&self) -> String {
        let revision = self.revision.map(|n| format!(" r{n}")).unwrap_or_default();
        let subscriber = self.subscriber.as_ref().map(|name| format!(" → {name}")).unwrap_or_default();
        clean::line(&format!("{} {}{revision}{subscriber}", self.kind, self.distribution))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_ends_as_a_table_of_its_jobs() {
        let end = RequestEnd::read(json!({
            "request": { "state": "failed", "note": null },
            "jobs": [
                { "id": "0a1b2c3d-0000-5000-8000-000000000001", "kind": "send", "state": "failed", "distribution": "antivirus",
                  "revision": 3, "subscriber": "paris", "error_code": "disk-full", "error": "3 GiB free, 5 GiB needed" },
                { "id": "1a1b2c3d-0000-5000-8000-000000000001", "kind": "send", "state": "succeeded", "distribution": "antivirus",
                  "revision": 3, "subscriber": "lyon", "bytes_needed": 4096, "bytes_moved": 2048, "took_ms": 1500 },
            ],
        }))
        .unwrap();
        assert!(end.has_ended());
        let text = end.table();
        assert!(text.contains("0a1b2c3d  send  antivirus"), "{text}");
        assert!(text.contains("2.0 KiB") && text.contains("1.5 s") && text.contains("3 GiB free"), "{text}");
        assert!(text.ends_with("failed, 2 jobs\n"), "{text}");
    }

    #[test]
    fn a_request_without_jobs_says_why() {
        let whole = json!({ "request": { "state": "succeeded", "note": "everybody has everything" }, "jobs": [] });
        assert_eq!(RequestEnd::read(whole).unwrap().table(), "succeeded, 0 jobs: everybody has everything\n");
    }
}
