//! Requests: stored under the id that the asker chose, planned once by whoever claims them, ended with their last job.

use std::collections::HashMap;

use schemas::definitions::{Distribution, Sync, is_of_components};
use schemas::{ChannelName, Digest, JobId, Request, RequestId, RequestKind};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use uuid::Uuid;

use crate::db::{Records, RecordsError, clock_ms};
use crate::{consoles, finish, schedules, sql};

/// How long a planner has before another one takes a request over.
const PLAN_CLAIM_MS: i64 = 30_000;
/// What a request says it comes from when a new revision goes out at once.
pub const REVISION_ORIGIN: &str = "revision";
/// Requests that one call hands to a planner.
const CLAIMED_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    New,
    /// The same request was stored before.
    Known,
}

/// A request that the caller has claimed for planning.
#[derive(Debug, Clone)]
pub struct PendingRequest {
    pub request: Request,
    pub origin: String,
}

#[derive(Debug, Clone, serde::Serialize, FromQueryResult)]
pub struct RequestStatus {
    pub id: String,
    pub kind: String,
    pub state: String,
    pub jobs: i64,
    pub jobs_open: i64,
    pub jobs_failed: i64,
    pub note: Option<String>,
    pub error_code: Option<String>,
}

#[derive(FromQueryResult)]
struct Stored {
    id: String,
    digest: String,
}

#[derive(FromQueryResult)]
struct Claimed {
    body: String,
    origin: String,
}

impl Records {
    /// Stores requests; the same id with another body is a conflict and changes nothing. Results are in order.
    pub async fn accept(
        &self,
        requests: &[Request],
        origin: &str,
    ) -> Result<Vec<Result<Acceptance, RecordsError>>, RecordsError> {
        let now_ms = clock_ms();
        let mut rows = Vec::with_capacity(requests.len());
        let mut digests = Vec::with_capacity(requests.len());
        for request in requests {
            let (row, digest) = row(request, origin, now_ms)?;
            rows.push(row);
            digests.push(digest);
        }
        let tx = self.begin().await?;
        let ids: Vec<String> = requests.iter().map(|r| r.id.to_string()).collect();
        let before = stored(&tx, &ids).await?;
        let new: Vec<&Request> = requests.iter().filter(|r| !before.contains_key(&r.id.to_string())).collect();
        let refused = refused(&tx, &new).await?;
        let mut requested = requests.iter();
        rows.retain(|_| requested.next().is_none_or(|request| !refused.contains_key(&request.id)));
        sql::insert_rows(&tx, INSERT, &rows, "ON CONFLICT (id) DO NOTHING").await?;
        let after = stored(&tx, &ids).await?;
        tx.commit().await?;
        let mut seen = before.clone();
        let mut answers = Vec::with_capacity(requests.len());
        for (request, digest) in requests.iter().zip(digests) {
            if let Some((code, what)) = refused.get(&request.id) {
                answers.push(Err(RecordsError::Refused { code, what: what.clone() }));
                continue;
            }
            let id = request.id.to_string();
            let matches = after.get(&id) == Some(&digest);
            let new = seen.insert(id, digest).is_none();
            answers.push(match (matches, new) {
                (false, _) => Err(RecordsError::RequestConflict { id: request.id }),
                (true, true) => Ok(Acceptance::New),
                (true, false) => Ok(Acceptance::Known),
            });
        }
        Ok(answers)
    }

    /// Takes accepted requests for planning, oldest first; a claim that is not used up runs out.
    pub async fn claim_requests(&self) -> Result<Vec<PendingRequest>, RecordsError> {
        let now_ms = clock_ms();
        let find = format!(
            "SELECT id FROM tide_requests WHERE state = 'accepted' AND claimed_until_ms < $1 ORDER BY created_ms, id LIMIT {CLAIMED_MAX}"
        );
        if sql::texts(self.reader(), &find, vec![now_ms.into()]).await?.is_empty() {
            return Ok(Vec::new());
        }
        let text = format!(
            "UPDATE tide_requests SET claimed_until_ms = $2 WHERE state = 'accepted' AND claimed_until_ms < $1 AND id IN
                (SELECT id FROM tide_requests WHERE state = 'accepted' AND claimed_until_ms < $1
                    ORDER BY created_ms, id LIMIT {CLAIMED_MAX} {{skip_locked}})
            RETURNING body, origin"
        );
        let claimed: Vec<Claimed> =
            sql::rows(self.writer(), &text, vec![now_ms.into(), (now_ms + PLAN_CLAIM_MS).into()]).await?;
        claimed
            .into_iter()
            .map(|c| Ok(PendingRequest { request: serde_json::from_str(&c.body)?, origin: c.origin }))
            .collect()
    }

    /// Every job of the request is in its lane. It ends at once if none is open.
    pub async fn planned(&self, id: RequestId, note: Option<&str>) -> Result<(), RecordsError> {
        let now_ms = clock_ms();
        let tx = self.begin().await?;
        let text = "UPDATE tide_requests SET state = 'open', planned_ms = $2, note = COALESCE($3, note) WHERE id = $1 AND state = 'accepted'";
        sql::exec(&tx, text, vec![id.to_string().into(), now_ms.into(), note.map(str::to_owned).into()]).await?;
        schedules::take_the_place(&tx, &id.to_string(), now_ms).await?;
        finish::complete_requests(&tx, &[id.to_string()], now_ms).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The request cannot be carried out: it ends as failed, with its reason.
    pub async fn refuse_request(&self, id: RequestId, code: &str, reason: &str) -> Result<(), RecordsError> {
        let text = "UPDATE tide_requests SET state = 'failed', error_code = $2, note = $3, ended_ms = $4 WHERE id = $1 AND state = 'accepted'";
        let values = vec![id.to_string().into(), code.into(), reason.into(), clock_ms().into()];
        sql::exec(self.writer(), text, values).await?;
        Ok(())
    }

    /// Free for another planner at once, after a fault that passes.
    pub async fn unclaim_request(&self, id: RequestId, after_ms: i64) -> Result<(), RecordsError> {
        let text = "UPDATE tide_requests SET claimed_until_ms = $2 WHERE id = $1 AND state = 'accepted'";
        sql::exec(self.writer(), text, vec![id.to_string().into(), (clock_ms() + after_ms).into()]).await?;
        Ok(())
    }

    pub async fn request_status(&self, id: RequestId) -> Result<Option<RequestStatus>, RecordsError> {
        let text = "SELECT id, kind, state, jobs, jobs_open, jobs_failed, note, error_code FROM requests WHERE id = $1";
        Ok(sql::row(self.reader(), text, vec![id.to_string().into()]).await?)
    }
}

const INSERT: &str = "INSERT INTO tide_requests (id, kind, body, digest, console, origin, state, created_ms)";

fn row(request: &Request, origin: &str, now_ms: i64) -> Result<(Vec<Value>, String), RecordsError> {
    let body = serde_json::to_string(request)?;
    let digest = Digest::of(body.as_bytes()).hex();
    let row = vec![
        request.id.to_string().into(),
        request.kind.as_str().into(),
        body.into(),
        digest.clone().into(),
        request.console.as_ref().map(ToString::to_string).into(),
        origin.into(),
        "accepted".into(),
        now_ms.into(),
    ];
    Ok((row, digest))
}

/// Those that nobody may make so, with code and reason.
async fn refused(
    c: &impl ConnectionTrait,
    requests: &[&Request],
) -> Result<HashMap<RequestId, (&'static str, String)>, RecordsError> {
    let mut refused = HashMap::new();
    for request in requests {
        match consoles::may_run(c, request).await {
            Ok(()) => {}
            Err(RecordsError::Refused { code, what }) => drop(refused.insert(request.id, (code, what))),
            Err(other) => return Err(other),
        }
    }
    Ok(refused)
}

async fn stored(c: &impl ConnectionTrait, ids: &[String]) -> Result<HashMap<String, String>, RecordsError> {
    if ids.is_empty() {
        return Ok(Default::default());
    }
    let text = format!("SELECT id, digest FROM tide_requests WHERE id IN ({})", sql::list(1, ids.len()));
    let found: Vec<Stored> = sql::rows(c, &text, sql::values(ids)).await?;
    Ok(found.into_iter().map(|s| (s.id, s.digest)).collect())
}

/// Inside another transaction: stores a request of the system's own, whose id says what it came from.
pub(crate) async fn insert_own(
    c: &impl ConnectionTrait,
    request: &Request,
    origin: &str,
    now_ms: i64,
) -> Result<bool, RecordsError> {
    let (row, _) = row(request, origin, now_ms)?;
    Ok(sql::insert_rows(c, INSERT, &[row], "ON CONFLICT (id) DO NOTHING").await? == 1)
}

/// What a request has of the schedule that made it.
pub(crate) struct OfSchedule<'a> {
    pub schedule: &'a str,
    pub window_end_ms: Option<i64>,
    /// What is not done then is stopped.
    pub stops: bool,
}

pub(crate) async fn insert_of_schedule(
    c: &impl ConnectionTrait,
    request: &Request,
    of: &OfSchedule<'_>,
    now_ms: i64,
) -> Result<(), RecordsError> {
    let (mut row, _) = row(request, "schedule", now_ms)?;
    row.extend([of.schedule.into(), of.window_end_ms.into(), i32::from(of.stops).into()]);
    let head = "INSERT INTO tide_requests (id, kind, body, digest, console, origin, state, created_ms, schedule, window_end_ms, window_stops)";
    sql::insert_rows(c, head, &[row], "ON CONFLICT (id) DO NOTHING").await?;
    Ok(())
}

/// A new revision goes out on a channel whose send schedule is `immediately`, or of a distribution with `send_after_build`.
pub(crate) async fn send_of_new_revision(
    c: &impl ConnectionTrait,
    build: JobId,
    channel: &ChannelName,
    now_ms: i64,
) -> Result<(), RecordsError> {
    let id = RequestId(Uuid::new_v5(&build.0, format!("send/{channel}").as_bytes()));
    let mut request = Request::new(id, RequestKind::Send);
    request.selector.channels.push(channel.clone());
    insert_own(c, &request, REVISION_ORIGIN, now_ms).await?;
    Ok(())
}

/// A new revision also goes where a sync of it says `immediately`, in the name of the sync's console.
pub(crate) async fn syncs_of_new_revision(
    c: &impl ConnectionTrait,
    build: JobId,
    distribution: &str,
    now_ms: i64,
) -> Result<usize, RecordsError> {
    let text = "SELECT s.object AS sync, o.spec, o.console, COALESCE(d.in_effect, d.spec) AS distribution FROM tide_schedules s
        JOIN tide_objects o ON o.kind = 'sync' AND o.name = s.object
        JOIN tide_objects d ON d.kind = 'distribution' AND d.name = $1
        WHERE s.verb = 'sync' AND s.spec = '\"immediately\"' ORDER BY s.object";
    let immediate: Vec<ImmediateSync> = sql::rows(c, text, vec![distribution.to_owned().into()]).await?;
    let mut asked = 0;
    for row in immediate {
        let sync: Sync = serde_json::from_str(&row.spec)?;
        if !is_of_components(&serde_json::from_str::<Distribution>(&row.distribution)?, &sync.components) {
            continue;
        }
        let id = RequestId(Uuid::new_v5(&build.0, format!("sync/{}", row.sync).as_bytes()));
        let mut request = Request::new(id, RequestKind::Sync);
        request.selector.subscribers.push(sync.subscriber);
        let corrupt = |e: schemas::InvalidName| RecordsError::Corrupt(format!("sync {}: {e}", row.sync));
        request.selector.distributions.push(distribution.try_into().map_err(corrupt)?);
        request.console = Some(row.console.as_str().try_into().map_err(corrupt)?);
        request.selector.components = sync.components;
        asked += usize::from(insert_own(c, &request, REVISION_ORIGIN, now_ms).await?);
    }
    Ok(asked)
}

#[derive(FromQueryResult)]
struct ImmediateSync {
    sync: String,
    spec: String,
    console: String,
    distribution: String,
}
