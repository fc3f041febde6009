//! A person's own question in SQL.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use records::{Records, RecordsError, Rows};
use serde::Deserialize;

use crate::answer;
use crate::fault::ApiFault;
use crate::limits::SQL_BYTES_MAX;
use crate::statement;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    sql: String,
}

pub async fn post(State(records): State<Records>, body: Bytes) -> Result<Json<Rows>, ApiFault> {
    let query: Query = answer::read(&body)?;
    if query.sql.len() > SQL_BYTES_MAX {
        let message = format!("a statement of {} bytes; at most {SQL_BYTES_MAX} are read", query.sql.len());
        return Err(ApiFault::new(StatusCode::PAYLOAD_TOO_LARGE, "statement-too-large", message));
    }
    let question = statement::question(&query.sql)?;
    records.query(question).await.map(Json).map_err(|error| match error {
        // The fault is the asker's, not the service's.
        RecordsError::Statement(_) => ApiFault::bad(error.code(), error.to_string()),
        error => error.into(),
    })
}
