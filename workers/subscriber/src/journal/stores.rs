//! What a site knows of a distribution between its jobs: where content comes from, and where it was extracted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemas::{ContentSource, Keep, StoreId};
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Journal, JournalError};

impl Journal {
    pub async fn note_sources(&self, store: StoreId, sources: &[ContentSource]) -> Result<(), JournalError> {
        const PUT: &str = "INSERT INTO stores (store, sources) VALUES (?, ?)
                           ON CONFLICT (store) DO UPDATE SET sources = excluded.sources WHERE NOT gone";
        self.put_store(PUT, store, self.write_json(&sources)?).await
    }

    pub async fn note_target(&self, store: StoreId, target: &Path) -> Result<(), JournalError> {
        const PUT: &str = "INSERT INTO stores (store, target) VALUES (?, ?)
                           ON CONFLICT (store) DO UPDATE SET target = excluded.target WHERE NOT gone";
        self.put_store(PUT, store, target.to_string_lossy().into_owned()).await
    }

    pub async fn note_keep(&self, store: StoreId, keep: Keep) -> Result<(), JournalError> {
        const PUT: &str = "INSERT INTO stores (store, keep) VALUES (?, ?)
                           ON CONFLICT (store) DO UPDATE SET keep = excluded.keep WHERE NOT gone";
        self.put_store(PUT, store, self.write_json(&keep)?).await
    }

    /// What is kept of every distribution whose newest job said so.
    pub async fn keeps(&self) -> Result<Vec<(StoreId, Keep)>, JournalError> {
        self.all_stores("SELECT store, keep FROM stores WHERE keep IS NOT NULL ORDER BY store").await
    }

    /// These were deleted: what a late job says of them is not noted any more.
    pub async fn note_gone(&self, stores: &[StoreId]) -> Result<(), JournalError> {
        const PUT: &str = "INSERT INTO stores (store, gone) VALUES (?, 1)
                           ON CONFLICT (store) DO UPDATE SET gone = 1, sources = NULL, target = NULL, keep = NULL";
        let mut tx = self.batches.write().await?;
        for store in stores {
            let put = sqlx::query(PUT).bind(store.to_string()).execute(&mut *tx);
            put.await.map_err(|e| self.failed(e))?;
        }
        tx.done(()).durable().await
    }

    /// Distributions that jobs were about, and whether they are gone.
    pub async fn stores(&self) -> Result<BTreeMap<StoreId, bool>, JournalError> {
        let rows = sqlx::query("SELECT store, gone FROM stores")
            .fetch_all(&mut *self.batches.read().await?)
            .await
            .map_err(|e| self.failed(e))?;
        let read = |row: &SqliteRow| {
            Ok((row.get::<String, _>(0).parse().map_err(|e| self.unreadable(e))?, row.get::<bool, _>(1)))
        };
        rows.iter().map(read).collect()
    }

    async fn put_store(&self, put: &'static str, store: StoreId, value: String) -> Result<(), JournalError> {
        let mut tx = self.batches.write().await?;
        let put = sqlx::query(put).bind(store.to_string()).bind(value).execute(&mut *tx);
        put.await.map_err(|e| self.failed(e))?;
        tx.done(()).in_time();
        Ok(())
    }

    /// Sources of all distributions that were ever sent here.
    pub async fn sources(&self) -> Result<Vec<(StoreId, Vec<ContentSource>)>, JournalError> {
        self.all_stores("SELECT store, sources FROM stores WHERE sources IS NOT NULL ORDER BY store").await
    }

    async fn all_stores<T: DeserializeOwned>(&self, text: &'static str) -> Result<Vec<(StoreId, T)>, JournalError> {
        let rows = sqlx::query(text).fetch_all(&mut *self.batches.read().await?).await.map_err(|e| self.failed(e))?;
        let read = |row: &SqliteRow| {
            let store = row.get::<String, _>(0).parse().map_err(|e| self.unreadable(e))?;
            Ok((store, self.read_json(&row.get::<String, _>(1))?))
        };
        rows.iter().map(read).collect()
    }

    pub async fn sources_of(&self, store: StoreId) -> Result<Vec<ContentSource>, JournalError> {
        let row = sqlx::query("SELECT sources FROM stores WHERE store = ? AND sources IS NOT NULL")
            .bind(store.to_string())
            .fetch_optional(&mut *self.batches.read().await?)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(row.map(|r| self.read_json(&r.get::<String, _>(0))).transpose()?.unwrap_or_default())
    }

    pub async fn target_of(&self, store: StoreId) -> Result<Option<PathBuf>, JournalError> {
        let row = sqlx::query("SELECT target FROM stores WHERE store = ?")
            .bind(store.to_string())
            .fetch_optional(&mut *self.batches.read().await?)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(row.and_then(|r| r.get::<Option<String>, _>(0)).map(PathBuf::from))
    }
}
