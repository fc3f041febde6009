//! Occurrences: a schedule that is due becomes a request, once for each nominal instant, whatever crashes or restarts.

use domain::schedule;
use schemas::{Request, RequestId, RequestKind, Schedule};
use sea_orm::{DatabaseTransaction, FromQueryResult};
use uuid::Uuid;

use crate::db::{Records, RecordsError, clock_ms};
use crate::leases::{Term, fence};
use crate::{STEP_MAX, requests, sql};

#[derive(Debug, Clone)]
pub struct Fired {
    pub schedule: String,
    pub nominal_ms: i64,
    pub request: RequestId,
    /// Instants before it that nobody was there for (catch-up `one`).
    pub missed: u64,
}

#[derive(FromQueryResult)]
struct Due {
    name: String,
    verb: String,
    object: String,
    spec: String,
    anchor_ms: i64,
    last_nominal_ms: Option<i64>,
}

impl Records {
    /// Fires what is due, under this term: the occurrence, its request and the next instant in one transaction.
    pub async fn tick(&self, term: &Term) -> Result<Vec<Fired>, RecordsError> {
        let find = format!(
            "SELECT name, verb, object, spec, anchor_ms, last_nominal_ms FROM tide_schedules
            WHERE next_due_ms IS NOT NULL AND next_due_ms <= {{now_ms}} ORDER BY next_due_ms LIMIT {STEP_MAX}"
        );
        if sql::rows::<Due>(self.reader(), &find, vec![]).await?.is_empty() {
            return Ok(Vec::new());
        }
        let tx = self.begin().await?;
        fence(&tx, term).await?;
        let now_ms = sql::number(&tx, "SELECT {now_ms}", vec![]).await?.unwrap_or_else(clock_ms);
        let mut fired = Vec::new();
        for due in sql::rows::<Due>(&tx, &find, vec![]).await? {
            fired.extend(fire(&tx, term, due, now_ms).await?);
        }
        tx.commit().await?;
        Ok(fired)
    }
}

async fn fire(tx: &DatabaseTransaction, term: &Term, due: Due, now_ms: i64) -> Result<Option<Fired>, RecordsError> {
    let rule: Schedule = serde_json::from_str(&due.spec)?;
    let last_ms = due.last_nominal_ms.unwrap_or(due.anchor_ms).max(due.anchor_ms);
    let next = schedule::next_due(&rule, due.anchor_ms, now_ms);
    let mut fired = None;
    if let Some(instant) = schedule::due(&rule, due.anchor_ms, last_ms, now_ms) {
        let seed = format!("tidegate/{}/{}", due.name, instant.nominal_ms);
        let id = RequestId(Uuid::new_v5(&Uuid::NAMESPACE_OID, seed.as_bytes()));
        let insert = "INSERT INTO tide_occurrences (schedule, nominal_ms, fired_ms, term, request_id)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT (schedule, nominal_ms) DO NOTHING";
        let values = vec![
            due.name.clone().into(),
            instant.nominal_ms.into(),
            now_ms.into(),
            term.term.into(),
            id.to_string().into(),
        ];
        if sql::exec(tx, insert, values).await? == 1 {
            requests::insert_own(tx, &request(&due, id)?, "schedule", now_ms).await?;
            fired = Some(Fired {
                schedule: due.name.clone(),
                nominal_ms: instant.nominal_ms,
                request: id,
                missed: instant.missed,
            });
        }
    }
    let text = "UPDATE tide_schedules SET next_due_ms = $2, last_nominal_ms = COALESCE($3, last_nominal_ms),
        last_request = COALESCE($4, last_request) WHERE name = $1";
    let values = vec![
        due.name.into(),
        next.into(),
        fired.as_ref().map(|f| f.nominal_ms).into(),
        fired.as_ref().map(|f| f.request.to_string()).into(),
    ];
    sql::exec(tx, text, values).await?;
    Ok(fired)
}

fn request(due: &Due, id: RequestId) -> Result<Request, RecordsError> {
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
    Ok(request)
}
