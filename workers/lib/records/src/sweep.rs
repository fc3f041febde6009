//! What the leader looks after by query: silence, lost work, places that came free unseen, requests that are over. Every step
//! is fenced by the leader's term; none depends on a remembered event.

use std::collections::{BTreeSet, HashMap, HashSet};

use domain::retry::backoff_ms;
use domain::state::{Happening, Move, State};
use schemas::{JobId, OpenJob};
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult, Value};

use crate::db::{Records, RecordsError, clock_ms};
use crate::events::{self, JobEvent};
use crate::finish::{self, Ended};
use crate::leases::{Term, fence};
use crate::publish::ToPublish;
use crate::{STEP_MAX, lanes, limits, promote, sql};

/// How long is too long, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// A site that has said nothing for so long is silent.
    pub silent_after_ms: i64,
    /// The jobs of a site that has been silent for so long fail.
    pub give_up_after_ms: i64,
    /// A build that nobody started is published again after so long, then after twice as long, and so on.
    pub unstarted_after_ms: i64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds { silent_after_ms: 90_000, give_up_after_ms: 7 * 86_400_000, unstarted_after_ms: 60_000 }
    }
}

#[derive(Debug, Default)]
pub struct Swept {
    pub silent: u64,
    pub given_up: u64,
    pub lost: u64,
    pub again: u64,
    pub cancelled: u64,
    pub completed: u64,
    pub publish: Vec<ToPublish>,
}

/// The instant up to which silence may be judged, and since when somebody has been listening.
struct Hearing {
    judged_ms: i64,
    listening_since_ms: i64,
}

#[derive(FromQueryResult)]
struct MetaRow {
    name: String,
    number: i64,
}

#[derive(FromQueryResult)]
struct Published {
    id: String,
    attempt: i32,
    lane: String,
    /// Published before the site's last two presences.
    old: i32,
    open_jobs: String,
}

#[derive(FromQueryResult)]
struct Found {
    id: String,
}

impl Records {
    pub async fn sweep(&self, term: &Term, thresholds: &Thresholds) -> Result<Swept, RecordsError> {
        let mut swept = Swept {
            silent: self.mark_silent(term, thresholds).await?,
            again: self.free_unlisted(term).await? + self.free_unstarted(term, thresholds).await?,
            lost: self.take_over_builds(term).await?,
            given_up: self.give_up(term, thresholds).await?,
            cancelled: self.end_cancelled(term).await?,
            completed: self.complete_forgotten(term).await?,
            publish: Vec::new(),
        };
        swept.publish = self.promote_overlooked(term).await?;
        swept.publish.extend(self.claim_unpublished_in(Some(term)).await?);
        Ok(swept)
    }

    pub(crate) async fn fenced(&self, term: &Term) -> Result<DatabaseTransaction, RecordsError> {
        let tx = self.begin().await?;
        fence(&tx, term).await?;
        Ok(tx)
    }

    async fn hearing(&self) -> Result<Hearing, RecordsError> {
        let text = "SELECT name, number FROM tide_meta WHERE name IN ('reports_through_ms', 'listening_since_ms')
            UNION ALL SELECT 'now', {now_ms}";
        let rows: Vec<MetaRow> = sql::rows(self.reader(), text, vec![]).await?;
        let of: HashMap<String, i64> = rows.into_iter().map(|r| (r.name, r.number)).collect();
        let get = |name: &str| of.get(name).copied().unwrap_or(0);
        Ok(Hearing {
            judged_ms: get("now").min(get("reports_through_ms")),
            listening_since_ms: get("listening_since_ms"),
        })
    }

    /// Sites that are silent, and waits for them that have lasted long enough.
    async fn mark_silent(&self, term: &Term, thresholds: &Thresholds) -> Result<u64, RecordsError> {
        let hearing = self.hearing().await?;
        let deaf_until = hearing.listening_since_ms;
        if deaf_until > hearing.judged_ms - thresholds.silent_after_ms.min(1_000) && deaf_until > 0 {
            return Ok(0);
        }
        let tx = self.fenced(term).await?;
        let text = "UPDATE tide_sites SET silent_since_ms = presence_ms WHERE silent_since_ms IS NULL AND presence_ms < $1 AND $2 < $1";
        let limit = hearing.judged_ms - thresholds.silent_after_ms;
        let silent = sql::exec(&tx, text, vec![limit.into(), deaf_until.into()]).await?;
        let pass_by = "UPDATE tide_job_waits SET until_ms = 0 WHERE until_ms IS NULL AND on_bad = 'proceed' AND patience_ms IS NOT NULL
            AND awaited_id IN (SELECT o.id FROM tide_jobs o WHERE o.state IN ('waiting', 'queued', 'running') AND o.subscriber IS NOT NULL)
            AND $2 < $1 - patience_ms AND EXISTS (
                SELECT 1 FROM tide_jobs a LEFT JOIN tide_sites s ON s.subscriber = a.subscriber
                WHERE a.id = tide_job_waits.awaited_id AND a.state IN ('waiting', 'queued', 'running') AND a.subscriber IS NOT NULL
                    AND COALESCE(s.presence_ms, a.created_ms) < $1 - tide_job_waits.patience_ms)";
        sql::exec(&tx, pass_by, vec![hearing.judged_ms.into(), deaf_until.into()]).await?;
        tx.commit().await?;
        Ok(silent)
    }

    /// A site's job that was published before its last two presences and is in neither its hands nor a report: again. What
    /// waits in the broker behind a job in the site's hands is not listed either, and is left alone.
    async fn free_unlisted(&self, term: &Term) -> Result<u64, RecordsError> {
        let text = "SELECT j.id, j.attempt, j.lane, s.open_jobs, CASE WHEN j.published_ms < s.presence_before_ms
                AND s.presence_before_ms <= (SELECT number FROM tide_meta WHERE name = 'reports_through_ms') THEN 1 ELSE 0 END AS old
            FROM tide_jobs j JOIN tide_sites s ON s.subscriber = j.subscriber
            WHERE j.kind IN ('send', 'extract') AND j.state IN ('queued', 'running') AND j.published_ms IS NOT NULL LIMIT 20000";
        let published: Vec<Published> = sql::rows(self.reader(), text, vec![]).await?;
        let mut lists: HashMap<&str, HashSet<JobId>> = HashMap::new();
        for job in &published {
            if !lists.contains_key(job.open_jobs.as_str()) {
                let open: Vec<OpenJob> = serde_json::from_str(&job.open_jobs)?;
                lists.insert(&job.open_jobs, open.into_iter().map(|o| o.job).collect());
            }
        }
        let listed =
            |job: &Published| job.id.parse().is_ok_and(|id: JobId| lists[job.open_jobs.as_str()].contains(&id));
        let in_hand: HashSet<&str> = published.iter().filter(|j| listed(j)).map(|j| j.lane.as_str()).collect();
        let lost = published.iter().filter(|j| j.old == 1 && !in_hand.contains(j.lane.as_str()));
        let lost = lost.map(|j| (j.id.clone(), j.attempt)).collect();
        self.free(term, lost, "not at its site").await
    }

    async fn free_unstarted(&self, term: &Term, thresholds: &Thresholds) -> Result<u64, RecordsError> {
        // 2^publications by shifting: the interval doubles with every try, up to 1,024 times the first.
        let text = "SELECT id, attempt, lane, 1 AS old, '' AS open_jobs FROM tide_jobs
            WHERE state IN ('waiting', 'queued', 'running') AND kind IN ('build', 'collect') AND state = 'queued' AND started_ms IS NULL
            AND published_ms < {now_ms} - $1 * (1 << CASE WHEN publications > 10 THEN 10 WHEN publications < 1 THEN 0 ELSE publications - 1 END)
            LIMIT 500";
        let found: Vec<Published> = sql::rows(self.reader(), text, vec![thresholds.unstarted_after_ms.into()]).await?;
        self.free(term, found.into_iter().map(|j| (j.id, j.attempt)).collect(), "nobody started it").await
    }

    /// Back to `waiting` under the same attempt; a job that has moved on meanwhile stays as it is.
    async fn free(&self, term: &Term, jobs: Vec<(String, i32)>, why: &str) -> Result<u64, RecordsError> {
        if jobs.is_empty() {
            return Ok(0);
        }
        let tx = self.fenced(term).await?;
        let ids: Vec<String> = jobs.iter().map(|(id, _)| id.clone()).collect();
        lanes::lock(&tx, &lanes::around(&tx, &ids).await?).await?;
        let now_ms = clock_ms();
        let text = format!(
            "UPDATE tide_jobs SET state = 'waiting', published_ms = NULL, carried_by = NULL
            WHERE state IN ('queued', 'running') AND published_ms IS NOT NULL AND id IN ({}) RETURNING id",
            sql::list(1, ids.len())
        );
        let freed: HashSet<String> =
            sql::rows::<Found>(&tx, &text, sql::values(&ids)).await?.into_iter().map(|f| f.id).collect();
        let events: Vec<JobEvent> = jobs
            .iter()
            .filter(|(id, _)| freed.contains(id))
            .filter_map(|(id, attempt)| {
                Some(JobEvent {
                    job: id.parse().ok()?,
                    at_ms: now_ms,
                    attempt: *attempt as u32,
                    event: "republished",
                    worker: None,
                    detail: Some(why.to_owned()),
                })
            })
            .collect();
        events::insert(&tx, &events).await?;
        tx.commit().await?;
        Ok(freed.len() as u64)
    }

    /// Builds whose builder has been silent past the lease, while somebody was listening.
    async fn take_over_builds(&self, term: &Term) -> Result<u64, RecordsError> {
        let hearing = self.hearing().await?;
        let text = "SELECT id FROM tide_jobs WHERE kind IN ('build', 'collect') AND state = 'running' AND lease_until_ms < $1 AND $2 + 30000 < $1 LIMIT 500";
        let values = vec![hearing.judged_ms.into(), hearing.listening_since_ms.into()];
        let lost = sql::texts(self.reader(), text, values).await?;
        self.happen(
            term,
            lost,
            |attempt| Happening::Lost { attempt },
            "builder-lost",
            "its builder has been silent past the lease",
        )
        .await
    }

    async fn give_up(&self, term: &Term, thresholds: &Thresholds) -> Result<u64, RecordsError> {
        let hearing = self.hearing().await?;
        let text = "SELECT j.id FROM tide_jobs j LEFT JOIN tide_sites s ON s.subscriber = j.subscriber
            WHERE j.subscriber IS NOT NULL AND j.state IN ('waiting', 'queued', 'running')
                AND COALESCE(s.presence_ms, 0) < $1 AND j.created_ms < $1 AND $2 < $1 LIMIT 500";
        let limit = hearing.judged_ms - thresholds.give_up_after_ms;
        let silent = sql::texts(self.reader(), text, vec![limit.into(), hearing.listening_since_ms.into()]).await?;
        let what = "its site has been silent for longer than `give_up_after`; `retry` makes a new job once it is back";
        self.happen(term, silent, |_| Happening::Ended(State::Failed), "site-silent", what).await
    }

    /// A cancel that found its job between two attempts.
    async fn end_cancelled(&self, term: &Term) -> Result<u64, RecordsError> {
        let text = "SELECT id FROM tide_jobs WHERE state IN ('waiting', 'queued', 'running') AND state = 'waiting' AND cancel_requested_ms IS NOT NULL AND carried_by IS NULL LIMIT 500";
        let asked = sql::texts(self.reader(), text, vec![]).await?;
        self.happen(term, asked, |_| Happening::Ended(State::Cancelled), "cancelled", "cancelled on request").await
    }

    /// Something happened to these jobs that no worker reported.
    async fn happen(
        &self,
        term: &Term,
        ids: Vec<String>,
        happening: impl Fn(u32) -> Happening,
        code: &str,
        error: &str,
    ) -> Result<u64, RecordsError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let now_ms = clock_ms();
        let tx = self.fenced(term).await?;
        lanes::lock(&tx, &lanes::around(&tx, &ids).await?).await?;
        let jobs = promote::load(&tx, ids).await?;
        let mut rows: Vec<Vec<Value>> = Vec::new();
        let mut ended = Vec::new();
        let mut events = Vec::new();
        for job in jobs.values() {
            let (state, attempt, not_before_ms, ended_ms) = match job.standing().after(happening(job.attempt)) {
                Move::To(state) => (state, job.attempt, 0, Some(now_ms)),
                Move::Retry { attempt } => {
                    let seed = job.id.0.as_u64_pair().0;
                    (State::Waiting, attempt, now_ms + backoff_ms(attempt, seed), None)
                }
                Move::Return | Move::Ignore => continue,
            };
            if state.is_terminal() {
                ended.push(Ended { job: job.id.to_string(), state });
            } else {
                events.push(JobEvent {
                    job: job.id,
                    at_ms: now_ms,
                    attempt: job.attempt,
                    event: "retry",
                    worker: None,
                    detail: Some(error.to_owned()),
                });
            }
            rows.push(vec![
                job.id.to_string().into(),
                state.as_str().into(),
                (attempt as i32).into(),
                not_before_ms.into(),
                code.into(),
                error.into(),
                ended_ms.into(),
            ]);
        }
        let changed = rows.len() as u64;
        let rest = "UPDATE tide_jobs SET state = v.state, attempt = v.attempt, not_before_ms = v.not_before, error_code = v.code,
                error = v.error, ended_ms = v.ended, published_ms = NULL, lease_until_ms = NULL
            FROM v WHERE tide_jobs.id = v.id AND tide_jobs.state IN ('waiting', 'queued', 'running')";
        sql::with_rows(&tx, &["id", "state", "attempt", "not_before", "code", "error", "ended"], &rows, rest).await?;
        events::insert(&tx, &events).await?;
        finish::finish(&tx, &ended, now_ms).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Requests that are over though nobody noticed.
    async fn complete_forgotten(&self, term: &Term) -> Result<u64, RecordsError> {
        let text = format!(
            "SELECT r.id FROM tide_requests r WHERE r.state = 'open' AND NOT EXISTS (
                SELECT 1 FROM tide_request_jobs x JOIN tide_jobs j ON j.id = x.job_id
                WHERE x.request_id = r.id AND j.state IN ('waiting', 'queued', 'running')) LIMIT {STEP_MAX}"
        );
        let over = sql::texts(self.reader(), &text, vec![]).await?;
        if over.is_empty() {
            return Ok(0);
        }
        let tx = self.fenced(term).await?;
        let completed = finish::complete_requests(&tx, &over, clock_ms()).await?;
        tx.commit().await?;
        Ok(completed)
    }

    /// Lanes with room and somebody whose turn it is.
    async fn promote_overlooked(&self, term: &Term) -> Result<Vec<ToPublish>, RecordsError> {
        let text = format!(
            "SELECT DISTINCT j.lane FROM tide_jobs j JOIN tide_lanes l ON l.name = j.lane
            WHERE l.paused = 0 AND j.not_before_ms <= $1 AND {} AND {}
                AND l.depth > (SELECT COUNT(*) FROM tide_jobs b WHERE b.lane = l.name AND b.state IN ('queued', 'running'))
            LIMIT {STEP_MAX}",
            promote::ELIGIBLE,
            limits::WITHIN
        );
        let names: BTreeSet<String> =
            sql::texts(self.reader(), &text, vec![clock_ms().into()]).await?.into_iter().collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let tx = self.fenced(term).await?;
        let publish = promote_in(&tx, &names).await?;
        tx.commit().await?;
        Ok(publish)
    }
}

pub(crate) async fn promote_in(
    c: &impl ConnectionTrait,
    names: &BTreeSet<String>,
) -> Result<Vec<ToPublish>, RecordsError> {
    let locked = lanes::lock(c, names).await?;
    promote::promote(c, locked, clock_ms()).await
}
