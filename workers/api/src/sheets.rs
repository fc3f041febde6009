//! The ready-made tables, narrowed on request.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use records::{Records, Rows, Sheet};

use crate::answer::literal;
use crate::fault::ApiFault;
use crate::limits::SHEET_ROWS_MAX;

/// Longest value that a sheet is narrowed by, in characters.
const VALUE_CHARS_MAX: usize = 200;

pub async fn one(
    State(records): State<Records>,
    Path(name): Path<String>,
    Query(mut narrow): Query<BTreeMap<String, String>>,
) -> Result<Json<Rows>, ApiFault> {
    let sheet =
        Sheet::parse(&name).ok_or_else(|| ApiFault::absent("sheet-unknown", "there is no sheet of this name"))?;
    let limit = limit(narrow.remove("limit"))?;
    let sql = narrowed(sheet, &narrow, limit)?;
    Ok(Json(records.query(&sql).await?))
}

fn limit(text: Option<String>) -> Result<Option<usize>, ApiFault> {
    let Some(text) = text else { return Ok(None) };
    match text.parse() {
        Ok(n) if (1..=SHEET_ROWS_MAX).contains(&n) => Ok(Some(n)),
        _ => Err(ApiFault::bad("limit-invalid", format!("limit: a number from 1 to {SHEET_ROWS_MAX}"))),
    }
}

/// The columns that a sheet can be narrowed by.
fn columns(sheet: Sheet) -> &'static [&'static str] {
    match sheet {
        Sheet::Jobs => &["kind", "state", "lane", "distribution", "subscriber", "error_code"],
        Sheet::Deliveries => &["channel", "distribution", "subscriber", "state", "error_code"],
        Sheet::Lanes => &["lane", "state", "kind", "distribution"],
        Sheet::Schedules => &["schedule"],
        Sheet::Subscribers => &["subscriber", "state"],
        Sheet::Channels => &["channel"],
        Sheet::Revisions => &["distribution"],
        Sheet::Failures => &["kind", "subscriber", "distribution", "error_code"],
        Sheet::Requests => &["kind", "state", "origin"],
        Sheet::DeadLetters => &["queue", "code", "state"],
    }
}

/// The sheet's statement, wrapped: conditions and a limit of one's own go between its columns and its order.
fn narrowed(sheet: Sheet, narrow: &BTreeMap<String, String>, limit: Option<usize>) -> Result<String, ApiFault> {
    let sql = sheet.sql();
    if narrow.is_empty() && limit.is_none() {
        return Ok(sql.to_owned());
    }
    let mut conditions = Vec::with_capacity(narrow.len());
    for (column, value) in narrow {
        let Some(column) = columns(sheet).iter().find(|known| *known == column) else {
            let message = format!("this sheet is narrowed by {}", columns(sheet).join(", "));
            return Err(ApiFault::bad("filter-unknown", message));
        };
        if value.chars().count() > VALUE_CHARS_MAX || value.chars().any(char::is_control) {
            return Err(ApiFault::bad(
                "filter-invalid",
                format!("{column}: at most {VALUE_CHARS_MAX} printable characters"),
            ));
        }
        conditions.push(format!("{column} = {}", literal(value)));
    }
    let (inner, order) = sql.rsplit_once(" ORDER BY ").unwrap_or((sql, "1"));
    let order = match limit {
        Some(limit) => format!("{} LIMIT {limit}", order.split(" LIMIT ").next().unwrap_or(order)),
        None => order.to_owned(),
    };
    let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    Ok(format!("SELECT * FROM ({inner}) AS sheet{filter} ORDER BY {order}"))
}
