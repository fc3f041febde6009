//! A job's row, as the code of this crate reads it.

use domain::state::{Standing, State};
use schemas::{DistributionName, JobId, Lane};
use sea_orm::FromQueryResult;

use crate::db::RecordsError;

/// The columns of `Raw`, for SELECT.
pub(crate) const COLUMNS: &str = "id, request_id, kind, lane, distributor, distribution, channel, subscriber, revision, priority, \
    state, attempt, attempts_max, task, carried_by, publications, cancel_requested_ms, claimed_until_ms, stop_at_ms";

#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct Raw {
    pub id: String,
    pub request_id: String,
    pub kind: String,
    pub lane: String,
    pub distributor: String,
    pub distribution: String,
    pub channel: Option<String>,
    pub subscriber: Option<String>,
    pub revision: Option<i64>,
    pub priority: i32,
    pub state: String,
    pub attempt: i32,
    pub attempts_max: i32,
    pub task: String,
    pub carried_by: Option<String>,
    pub publications: i32,
    pub cancel_requested_ms: Option<i64>,
    pub claimed_until_ms: i64,
    pub stop_at_ms: Option<i64>,
}

/// What others need to know of a job.
#[derive(Debug, Clone)]
pub struct JobRow {
    pub id: JobId,
    pub lane: Lane,
    pub distribution: DistributionName,
    pub state: State,
    pub attempt: u32,
    pub(crate) raw: Raw,
}

impl JobRow {
    pub(crate) fn standing(&self) -> Standing {
        Standing {
            state: self.state,
            attempt: self.attempt,
            attempts_max: self.raw.attempts_max.max(1) as u32,
            cancel_requested: self.raw.cancel_requested_ms.is_some(),
        }
    }

    /// A send or an extract: what a site does with one revision.
    pub(crate) fn is_delivery(&self) -> bool {
        matches!(self.raw.kind.as_str(), "send" | "extract")
    }

    /// When it got its present number in its lane: what its worker did, it did after that.
    pub(crate) fn promoted_ms(&self) -> i64 {
        self.raw.claimed_until_ms - crate::CLAIM_MS
    }

    pub fn kind(&self) -> &str {
        &self.raw.kind
    }

    pub fn subscriber(&self) -> Option<&str> {
        self.raw.subscriber.as_deref()
    }

    pub fn revision(&self) -> Option<u64> {
        self.raw.revision.map(|n| n as u64)
    }
}

impl TryFrom<Raw> for JobRow {
    type Error = RecordsError;

    fn try_from(raw: Raw) -> Result<Self, RecordsError> {
        let corrupt = |what: String| RecordsError::Corrupt(format!("job {}: {what}", raw.id));
        Ok(JobRow {
            id: raw.id.parse().map_err(|e| corrupt(format!("id: {e}")))?,
            lane: raw.lane.parse().map_err(|e| corrupt(format!("{e}")))?,
            distribution: raw.distribution.parse().map_err(|e| corrupt(format!("{e}")))?,
            state: State::parse(&raw.state).ok_or_else(|| corrupt(format!("state `{}`", raw.state)))?,
            attempt: raw.attempt.max(1) as u32,
            raw,
        })
    }
}
