//! A window bounds when work may start, at every hop (SPEC §10, 8): what waits in a lane when it closes begins no more. What is
//! handed out or at work goes on; the schedule's next occurrence finds what is still lacking.

use schemas::JobId;

use crate::cancel::{CancelOutcome, Reach, cancel_in};
use crate::db::{Records, RecordsError};
use crate::leases::Term;
use crate::{STEP_MAX, sql};

impl Records {
    /// Cancels what had not begun when its window closed, unless somebody else asked for it too.
    pub async fn close_windows(&self, term: &Term) -> Result<CancelOutcome, RecordsError> {
        // An extract that travels with its send goes as that goes.
        let text = format!(
            "SELECT DISTINCT j.id FROM tide_requests r JOIN tide_request_jobs y ON y.request_id = r.id JOIN tide_jobs j ON j.id = y.job_id
            WHERE r.window_end_ms IS NOT NULL AND r.window_end_ms <= (SELECT {{now_ms}}) AND r.state = 'open'
                AND j.state = 'waiting' AND j.attempt = 1 AND j.carried_by IS NULL
                AND NOT EXISTS (SELECT 1 FROM tide_request_jobs x JOIN tide_requests o ON o.id = x.request_id
                    WHERE x.job_id = j.id AND o.state IN ('accepted', 'open')
                        AND (o.window_end_ms IS NULL OR o.window_end_ms > (SELECT {{now_ms}})))
            LIMIT {STEP_MAX}"
        );
        let late = sql::texts(self.reader(), &text, vec![]).await?;
        if late.is_empty() {
            return Ok(CancelOutcome::default());
        }
        let jobs: Result<Vec<JobId>, _> = late.iter().map(|id| id.parse()).collect();
        let jobs = jobs.map_err(|e| RecordsError::Corrupt(format!("job id: {e}")))?;
        let tx = self.fenced(term).await?;
        let outcome = cancel_in(&tx, &jobs, Reach::Waiting).await?;
        let ids: Vec<String> = outcome.cancelled.iter().map(ToString::to_string).collect();
        if !ids.is_empty() {
            let text = format!(
                "UPDATE tide_jobs SET error_code = 'window-closed', error = 'its window closed before it could begin'
                WHERE state = 'cancelled' AND id IN ({})",
                sql::list(1, ids.len())
            );
            sql::exec(&tx, &text, sql::values(&ids)).await?;
        }
        tx.commit().await?;
        Ok(outcome)
    }
}
