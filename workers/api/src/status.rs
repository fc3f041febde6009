//! How things stand, in one answer.

use axum::Json;
use axum::extract::State;
use records::{Records, Sheet};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::answer::objects;
use crate::fault::ApiFault;

#[derive(Debug, Serialize)]
pub struct Status {
    version: &'static str,
    database: &'static str,
    /// Of the definitions.
    definitions: u64,
    subscribers: Vec<Value>,
    channels: Vec<Value>,
    /// Jobs by state.
    jobs: Map<String, Value>,
    /// Deliveries by state.
    deliveries: Map<String, Value>,
    dead_letters: Value,
}

pub async fn get(State(records): State<Records>) -> Result<Json<Status>, ApiFault> {
    let jobs = "SELECT state, COUNT(*) AS n FROM jobs GROUP BY state ORDER BY state";
    let deliveries = "SELECT state, COUNT(*) AS n FROM deliveries GROUP BY state ORDER BY state";
    let dead = "SELECT COUNT(*) AS n FROM dead_letters WHERE state = 'kept'";
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        database: if records.is_postgres() { "postgres" } else { "sqlite" },
        definitions: records.fleet_version().await?,
        subscribers: objects(records.sheet(Sheet::Subscribers).await?),
        channels: objects(records.sheet(Sheet::Channels).await?),
        jobs: counts(&records, jobs).await?,
        deliveries: counts(&records, deliveries).await?,
        dead_letters: records.query(dead).await?.rows.pop().and_then(|mut row| row.pop()).unwrap_or(Value::from(0)),
    }))
}

async fn counts(records: &Records, sql: &str) -> Result<Map<String, Value>, ApiFault> {
    let rows = records.query(sql).await?.rows;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let mut values = row.into_iter();
            Some((values.next()?.as_str()?.to_owned(), values.next()?))
        })
        .collect())
}
