//! One schedule: in words, with its coming occurrences; and run now, which asks at once for what it would ask for and leaves
//! its next occurrence as it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use domain::schedule::zone_data_version;
use jiff::Timestamp;
use queue::Queue;
use records::{Records, ScheduleRow};
use schemas::{ConsoleName, InvalidName, Request, RequestId, RequestKind};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::fault::ApiFault;
use crate::requests::{Asked, ask};

/// Occurrences that are told unless a number is given, and at most.
const COUNT_DEFAULT: usize = 10;
const COUNT_MAX: usize = 1_000;

#[derive(Debug, Serialize)]
pub struct Shown {
    schedule: String,
    verb: String,
    object: String,
    rule: Value,
    /// The zone that its local times are of, and the version of the data that says what is the time there.
    zone: String,
    zone_data: &'static str,
    words: String,
    notes: Vec<String>,
    next_due: Option<Timestamp>,
    next: Vec<Coming>,
}

#[derive(Debug, Serialize)]
pub struct Coming {
    /// Without the random start, if there is one: what names the occurrence.
    nominal: Timestamp,
    start: Timestamp,
    /// The start in the schedule's zone.
    local: String,
}

pub async fn one(
    State(records): State<Records>,
    Path((verb, object)): Path<(String, String)>,
    Query(mut asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Shown>, ApiFault> {
    let count = count(asked.remove("count"))?;
    let row = row(&records, &verb, &object).await?;
    let now_ms = records.now_ms().await?;
    Ok(Json(shown(row, now_ms, count)?))
}

fn count(text: Option<String>) -> Result<usize, ApiFault> {
    let Some(text) = text else { return Ok(COUNT_DEFAULT) };
    match text.parse() {
        Ok(n) if (1..=COUNT_MAX).contains(&n) => Ok(n),
        _ => Err(ApiFault::bad("count-invalid", format!("count: a number from 1 to {COUNT_MAX}"))),
    }
}

async fn row(records: &Records, verb: &str, object: &str) -> Result<ScheduleRow, ApiFault> {
    let found = records.schedule(&format!("{verb}/{object}")).await?;
    found.ok_or_else(|| unknown(verb, object))
}

fn shown(row: ScheduleRow, now_ms: i64, count: usize) -> Result<Shown, ApiFault> {
    let rule = row.rule()?;
    let mut next = Vec::new();
    let mut coming = rule.next(now_ms);
    while let Some(found) = coming.filter(|_| next.len() < count) {
        let instants =
            Timestamp::from_millisecond(found.nominal_ms).ok().zip(Timestamp::from_millisecond(found.start_ms).ok());
        let Some((nominal, start)) = instants else { break };
        next.push(Coming { nominal, start, local: rule.zone().shown(found.start_ms).unwrap_or_default() });
        coming = rule.next(found.start_ms);
    }
    Ok(Shown {
        rule: serde_json::from_str(&row.spec).unwrap_or(Value::Null),
        zone: rule.zone_name().to_owned(),
        zone_data: zone_data_version(),
        words: rule.in_words(),
        notes: rule.notes(),
        next_due: row.next_due_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        next,
        schedule: row.name,
        verb: row.verb,
        object: row.object,
    })
}

pub async fn run(
    State(records): State<Records>,
    State(queue): State<Arc<dyn Queue>>,
    State(console): State<ConsoleName>,
    Path((verb, object)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Asked>), ApiFault> {
    let request = Request { console: Some(console), ..request(&verb, &object)? };
    row(&records, &verb, &object).await?;
    records.may_run(&request).await?;
    ask(&records, queue.as_ref(), &request).await?;
    Ok((StatusCode::ACCEPTED, Json(Asked { id: request.id })))
}

fn request(verb: &str, object: &str) -> Result<Request, ApiFault> {
    let absent = |_: InvalidName| unknown(verb, object);
    let mut request = Request::new(RequestId(Uuid::now_v7()), RequestKind::Build);
    match verb {
        "build" => request.selector.distributions.push(object.try_into().map_err(absent)?),
        "send" => {
            request.kind = RequestKind::Send;
            request.selector.channels.push(object.try_into().map_err(absent)?);
        }
        "extract" => {
            request.kind = RequestKind::Extract;
            request.selector.subscribers.push(object.try_into().map_err(absent)?);
        }
        "refresh" => {
            request.kind = RequestKind::Refresh;
            request.selector.distributors.push(object.try_into().map_err(absent)?);
        }
        "sync" => {
            request.kind = RequestKind::Sync;
            request.selector.syncs.push(object.try_into().map_err(absent)?);
        }
        _ => return Err(unknown(verb, object)),
    }
    request.options.reason = Some(format!("schedule {verb}/{object}, run by hand"));
    Ok(request)
}

fn unknown(verb: &str, object: &str) -> ApiFault {
    let shown: String = format!("{verb}/{object}").chars().take(80).flat_map(char::escape_debug).collect();
    ApiFault::absent("schedule-unknown", format!("there is no schedule `{shown}`; `tidegate schedules` lists them"))
}
