//! What happened to a job between its planning and its end.

use schemas::JobId;
use sea_orm::{ConnectionTrait, Value};

use crate::db::RecordsError;
use crate::sql;

pub(crate) struct JobEvent {
    pub job: JobId,
    pub at_ms: i64,
    pub attempt: u32,
    pub event: &'static str,
    pub worker: Option<String>,
    pub detail: Option<String>,
}

pub(crate) async fn insert(c: &impl ConnectionTrait, events: &[JobEvent]) -> Result<(), RecordsError> {
    let rows: Vec<Vec<Value>> = events
        .iter()
        .map(|e| {
            vec![
                e.job.to_string().into(),
                e.at_ms.into(),
                (e.attempt as i32).into(),
                e.event.into(),
                e.worker.clone().into(),
                e.detail.clone().into(),
            ]
        })
        .collect();
    sql::insert_rows(c, "INSERT INTO tide_job_events (job_id, at_ms, attempt, event, worker, detail)", &rows, "")
        .await?;
    Ok(())
}
