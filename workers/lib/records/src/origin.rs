//! What must be at the origin. It knows no object but by its digest.

use schemas::{Digest, StoreId};
use sea_orm::FromQueryResult;

use crate::db::{Records, RecordsError};
use crate::sql;

/// A distribution's place at the origin, and the headers of the revisions that are kept there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptStore {
    pub store: StoreId,
    /// As it is called, or was.
    pub distribution: String,
    /// By number, ascending.
    pub headers: Vec<(u64, Digest)>,
}

#[derive(FromQueryResult)]
struct KeptRow {
    store: String,
    distribution: String,
    number: Option<i64>,
    header: Option<String>,
}

impl Records {
    /// Of all distributions, those that are gone and not yet emptied among them; sorted by name.
    pub async fn kept_stores(&self) -> Result<Vec<KeptStore>, RecordsError> {
        let text = "SELECT store, distribution, number, header FROM tide_revisions
                WHERE retired_ms IS NULL AND store IS NOT NULL
            UNION ALL SELECT s.store, s.distribution, NULL, NULL FROM tide_stores s
                WHERE NOT EXISTS (SELECT 1 FROM tide_revisions r WHERE r.store = s.store AND r.retired_ms IS NULL)
            ORDER BY 2, 1, 3";
        let rows: Vec<KeptRow> = sql::rows(self.reader(), text, vec![]).await?;
        let mut stores: Vec<KeptStore> = Vec::new();
        for row in rows {
            let corrupt = |what: String| RecordsError::Corrupt(format!("store {}: {what}", row.store));
            let store: StoreId = row.store.parse().map_err(|e| corrupt(format!("{e}")))?;
            if stores.last().is_none_or(|last| last.store != store) {
                stores.push(KeptStore { store, distribution: row.distribution.clone(), headers: Vec::new() });
            }
            if let (Some(number), Some(header), Some(last)) = (row.number, &row.header, stores.last_mut()) {
                let header: Digest = header.parse().map_err(|e| corrupt(format!("{e}")))?;
                last.headers.push((number as u64, header));
            }
        }
        Ok(stores)
    }
}
