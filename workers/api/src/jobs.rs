//! One job with all that is recorded of it.

use axum::Json;
use axum::extract::{Path, State};
use records::Records;
use serde::Serialize;
use serde_json::Value;

use crate::answer::{literal, objects};
use crate::fault::ApiFault;
use crate::ids;

#[derive(Debug, Serialize)]
pub struct Job {
    job: Value,
    history: Vec<Value>,
    /// What it waits for just now.
    waits: Vec<Value>,
}

pub async fn one(State(records): State<Records>, Path(id): Path<String>) -> Result<Json<Job>, ApiFault> {
    let id = literal(&ids::whole(&records, "jobs", "job", &id).await?);
    let job = records.query(&format!("SELECT * FROM jobs WHERE id = {id}")).await?;
    let mut job = objects(job).pop().ok_or_else(|| ApiFault::absent("job-unknown", format!("there is no job {id}")))?;
    for part in ["progress", "result"] {
        unfold(&mut job, part);
    }
    let history = format!(
        "SELECT at, event, attempt, worker, detail FROM job_history WHERE job_id = {id} ORDER BY step, at LIMIT 500"
    );
    let waits = format!(
        "SELECT awaited_id, awaited_kind, awaited_state, awaited_subscriber, on_bad, until FROM waits WHERE job_id = {id} LIMIT 500"
    );
    Ok(Json(Job {
        job,
        history: objects(records.query(&history).await?),
        waits: objects(records.query(&waits).await?),
    }))
}

/// Columns that hold JSON as text become what they hold.
pub fn unfold(row: &mut Value, column: &str) {
    let held = row.get(column).and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok());
    if let Some(held) = held {
        row[column] = held;
    }
}
