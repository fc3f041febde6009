//! Requests: in through the queue like everybody's, and how far they are.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use queue::{Outgoing, Queue, QueueError};
use records::{Records, RequestStatus};
use schemas::name::Kind;
use schemas::{ConsoleName, Definitions, QueueName, Request, RequestId};
use serde::Serialize;
use serde_json::Value;

use crate::answer::objects;
use crate::fault::ApiFault;
use crate::jobs::unfold;
use crate::limits::JOBS_LISTED_MAX;
use crate::objects::unknown;

#[derive(Debug, Serialize)]
pub struct Asked {
    pub id: RequestId,
}

#[derive(Debug, Serialize)]
pub struct Progress {
    request: RequestStatus,
    /// Failed and open ones first.
    jobs: Vec<Value>,
    /// True if there are more jobs than are listed.
    jobs_cut: bool,
}

pub async fn post(
    State(records): State<Records>,
    State(queue): State<Arc<dyn Queue>>,
    State(console): State<ConsoleName>,
    body: Bytes,
) -> Result<(StatusCode, Json<Asked>), ApiFault> {
    let request = in_the_name_of(Request::decode(&body)?, console)?;
    check_names(&request, &records.fleet().await?.definitions)?;
    records.may_run(&request).await?;
    ask(&records, queue.as_ref(), &request).await?;
    Ok((StatusCode::ACCEPTED, Json(Asked { id: request.id })))
}

/// What comes in here comes from this console.
fn in_the_name_of(mut request: Request, console: ConsoleName) -> Result<Request, ApiFault> {
    match request.console.replace(console.clone()) {
        Some(other) if other != console => {
            let message = format!("this is console {console}, which asks for nothing in the name of {other}");
            Err(ApiFault::conflict("console-differs", message))
        }
        _ => Ok(request),
    }
}

/// Puts it into the request queue, unless it is stored already.
pub async fn ask(records: &Records, queue: &dyn Queue, request: &Request) -> Result<(), ApiFault> {
    let body = serde_json::to_string(request).map_err(|e| ApiFault::bad("request-malformed", e.to_string()))?;
    let stored = records.query(&format!("SELECT body FROM requests WHERE id = '{}'", request.id)).await?;
    if let Some(stored) = stored.rows.first().and_then(|row| row.first()).and_then(Value::as_str) {
        if stored == body || is_same_but_unnamed(stored, request) {
            return Ok(());
        }
        let message = format!("request {} exists already with another body; choose another id", request.id);
        return Err(ApiFault::conflict("conflict", message));
    }
    let mut message = Outgoing::new(QueueName::Requests, body);
    message.message_id = Some(request.id.to_string());
    Ok(publish(queue, message, &QueueName::Requests).await?)
}

/// Handed in past the API by somebody who named no console.
fn is_same_but_unnamed(stored: &str, request: &Request) -> bool {
    let unnamed = Request { console: None, ..request.clone() };
    serde_json::from_str::<Request>(stored).is_ok_and(|stored| stored == unnamed)
}

/// Declares the queue only if it is not there: a broker that was set up anew has none yet.
pub async fn publish(queue: &dyn Queue, message: Outgoing, to: &QueueName) -> Result<(), QueueError> {
    let first = queue.publish(vec![message.clone()]).await.pop().unwrap_or(Err(QueueError::Closed));
    if !matches!(first, Err(QueueError::Unroutable { .. })) {
        return first;
    }
    queue.declare(to).await?;
    queue.publish(vec![message]).await.pop().unwrap_or(Err(QueueError::Closed))
}

/// Told now rather than by a failed request later.
fn check_names(request: &Request, definitions: &Definitions) -> Result<(), ApiFault> {
    let s = &request.selector;
    let absent = |kind: Kind, name: &dyn ToString| unknown(kind, &name.to_string());
    if let Some(name) = s.distributors.iter().find(|name| !definitions.distributors.contains_key(name)) {
        return Err(absent(Kind::Distributor, name));
    }
    if let Some(name) = s.distributions.iter().find(|name| !definitions.distributions.contains_key(name)) {
        return Err(absent(Kind::Distribution, name));
    }
    if let Some(name) = s.channels.iter().find(|name| !definitions.channels.contains_key(name)) {
        return Err(absent(Kind::Channel, name));
    }
    if let Some(name) = s.subscribers.iter().find(|name| !definitions.subscribers.contains_key(name)) {
        return Err(absent(Kind::Subscriber, name));
    }
    if let Some(name) = s.syncs.iter().find(|name| !definitions.syncs.contains_key(name)) {
        return Err(absent(Kind::Sync, name));
    }
    Ok(())
}

pub async fn one(State(records): State<Records>, Path(id): Path<String>) -> Result<Json<Progress>, ApiFault> {
    let id: RequestId = id.parse().map_err(|_| ApiFault::bad("id-malformed", "this is not the id of a request"))?;
    let absent = || ApiFault::absent("request-unknown", format!("request {id} is not recorded (yet)"));
    let request = records.request_status(id).await?.ok_or_else(absent)?;
    let found = records.query(&jobs_of(id)).await?;
    let jobs_cut = found.rows.len() > JOBS_LISTED_MAX;
    let mut jobs = objects(found);
    jobs.truncate(JOBS_LISTED_MAX);
    for job in &mut jobs {
        unfold(job, "progress");
    }
    Ok(Json(Progress { request, jobs, jobs_cut }))
}

/// A job belongs to every request that attached to it, so the views' own `request_id` is not enough.
fn jobs_of(id: RequestId) -> String {
    format!(
        "SELECT id, kind, state, lane, distribution, revision, channel, subscriber, attempt, worker, bytes_content, bytes_needed,
            bytes_moved, files_changed, took_ms, progress, note, error_code, error, created_at, started_at, ended_at
        FROM jobs WHERE id IN (SELECT job_id FROM tide_request_jobs WHERE request_id = '{id}')
        ORDER BY CASE state WHEN 'failed' THEN 0 WHEN 'running' THEN 1 WHEN 'queued' THEN 2 WHEN 'waiting' THEN 3 ELSE 4 END,
            kind, distribution, subscriber, id LIMIT {}",
        JOBS_LISTED_MAX + 1
    )
}
