//! Occurrences: a schedule that is due becomes a request, once for each nominal instant, whatever crashes or restarts.

use std::time::{Duration, Instant};

use domain::schedule::{Judgement, Missed, ON_TIME_MS, Occurrence, Schedule};
use schemas::schedule::CatchUp;
use schemas::{Request, RequestId, RequestKind};
use sea_orm::DatabaseTransaction;
use uuid::Uuid;

use super::overlap::{self, Verdict};
use super::{COLUMNS, ScheduleRow, alerts, due};
use crate::db::{Records, RecordsError, clock_ms};
use crate::leases::{Term, fence};
use crate::requests::{self, OfSchedule};
use crate::{STEP_MAX, consoles, sql};

/// Missed occurrences that are made up for one after the other wait so long before it is looked again whether the last one ended.
pub(super) const AGAIN_MS: i64 = 1_000;
/// What else is due after it, by time or by its cause, is the next tick's: in between a leader renews its lease.
pub(super) const TICK_TIME_MAX: Duration = Duration::from_millis(250);

#[derive(Debug, Clone)]
pub struct Fired {
    pub schedule: String,
    pub nominal_ms: i64,
    pub request: RequestId,
    /// Occurrences before it that nobody was there for.
    pub missed: u64,
}

impl Records {
    /// How long until something is due, by the database's clock; zero or less: something is. Of what time makes due and of what
    /// something else did, one row each is read.
    pub async fn due_in_ms(&self) -> Result<Option<i64>, RecordsError> {
        let text = "SELECT d.at_ms - (SELECT {now_ms}) FROM (
                SELECT * FROM (SELECT next_due_ms AS at_ms FROM tide_schedules WHERE next_due_ms IS NOT NULL ORDER BY next_due_ms LIMIT 1) t
                UNION ALL SELECT * FROM (SELECT due_ms AS at_ms FROM tide_due ORDER BY due_ms LIMIT 1) c
            ) d ORDER BY d.at_ms LIMIT 1";
        Ok(sql::number(self.reader(), text, vec![]).await?)
    }

    /// Fires what is due, under this term: the occurrence, its request and the next instant in one transaction.
    pub async fn tick(&self, term: &Term) -> Result<Vec<Fired>, RecordsError> {
        // The subquery is evaluated once; a clock in the condition itself would keep PostgreSQL from using the index.
        let find = format!(
            "SELECT {COLUMNS} FROM tide_schedules WHERE next_due_ms IS NOT NULL AND next_due_ms <= (SELECT {{now_ms}})
            ORDER BY next_due_ms LIMIT {STEP_MAX}"
        );
        if sql::rows::<ScheduleRow>(self.reader(), &find, vec![]).await?.is_empty()
            && sql::number(self.reader(), due::ANY_DUE, vec![]).await?.is_none()
        {
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
        fired.extend(due::fire(&tx, term, now_ms).await?);
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
        Err(error) => return set_aside(tx, due, &error, now_ms).await.map(|()| None),
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
        Some(occurrence) => begin(tx, term, due, &rule, &Begun::timed(occurrence, &judged), now_ms).await?,
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

/// An occurrence that begins now.
pub(super) struct Begun {
    pub nominal_ms: i64,
    /// What made it due, if that was not time.
    pub cause: Option<String>,
    /// The distribution and the revision that it is about; none = whatever its object has.
    pub of: Option<(String, i64)>,
    /// Those before it that nobody was there for.
    pub missed: u64,
}

impl Begun {
    fn timed(occurrence: Occurrence, judged: &Judgement) -> Begun {
        let missed = judged.missed.map_or(0, |missed| missed.count);
        Begun { nominal_ms: occurrence.nominal_ms, cause: None, of: None, missed }
    }

    fn request_id(&self, schedule: &str) -> RequestId {
        let seed = match &self.cause {
            None => format!("tidegate/{schedule}/{}", self.nominal_ms),
            Some(cause) => format!("tidegate/{schedule}/{cause}"),
        };
        RequestId(Uuid::new_v5(&Uuid::NAMESPACE_OID, seed.as_bytes()))
    }
}

/// Writes the occurrence with what becomes of it, and its request if it starts; `None` if it does not, or began before.
pub(super) async fn begin(
    tx: &DatabaseTransaction,
    term: &Term,
    due: &ScheduleRow,
    rule: &Schedule,
    begun: &Begun,
    now_ms: i64,
) -> Result<Option<Fired>, RecordsError> {
    let id = begun.request_id(&due.name);
    let verdict = match begun.of {
        // Another one's work is about something else.
        Some(_) => Verdict::Start { only: Vec::new() },
        None => overlap::judge(tx, due, rule.overlap).await?,
    };
    let (outcome, only, request) = match verdict {
        Verdict::Start { only } => ("started", only, id.to_string()),
        Verdict::Join { request } => ("joined", Vec::new(), request),
        Verdict::Skip { request } => ("skipped", Vec::new(), request),
    };
    let insert = "INSERT INTO tide_occurrences (schedule, nominal_ms, fired_ms, term, request_id, outcome, cause)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    let values = vec![
        due.name.clone().into(),
        begun.nominal_ms.into(),
        now_ms.into(),
        term.term.into(),
        request.clone().into(),
        outcome.into(),
        begun.cause.clone().into(),
    ];
    if sql::exec(tx, insert, values).await? == 0 {
        return Ok(None);
    }
    if outcome == "skipped" {
        skipped(tx, due, begun.nominal_ms, &request, now_ms).await?;
    }
    if outcome != "started" {
        return Ok(None);
    }
    let mut work = asked(due, id, &only, begun)?;
    if let [sync] = work.selector.syncs.as_slice() {
        work.console = consoles::owner_of_sync(tx, sync).await?;
    }
    let window_end_ms = rule.window_end(now_ms);
    let stops = rule.stop_at_end && window_end_ms.is_some();
    let of = OfSchedule { schedule: &due.name, window_end_ms, stops };
    requests::insert_of_schedule(tx, &work, &of, now_ms).await?;
    Ok(Some(Fired { schedule: due.name.clone(), nominal_ms: begun.nominal_ms, request: id, missed: begun.missed }))
}

async fn skipped(
    tx: &DatabaseTransaction,
    due: &ScheduleRow,
    nominal_ms: i64,
    request: &str,
    now_ms: i64,
) -> Result<(), RecordsError> {
    let message = format!("{}: skipped, because the work of request {request} still runs", due.name);
    let one = Missed { count: 1, first_nominal_ms: nominal_ms, last_nominal_ms: nominal_ms };
    alerts::write(tx, alerts::SKIPPED, &due.name, &one, &message, now_ms).await
}

/// A rule that cannot be read is told, and due no more until it is applied anew.
async fn set_aside(
    tx: &DatabaseTransaction,
    due: &ScheduleRow,
    why: &RecordsError,
    now_ms: i64,
) -> Result<(), RecordsError> {
    alerts::unreadable(tx, &due.name, due.next_due_ms.unwrap_or(now_ms), why, now_ms).await?;
    let text = "UPDATE tide_schedules SET next_due_ms = NULL WHERE name = $1";
    sql::exec(tx, text, vec![due.name.clone().into()]).await?;
    Ok(())
}

fn asked(due: &ScheduleRow, id: RequestId, only: &[String], begun: &Begun) -> Result<Request, RecordsError> {
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
        "sync" => {
            request.kind = RequestKind::Sync;
            request.selector.syncs.push(object.try_into().map_err(corrupt)?);
        }
        other => return Err(RecordsError::Corrupt(format!("schedule {}: verb `{other}`", due.name))),
    }
    for name in only {
        request.selector.subscribers.push(name.as_str().try_into().map_err(corrupt)?);
    }
    if let Some((distribution, revision)) = &begun.of {
        request.selector.distributions.push(distribution.as_str().try_into().map_err(corrupt)?);
        request.options.revision = Some(*revision as u64);
    }
    Ok(request)
}
