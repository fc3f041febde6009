//! What the jobs in hand need of the store.

use std::collections::BTreeSet;

use schemas::{Digest, StoreId, Task};
use sqlx::Row;

use super::{Journal, JournalError};

impl Journal {
    /// Headers of the revisions that jobs in hand are about, those that wait among them.
    pub async fn headers_in_hand(&self, store: StoreId) -> Result<BTreeSet<Digest>, JournalError> {
        let tasks = self.tasks_in_hand("SELECT task FROM jobs WHERE event IS NULL").await?;
        let header = |task: &Task| match task {
            Task::Send(task) if task.store == store => Some(task.revision.header),
            Task::Extract(task) if task.store == store => Some(task.revision.header),
            _ => None,
        };
        Ok(tasks.iter().filter_map(header).collect())
    }

    /// A download of this distribution was begun and has not ended.
    pub async fn is_downloading(&self, store: StoreId) -> Result<bool, JournalError> {
        let tasks = self.tasks_in_hand("SELECT task FROM jobs WHERE event IS NULL AND tries > 0").await?;
        Ok(tasks.iter().any(|task| matches!(task, Task::Send(task) if task.store == store)))
    }

    async fn tasks_in_hand(&self, text: &'static str) -> Result<Vec<Task>, JournalError> {
        let rows = sqlx::query(text).fetch_all(&mut *self.batches.read().await?).await.map_err(|e| self.failed(e))?;
        rows.iter().map(|row| self.read_json(&row.get::<String, _>(0))).collect()
    }
}
