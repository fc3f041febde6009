//! Where the database is, and which views it offers.

use axum::Json;
use axum::extract::State;
use records::Records;
use serde::Serialize;
use serde_json::Value;

use crate::answer::objects;
use crate::fault::ApiFault;

#[derive(Debug, Serialize)]
pub struct Database {
    kind: &'static str,
    /// Whole, with its password: whoever has the token may read everything anyway.
    url: String,
}

#[derive(Debug, Serialize)]
pub struct Views {
    views: Vec<Value>,
}

const SQLITE: &str = "SELECT view, group_concat(name, ', ') AS columns
    FROM (SELECT m.name AS view, c.name, c.cid FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'view'
        ORDER BY m.name, c.cid)
    GROUP BY view ORDER BY view";

const POSTGRES: &str =
    "SELECT c.table_name::text AS view, string_agg(c.column_name::text, ', ' ORDER BY c.ordinal_position) AS columns
    FROM information_schema.columns c JOIN information_schema.views v
        ON v.table_schema = c.table_schema AND v.table_name = c.table_name
    WHERE c.table_schema = current_schema() GROUP BY c.table_name ORDER BY c.table_name";

pub async fn get(State(records): State<Records>) -> Json<Database> {
    let kind = if records.is_postgres() { "postgres" } else { "sqlite" };
    Json(Database { kind, url: records.url().to_owned() })
}

pub async fn views(State(records): State<Records>) -> Result<Json<Views>, ApiFault> {
    let sql = if records.is_postgres() { POSTGRES } else { SQLITE };
    Ok(Json(Views { views: objects(records.query(sql).await?) }))
}
