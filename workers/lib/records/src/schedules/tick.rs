//! Occurrences: a schedule that is due becomes a request, once for each nominal instant, whatever crashes or restarts.

use std::time::{Duration, Instant};

use domain::schedule::{Judgement, Missed, ON_TIME_MS, Occurrence, Schedule};
use schemas::schedule::CatchUp;
use schemas::{Request, RequestId, RequestKind};
use sea_orm::DatabaseTransaction;
use uuid::Uuid;

use super::overlap::{self, Verdict};
use super::{COLUMNS, ScheduleRow, alerts};
use crate::db::{Records, RecordsError, clock_ms};
use crate::leases::{Term, fence};
use crate::{STEP_MAX, requests, sql};

/// Missed occurrences that are made up for one after the other wait so long before it is looked again whether the last one ended.
const AGAIN_MS: i64 = 1_000;
/// What else is due after it is the next tick's: in between a leader renews its lease.
const TICK_TIME_MAX: Duration = Duration::from_millis(250);

#[derive(Debug, Clone)]
pub struct Fired {
    pub schedule: String,
    pub nominal_ms: i64,
    pub request: RequestId,
    /// Occurrences before it that nobody was there for.
    pub missed: u64,
}

impl Records {
    /// How long until something is due, by the database's clock; zero or less: something is. One row is read.
    pub async fn due_in_ms(&self) -> Result<Option<i64>, RecordsError> {
        let text = "SELECT next_due_ms - (SELECT {now_ms}) FROM tide_schedules WHERE next_due_ms IS NOT NULL ORDER BY next_due_ms LIMIT 1";
        Ok(sql::number(self.reader(), text, vec![]).await?)
    }

    /// Fires what is due, under this term: the occurrence, its request and the next instant in one transaction.
    pub async fn tick(&self, term: &Term) -> Result<Vec<Fired>, RecordsError> {
        // The subquery is evaluated once; a clock in the condition itself would keep PostgreSQL from using the index.
        let find = format!(
            "SELECT {COLUMNS} FROM tide_schedules WHERE next_due_ms IS NOT NULL AND next_due_ms <= (SELECT {{now_ms}})
            ORDER BY next_due_ms LIMIT {STEP_MAX}"
        );
        if sql::rows::<ScheduleRow>(self.reader(), &find, vec![]).await?.is_empty() {
            return Ok(Vec::new());
        }
        let tx = self.begin().await?;
        fence(&tx, term).await?;
        let now_ms = sql::number(&tx, "SELECT {now_ms}", vec![]).await?.unwrap_or_else(clock_ms);
        let mut fired = Vec::new();
        let begun = Instant::now();
        for due in sql::rows::<ScheduleRow>(&tx, &find, vec![]).await? {
            if begun.elapsed() > TICK_TIME_MAX {
                break;
            }
            fired.extend(judge(&tx, term, &due, now_ms).await?);
        }
        tx.commit().await?;
        Ok(fired)
    }
}

async fn judge(
    tx: &DatabaseTransaction,
    term: &Term,
    due: &ScheduleRow,
    now_ms: i64,
) -> Result<Option<Fired>, RecordsError> {
    let rule = match due.rule() {
        Ok(rule) => rule,
        Err(error) => return set_aside(tx, due, &error.to_string(), now_ms).await.map(|()| None),
    };
    let mut judged = rule.judge(due.judged_through_ms(), now_ms);
    if rule.catch_up == CatchUp::All && holds_back(tx, due, &judged, now_ms).await? {
        judged = Judgement {
            start: None,
            missed: None,
            through_ms: due.judged_through_ms(),
            next_ms: Some(now_ms + AGAIN_MS),
        };
    }
    if let Some(missed) = &judged.missed {
        alerts::missed(tx, &due.name, missed, now_ms).await?;
    }
    let fired = match judged.start {
        Some(occurrence) => start(tx, term, due, &rule, occurrence, &judged, now_ms).await?,
        None => None,
    };
    let text =
        "UPDATE tide_schedules SET next_due_ms = $2, through_ms = $3, last_nominal_ms = COALESCE($4, last_nominal_ms),
        last_request = COALESCE($5, last_request) WHERE name = $1";
    let values = vec![
        due.name.clone().into(),
        judged.next_ms.into(),
        judged.through_ms.into(),
        fired.as_ref().map(|f| f.nominal_ms).into(),
        fired.as_ref().map(|f| f.request.to_string()).into(),
    ];
    sql::exec(tx, text, values).await?;
    Ok(fired)
}

/// `catch_up: all` makes up for one after the other: a late one begins when nothing of the schedule is at work.
async fn holds_back(
    tx: &DatabaseTransaction,
    due: &ScheduleRow,
    judged: &Judgement,
    now_ms: i64,
) -> Result<bool, RecordsError> {
    let is_late = judged.start.is_some_and(|start| start.start_ms < now_ms - ON_TIME_MS);
    Ok(is_late && overlap::is_at_work(tx, due).await?)
}

async fn start(
    tx: &DatabaseTransaction,
    term: &Term,
    due: &ScheduleRow,
    rule: &Schedule,
    occurrence: Occurrence,
    judged: &Judgement,
    now_ms: i64,
) -> Result<Option<Fired>, RecordsError> {
    let seed = format!("tidegate/{}/{}", due.name, occurrence.nominal_ms);
    let id = RequestId(Uuid::new_v5(&Uuid::NAMESPACE_OID, seed.as_bytes()));
    let (outcome, only, request) = match overlap::judge(tx, due, rule.overlap).await? {
        Verdict::Start { only } => ("started", only, id.to_string()),
        Verdict::Join { request } => ("joined", Vec::new(), request),
        Verdict::Skip { request } => ("skipped", Vec::new(), request),
    };
    let insert = "INSERT INTO tide_occurrences (schedule, nominal_ms, fired_ms, term, request_id, outcome)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (schedule, nominal_ms) DO NOTHING";
    let values = vec![
        due.name.clone().into(),
        occurrence.nominal_ms.into(),
        now_ms.into(),
        term.term.into(),
        request.clone().into(),
        outcome.into(),
    ];
    if sql::exec(tx, insert, values).await? == 0 {
        return Ok(None);
    }
    if outcome == "skipped" {
        skipped(tx, due, occurrence, &request, now_ms).await?;
    }
    if outcome != "started" {
        return Ok(None);
    }
    requests::insert_own(tx, &asked(due, id, &only)?, "schedule", now_ms).await?;
    let text = "UPDATE tide_requests SET schedule = $2, window_end_ms = $3 WHERE id = $1";
    sql::exec(tx, text, vec![request.into(), due.name.clone().into(), rule.window_end(now_ms).into()]).await?;
    let missed = judged.missed.map_or(0, |missed| missed.count);
    Ok(Some(Fired { schedule: due.name.clone(), nominal_ms: occurrence.nominal_ms, request: id, missed }))
}

async fn skipped(
    tx: &DatabaseTransaction,
    due: &ScheduleRow,
    occurrence: Occurrence,
    request: &str,
    now_ms: i64,
) -> Result<(), RecordsError> {
    let message = format!("{}: skipped, because the work of request {request} still runs", due.name);
    let one = Missed { count: 1, first_nominal_ms: occurrence.nominal_ms, last_nominal_ms: occurrence.nominal_ms };
    alerts::write(tx, alerts::SKIPPED, &due.name, &one, &message, now_ms).await
}

/// One rule that cannot be read must not hold up the others: it is told, and due no more until it is applied anew.
async fn set_aside(tx: &DatabaseTransaction, due: &ScheduleRow, why: &str, now_ms: i64) -> Result<(), RecordsError> {
    let nominal_ms = due.next_due_ms.unwrap_or(now_ms);
    let missed = Missed { count: 1, first_nominal_ms: nominal_ms, last_nominal_ms: nominal_ms };
    let message = format!("{}: its rule cannot be read, and is due no more until it is applied anew: {why}", due.name);
    alerts::write(tx, alerts::UNREADABLE, &due.name, &missed, &message, now_ms).await?;
    let text = "UPDATE tide_schedules SET next_due_ms = NULL WHERE name = $1";
    sql::exec(tx, text, vec![due.name.clone().into()]).await?;
    Ok(())
}

fn asked(due: &ScheduleRow, id: RequestId, only: &[String]) -> Result<Request, RecordsError> {
    let corrupt = |e: schemas::InvalidName| RecordsError::Corrupt(format!("schedule {}: {e}", due.name));
    let object = due.object.as_str();
    let mut request = Request::new(id, RequestKind::Build);
    match due.verb.as_str() {
        "build" => request.selector.distributions.push(object.try_into().map_err(corrupt)?),
        "send" => {
            request.kind = RequestKind::Send;
            request.selector.channels.push(object.try_into().map_err(corrupt)?);
        }
        "extract" => {
            request.kind = RequestKind::Extract;
            request.selector.subscribers.push(object.try_into().map_err(corrupt)?);
        }
        "refresh" => {
            request.kind = RequestKind::Refresh;
            request.selector.distributors.push(object.try_into().map_err(corrupt)?);
        }
        other => return Err(RecordsError::Corrupt(format!("schedule {}: verb `{other}`", due.name))),
    }
    for name in only {
        request.selector.subscribers.push(name.as_str().try_into().map_err(corrupt)?);
    }
    Ok(request)
}
