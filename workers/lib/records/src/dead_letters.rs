//! Messages that could not be processed, kept with their reason until somebody replays or drops them.

use schemas::JobId;
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::db::{Records, RecordsError, clock_ms};
use crate::sql;

#[derive(Debug, Clone, FromQueryResult)]
pub struct DeadLetter {
    pub id: String,
    pub queue: String,
    pub code: String,
    pub reason: String,
    pub body: String,
    pub state: String,
    /// When it was kept last: a letter that dies again is kept anew.
    pub created_ms: i64,
}

/// Bytes of a body that are kept.
const BODY_BYTES_MAX: usize = 256 << 10;

impl Records {
    /// Keeps a dead letter under an id that is derived from it, so that a redelivery keeps it once.
    pub async fn keep_dead_letter(
        &self,
        queue: &str,
        code: &str,
        reason: &str,
        body: &[u8],
        job: Option<JobId>,
    ) -> Result<String, RecordsError> {
        let seed = [queue.as_bytes(), b"\0", code.as_bytes(), b"\0", body].concat();
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, &seed).to_string();
        let kept = &body[..body.len().min(BODY_BYTES_MAX)];
        // PostgreSQL's text holds no NUL.
        let text: String = String::from_utf8_lossy(kept).replace('\0', "\u{fffd}");
        let insert = "INSERT INTO tide_dead_letters (id, queue, code, reason, body, job_id, state, created_ms)
            VALUES ($1, $2, $3, $4, $5, $6, 'kept', $7)
            ON CONFLICT (id) DO UPDATE SET state = 'kept', created_ms = excluded.created_ms, ended_ms = NULL";
        let values = vec![
            id.clone().into(),
            queue.into(),
            code.into(),
            reason.replace('\0', "\u{fffd}").into(),
            text.into(),
            job.map(|j| j.to_string()).into(),
            clock_ms().into(),
        ];
        sql::exec(self.writer(), insert, values).await?;
        Ok(id)
    }

    pub async fn dead_letter(&self, id: &str) -> Result<Option<DeadLetter>, RecordsError> {
        let text = "SELECT id, queue, code, reason, body, state, created_ms FROM tide_dead_letters WHERE id = $1";
        Ok(sql::row(self.reader(), text, vec![id.into()]).await?)
    }

    /// `replayed` or `dropped`, as it was read; false if it is not kept any more, or was kept anew meanwhile.
    pub async fn end_dead_letter(&self, letter: &DeadLetter, replayed: bool) -> Result<bool, RecordsError> {
        let state = if replayed { "replayed" } else { "dropped" };
        let text = "UPDATE tide_dead_letters SET state = $2, ended_ms = $3 WHERE id = $1 AND state = 'kept' AND created_ms = $4";
        let values = vec![letter.id.clone().into(), state.into(), clock_ms().into(), letter.created_ms.into()];
        Ok(sql::exec(self.writer(), text, values).await? == 1)
    }
}
