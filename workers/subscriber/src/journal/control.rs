//! What control messages leave behind: cancels, pauses, settings, children's keys.

use std::collections::BTreeSet;

use schemas::{ChildKey, JobId, Lane, Settings};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::{CANCELS_KEPT_MAX, Journal, JournalError, signed};

const SETTINGS: &str = "settings";
const CHILDREN: &str = "children";

/// All who may fetch from this site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Children {
    pub version: u64,
    pub children: Vec<ChildKey>,
}

impl Journal {
    /// Remembers a cancel; it counts for a job in hand and for one that comes later.
    pub async fn cancel(&self, job: JobId) -> Result<(), JournalError> {
        let mut tx = self.batches.write().await?;
        sqlx::query("INSERT OR IGNORE INTO cancelled (job) VALUES (?)")
            .bind(job.to_string())
            .execute(&mut *tx)
            .await
            .map_err(|e| self.failed(e))?;
        sqlx::query("DELETE FROM cancelled WHERE place <= (SELECT MAX(place) FROM cancelled) - ?")
            .bind(CANCELS_KEPT_MAX)
            .execute(&mut *tx)
            .await
            .map_err(|e| self.failed(e))?;
        tx.done(()).durable().await
    }

    /// Somebody cancelled this job, now or before it came.
    pub async fn cancelled(&self, job: JobId) -> Result<bool, JournalError> {
        let mut connection = self.batches.read().await?;
        self.is_cancelled(&mut connection, job).await
    }

    pub(super) async fn is_cancelled(&self, tx: &mut SqliteConnection, job: JobId) -> Result<bool, JournalError> {
        let row = sqlx::query("SELECT EXISTS (SELECT 1 FROM cancelled WHERE job = ?)")
            .bind(job.to_string())
            .fetch_one(&mut *tx)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(row.get(0))
    }

    pub async fn set_paused(&self, lane: &Lane, paused: bool) -> Result<(), JournalError> {
        let mut tx = self.batches.write().await?;
        sqlx::query(
            "INSERT INTO lanes (lane, paused) VALUES (?, ?) ON CONFLICT (lane) DO UPDATE SET paused = excluded.paused",
        )
        .bind(lane.to_string())
        .bind(paused)
        .execute(&mut *tx)
        .await
        .map_err(|e| self.failed(e))?;
        tx.done(()).durable().await
    }

    pub async fn paused(&self) -> Result<BTreeSet<Lane>, JournalError> {
        let rows = sqlx::query("SELECT lane FROM lanes WHERE paused = 1")
            .fetch_all(&mut *self.batches.read().await?)
            .await
            .map_err(|e| self.failed(e))?;
        rows.iter().map(|r| r.get::<String, _>(0).parse().map_err(|e| self.unreadable(e))).collect()
    }

    /// True if they were newer than what was known, and are in force now.
    pub async fn put_settings(&self, settings: &Settings) -> Result<bool, JournalError> {
        let body = self.write_json(settings)?;
        self.put_paper(SETTINGS, settings.version, body).await
    }

    pub async fn settings(&self) -> Result<Option<Settings>, JournalError> {
        self.paper(SETTINGS).await
    }

    /// True if they were newer than what was known.
    pub async fn put_children(&self, children: &Children) -> Result<bool, JournalError> {
        let body = self.write_json(children)?;
        self.put_paper(CHILDREN, children.version, body).await
    }

    pub async fn children(&self) -> Result<Option<Children>, JournalError> {
        self.paper(CHILDREN).await
    }

    async fn put_paper(&self, name: &str, version: u64, body: String) -> Result<bool, JournalError> {
        let mut tx = self.batches.write().await?;
        let put = sqlx::query(
            "INSERT INTO papers (name, version, body) VALUES (?, ?, ?)
             ON CONFLICT (name) DO UPDATE SET version = excluded.version, body = excluded.body
             WHERE excluded.version > papers.version",
        )
        .bind(name)
        .bind(signed(version))
        .bind(body)
        .execute(&mut *tx)
        .await
        .map_err(|e| self.failed(e))?;
        tx.done(put.rows_affected() == 1).durable().await
    }

    async fn paper<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, JournalError> {
        let row = sqlx::query("SELECT body FROM papers WHERE name = ?")
            .bind(name)
            .fetch_optional(&mut *self.batches.read().await?)
            .await
            .map_err(|e| self.failed(e))?;
        row.map(|r| self.read_json(&r.get::<String, _>(0))).transpose()
    }
}
