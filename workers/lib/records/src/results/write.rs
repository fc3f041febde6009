//! A batch's changes, once they are decided, as rows. It decides nothing but which of two jobs that start in one lane is on record.

use std::collections::{BTreeMap, BTreeSet};

use domain::state::State;
use sea_orm::{ConnectionTrait, Value};

use super::Batch;
use crate::db::RecordsError;
use crate::{condemned, events, promote, requests, schedules, sql};

impl Batch {
    pub(super) async fn write(&self, c: &impl ConnectionTrait) -> Result<(), RecordsError> {
        self.write_jobs(c).await?;
        schedules::note_stops(c, &self.stops).await?;
        events::insert(c, &self.events).await?;
        self.write_revisions(c).await?;
        self.write_holdings(c).await?;
        self.write_held(c).await?;
        self.raise_stored(c).await?;
        for one in &self.collected {
            let of = (one.store, one.distribution.as_str());
            condemned::record(c, one.job, of, &one.result, one.times, self.now_ms).await?;
        }
        for (job, channel) in &self.sends {
            requests::send_of_new_revision(c, *job, channel, self.now_ms).await?;
        }
        for (job, distribution) in &self.built {
            requests::syncs_of_new_revision(c, *job, distribution, self.now_ms).await?;
        }
        self.hand_over(c).await
    }

    async fn write_jobs(&self, c: &impl ConnectionTrait) -> Result<(), RecordsError> {
        // A lane may already have its running job on record when the next one's start comes in first: the index allows one.
        let running: Vec<&String> =
            self.changes.iter().filter(|(_, ch)| ch.state == Some(State::Running)).map(|(id, _)| id).collect();
        let held_back = self.lanes_with_another_running(c, &running).await?;
        let rows: Vec<Vec<Value>> = self
            .changes
            .iter()
            .map(|(id, change)| {
                let state = change.state.filter(|s| *s != State::Running || !held_back.contains(id));
                vec![
                    id.clone().into(),
                    state.map(|s| s.as_str().to_owned()).into(),
                    change.attempt.into(),
                    change.not_before_ms.into(),
                    change.worker.clone().into(),
                    change.error_code.clone().into(),
                    change.error.clone().into(),
                    change.result.clone().into(),
                    change.revision.into(),
                    change.content.into(),
                    change.needed.into(),
                    change.moved.into(),
                    change.files.into(),
                    change.took_ms.into(),
                    change.started_ms.into(),
                    change.ended_ms.into(),
                    i32::from(change.unpublish).into(),
                ]
            })
            .collect();
        let columns = [
            "id",
            "state",
            "attempt",
            "not_before",
            "worker",
            "code",
            "error",
            "result",
            "revision",
            "content",
            "needed",
            "moved",
            "files",
            "took",
            "started",
            "ended",
            "unpublish",
        ];
        // First what frees a lane, then what takes it.
        let (taking, freeing): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row[1] == Value::from("running"));
        for rows in [freeing, taking] {
            sql::with_rows(c, &columns, &rows, UPDATE_JOBS).await?;
        }
        Ok(())
    }

    async fn lanes_with_another_running(
        &self,
        c: &impl ConnectionTrait,
        starting: &[&String],
    ) -> Result<BTreeSet<String>, RecordsError> {
        if starting.is_empty() {
            return Ok(BTreeSet::new());
        }
        let lanes: BTreeSet<&str> = starting.iter().map(|id| self.rows[*id].raw.lane.as_str()).collect();
        let names: Vec<String> = lanes.iter().map(|&l| l.to_owned()).collect();
        let text =
            format!("SELECT id FROM tide_jobs WHERE state = 'running' AND lane IN ({})", sql::list(1, names.len()));
        let running = sql::texts(c, &text, sql::values(&names)).await?;
        let still: BTreeSet<String> = running
            .into_iter()
            .filter(|id| self.changes.get(id).and_then(|ch| ch.state).is_none_or(|s| s == State::Running))
            .collect();
        let others = promote::load(c, still.into_iter().collect()).await?;
        let mut taken: BTreeSet<String> = others.values().map(|job| job.raw.lane.clone()).collect();
        let mut held = BTreeSet::new();
        for id in starting {
            // Of two that start in one batch the first in order takes the lane.
            if !taken.insert(self.rows[*id].raw.lane.clone()) {
                held.insert((*id).clone());
            }
        }
        Ok(held)
    }

    async fn write_revisions(&self, c: &impl ConnectionTrait) -> Result<(), RecordsError> {
        let head = "INSERT INTO tide_revisions (distribution, number, header, header_bytes, index_digest, index_bytes, files, \
            directories, links, bytes, stored_bytes, new_bytes, job_id, created_ms, store)";
        sql::insert_rows(c, head, &self.revisions, "ON CONFLICT (distribution, number) DO NOTHING").await?;
        let head = "INSERT INTO tide_packs (distribution, number, digest, bytes)";
        sql::insert_rows(c, head, &self.packs, "ON CONFLICT (distribution, number, digest) DO NOTHING").await?;
        for (store, objects) in &self.rescued {
            condemned::rescue(c, *store, objects).await?;
        }
        Ok(())
    }

    /// Of two reports the one that looked later counts, whichever comes first.
    async fn write_held(&self, c: &impl ConnectionTrait) -> Result<(), RecordsError> {
        let mut seen: BTreeMap<(&str, &str, u64), i64> = BTreeMap::new();
        let mut looked: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for held in &self.held {
            let (subscriber, distribution) = (held.subscriber.as_str(), held.distribution.as_str());
            for number in &held.revisions {
                let at = seen.entry((subscriber, distribution, *number)).or_default();
                *at = held.as_of_ms.max(*at);
            }
            if held.is_all {
                let at = looked.entry((subscriber, distribution)).or_default();
                *at = held.as_of_ms.max(*at);
            }
        }
        let row = |(&(subscriber, distribution, number), at): (&(&str, &str, u64), &i64)| -> Vec<Value> {
            vec![subscriber.into(), distribution.into(), (number as i64).into(), (*at).into()]
        };
        let head = "INSERT INTO tide_kept (subscriber, distribution, revision, as_of_ms)";
        let tail = "ON CONFLICT (subscriber, distribution, revision) DO UPDATE SET as_of_ms = excluded.as_of_ms
            WHERE excluded.as_of_ms > tide_kept.as_of_ms";
        sql::insert_rows(c, head, &seen.iter().map(row).collect::<Vec<_>>(), tail).await?;
        let row = |(&(subscriber, distribution), at): (&(&str, &str), &i64)| -> Vec<Value> {
            vec![subscriber.into(), distribution.into(), (*at).into()]
        };
        let rest = "DELETE FROM tide_kept WHERE (subscriber, distribution, revision) IN
            (SELECT k.subscriber, k.distribution, k.revision FROM v JOIN tide_kept k
                ON k.subscriber = v.subscriber AND k.distribution = v.distribution WHERE k.as_of_ms < v.as_of)";
        let looked: Vec<Vec<Value>> = looked.iter().map(row).collect();
        sql::with_rows(c, &["subscriber", "distribution", "as_of"], &looked, rest).await?;
        Ok(())
    }

    /// What a site has stored is the newest that it holds, whatever it was sent last: a rollback takes nothing newer away.
    async fn raise_stored(&self, c: &impl ConnectionTrait) -> Result<(), RecordsError> {
        let told: BTreeSet<(&str, &str)> =
            self.held.iter().map(|held| (held.subscriber.as_str(), held.distribution.as_str())).collect();
        let rows: Vec<Vec<Value>> = told.into_iter().map(|(site, of)| vec![site.into(), of.into()]).collect();
        let rest = "UPDATE tide_holdings SET stored_revision = (SELECT MAX(k.revision) FROM tide_kept k
                WHERE k.subscriber = tide_holdings.subscriber AND k.distribution = tide_holdings.distribution)
            FROM v WHERE tide_holdings.subscriber = v.subscriber AND tide_holdings.distribution = v.distribution
                AND EXISTS (SELECT 1 FROM tide_kept k
                    WHERE k.subscriber = tide_holdings.subscriber AND k.distribution = tide_holdings.distribution)";
        sql::with_rows(c, &["subscriber", "distribution"], &rows, rest).await?;
        Ok(())
    }

    async fn write_holdings(&self, c: &impl ConnectionTrait) -> Result<(), RecordsError> {
        let rows: Vec<Vec<Value>> = self
            .holdings
            .iter()
            .map(|((subscriber, distribution), change)| {
                vec![
                    subscriber.clone().into(),
                    distribution.clone().into(),
                    change.stored.into(),
                    change.stored.map(|_| self.now_ms).into(),
                    change.extracted.into(),
                    change.extracted.map(|_| self.now_ms).into(),
                    change.target.clone().into(),
                    i32::from(change.pinned).into(),
                ]
            })
            .collect();
        let head = "INSERT INTO tide_holdings (subscriber, distribution, stored_revision, stored_ms, extracted_revision, \
            extracted_ms, target, pinned)";
        let tail = "ON CONFLICT (subscriber, distribution) DO UPDATE SET
            stored_revision = COALESCE(excluded.stored_revision, tide_holdings.stored_revision),
            stored_ms = COALESCE(excluded.stored_ms, tide_holdings.stored_ms),
            extracted_revision = COALESCE(excluded.extracted_revision, tide_holdings.extracted_revision),
            extracted_ms = COALESCE(excluded.extracted_ms, tide_holdings.extracted_ms),
            target = COALESCE(excluded.target, tide_holdings.target),
            pinned = CASE WHEN excluded.extracted_revision IS NULL THEN tide_holdings.pinned ELSE excluded.pinned END";
        sql::insert_rows(c, head, &rows, tail).await?;
        Ok(())
    }

    /// An extract that travelled with a send which succeeded is at the site now: it has its place in the lane. One whose
    /// send goes back is set free when that send is published again.
    async fn hand_over(&self, c: &impl ConnectionTrait) -> Result<(), RecordsError> {
        let sent: Vec<String> = self
            .ended
            .iter()
            .filter(|e| e.state == State::Succeeded && self.rows[&e.job].raw.kind == "send")
            .map(|e| e.job.clone())
            .collect();
        if sent.is_empty() {
            return Ok(());
        }
        let text = format!(
            "UPDATE tide_jobs SET state = 'queued', queued_ms = $1, published_ms = $1 WHERE state = 'waiting'
                AND carried_by IN ({})",
            sql::list(2, sent.len())
        );
        let mut values: Vec<Value> = vec![self.now_ms.into()];
        values.extend(sql::values(&sent));
        sql::exec(c, &text, values).await?;
        Ok(())
    }
}

const UPDATE_JOBS: &str = "UPDATE tide_jobs SET
        state = COALESCE(v.state, tide_jobs.state), attempt = v.attempt,
        not_before_ms = v.not_before, worker = COALESCE(v.worker, tide_jobs.worker),
        error_code = CASE WHEN v.state = 'succeeded' THEN NULL ELSE COALESCE(v.code, tide_jobs.error_code) END,
        error = CASE WHEN v.state = 'succeeded' THEN NULL ELSE COALESCE(v.error, tide_jobs.error) END,
        result = COALESCE(v.result, tide_jobs.result), revision = COALESCE(v.revision, tide_jobs.revision),
        bytes_content = COALESCE(v.content, tide_jobs.bytes_content), bytes_needed = COALESCE(v.needed, tide_jobs.bytes_needed),
        bytes_moved = COALESCE(v.moved, tide_jobs.bytes_moved), files_changed = COALESCE(v.files, tide_jobs.files_changed),
        took_ms = COALESCE(v.took, tide_jobs.took_ms), started_ms = COALESCE(tide_jobs.started_ms, v.started),
        ended_ms = v.ended,
        published_ms = CASE WHEN v.unpublish = 1 THEN NULL ELSE tide_jobs.published_ms END,
        carried_by = CASE WHEN v.unpublish = 1 THEN NULL ELSE tide_jobs.carried_by END,
        lease_until_ms = CASE WHEN v.state = 'running' AND tide_jobs.kind IN ('build', 'collect') THEN {now_ms} + 30000 ELSE NULL END
    FROM v WHERE tide_jobs.id = v.id AND tide_jobs.state IN ('waiting', 'queued', 'running')";
