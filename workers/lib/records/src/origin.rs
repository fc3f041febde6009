//! What must be at the origin. It knows no object but by its digest.

use schemas::{Digest, DistributionName, StoreId};
use sea_orm::FromQueryResult;

use crate::db::{Records, RecordsError};
use crate::sql;

/// A distribution's place at the origin, and the headers of the revisions that are kept there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptStore {
    pub store: StoreId,
    /// As it was called, if it is gone.
    pub distribution: DistributionName,
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
        let text = "SELECT s.store, s.distribution, r.number, r.header
            FROM tide_stores s LEFT JOIN tide_revisions r ON r.store = s.store AND r.retired_ms IS NULL
            ORDER BY s.distribution, s.store, r.number";
        let rows: Vec<KeptRow> = sql::rows(self.reader(), text, vec![]).await?;
        let mut stores: Vec<KeptStore> = Vec::new();
        for row in rows {
            let corrupt = |what: String| RecordsError::Corrupt(format!("store {}: {what}", row.store));
            let store: StoreId = row.store.parse().map_err(|e| corrupt(format!("{e}")))?;
            if stores.last().is_none_or(|last| last.store != store) {
                let distribution = DistributionName::try_from(row.distribution.as_str());
                let distribution = distribution.map_err(|e| corrupt(e.to_string()))?;
                stores.push(KeptStore { store, distribution, headers: Vec::new() });
            }
            if let (Some(number), Some(header), Some(last)) = (row.number, &row.header, stores.last_mut()) {
                let header: Digest = header.parse().map_err(|e| corrupt(format!("{e}")))?;
                last.headers.push((number as u64, header));
            }
        }
        Ok(stores)
    }
}
