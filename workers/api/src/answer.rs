//! Rows as lists of named values, and bodies as typed ones: the edges of every route.

use axum::body::Bytes;
use records::Rows;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::fault::ApiFault;

/// One object for each row, its columns in their order.
pub fn objects(rows: Rows) -> Vec<Value> {
    let columns = rows.columns;
    rows.rows
        .into_iter()
        .map(|row| Value::Object(columns.iter().cloned().zip(row).collect::<Map<String, Value>>()))
        .collect()
}

pub fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiFault> {
    serde_json::from_slice(body).map_err(|error| ApiFault::bad("body-malformed", format!("the body: {error}")))
}

/// Text as a literal of both databases.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "''"))
}
