//! One SQL text for both databases: numbered placeholders, rows of values, and the few words that differ.

use sea_orm::{ConnectionTrait, DatabaseBackend, DbErr, FromQueryResult, Statement, Value};

/// Bound values that a statement takes at most on either database, with room for a few beside the rows.
const BINDS_MAX: usize = 30_000;
/// To bind a value by its name SQLite goes through the names of those before it: two short statements cost less than a long one.
const SQLITE_BINDS_MAX: usize = 500;

pub(crate) async fn exec(c: &impl ConnectionTrait, text: &str, values: Vec<Value>) -> Result<u64, DbErr> {
    Ok(c.execute_raw(statement(c, text, values)).await?.rows_affected())
}

pub(crate) async fn rows<T: FromQueryResult>(
    c: &impl ConnectionTrait,
    text: &str,
    values: Vec<Value>,
) -> Result<Vec<T>, DbErr> {
    let found = c.query_all_raw(statement(c, text, values)).await?;
    found.iter().map(|row| T::from_query_result(row, "")).collect()
}

pub(crate) async fn row<T: FromQueryResult>(
    c: &impl ConnectionTrait,
    text: &str,
    values: Vec<Value>,
) -> Result<Option<T>, DbErr> {
    match c.query_one_raw(statement(c, text, values)).await? {
        Some(row) => Ok(Some(T::from_query_result(&row, "")?)),
        None => Ok(None),
    }
}

/// One column of text.
pub(crate) async fn texts(c: &impl ConnectionTrait, text: &str, values: Vec<Value>) -> Result<Vec<String>, DbErr> {
    let found = c.query_all_raw(statement(c, text, values)).await?;
    found.iter().map(|row| row.try_get_by_index(0)).collect()
}

pub(crate) async fn number(c: &impl ConnectionTrait, text: &str, values: Vec<Value>) -> Result<Option<i64>, DbErr> {
    match c.query_one_raw(statement(c, text, values)).await? {
        Some(row) => row.try_get_by_index(0),
        None => Ok(None),
    }
}

fn statement(c: &impl ConnectionTrait, text: &str, values: Vec<Value>) -> Statement {
    Statement::from_sql_and_values(c.get_database_backend(), spell(c, text), values)
}

/// Replaces `{now_ms}`, `{for_update}`, `{share_r}`, `{skip_locked}` and `{silent_until:until_ms}`; SQLite has one writer and needs no
/// row locks.
fn spell(c: &impl ConnectionTrait, text: &str) -> String {
    if !text.contains('{') {
        return text.to_owned();
    }
    let postgres = c.get_database_backend() == DatabaseBackend::Postgres;
    let (now, for_update, skip_locked) = if postgres {
        ("CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)", "FOR UPDATE", "FOR UPDATE SKIP LOCKED")
    } else {
        ("CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)", "", "")
    };
    let share = if postgres { "FOR SHARE OF r" } else { "" };
    let silent = if postgres { SILENT_UNTIL } else { "" };
    let text = text.replace("{silent_until:until_ms}", silent);
    let text = text.replace("{now_ms}", now).replace("{for_update}", for_update);
    text.replace("{share_r}", share).replace("{skip_locked}", skip_locked)
}

/// A second column, for what it does: from here on this transaction may be idle until `until_ms` at most.
const SILENT_UNTIL: &str =
    ", set_config('idle_in_transaction_session_timeout', CAST(GREATEST(until_ms - {now_ms}, 1) AS TEXT), true)";

/// `$1, $2, …` for `count` values, beginning with number `first`.
pub(crate) fn list(first: usize, count: usize) -> String {
    let mut out = String::with_capacity(count * 5);
    for i in 0..count {
        if i > 0 {
            out.push(',');
        }
        out.push('$');
        out.push_str(&(first + i).to_string());
    }
    out
}

/// `($1, $2), ($3, $4), …` for `count` rows.
pub(crate) fn tuples(first: usize, count: usize, columns: usize) -> String {
    (0..count).map(|i| format!("({})", list(first + i * columns, columns))).collect::<Vec<_>>().join(",")
}

/// Rows of values that fit one statement.
pub(crate) fn rows_per_statement(columns: usize) -> usize {
    BINDS_MAX / columns
}

fn rows_at_a_time(c: &impl ConnectionTrait, columns: usize) -> usize {
    match c.get_database_backend() {
        DatabaseBackend::Sqlite => (SQLITE_BINDS_MAX / columns).max(1),
        _ => rows_per_statement(columns),
    }
}

/// Runs `head (rows…) tail` in as few statements as is good.
pub(crate) async fn insert_rows(
    c: &impl ConnectionTrait,
    head: &str,
    rows: &[Vec<Value>],
    tail: &str,
) -> Result<u64, DbErr> {
    let mut affected = 0;
    let Some(columns) = rows.first().map(Vec::len) else { return Ok(0) };
    for part in rows.chunks(rows_at_a_time(c, columns)) {
        let text = format!("{head} VALUES {} {tail}", tuples(1, part.len(), columns));
        affected += exec(c, &text, part.concat()).await?;
    }
    Ok(affected)
}

/// Runs `WITH v(columns) AS (VALUES …) rest`: an update of many rows at once, by values that differ.
pub(crate) async fn with_rows(
    c: &impl ConnectionTrait,
    columns: &[&str],
    rows: &[Vec<Value>],
    rest: &str,
) -> Result<u64, DbErr> {
    let mut affected = 0;
    for part in rows.chunks(rows_at_a_time(c, columns.len())) {
        let values = tuples(1, part.len(), columns.len());
        let text = format!("WITH v({}) AS (VALUES {values}) {rest}", columns.join(","));
        affected += exec(c, &text, part.concat()).await?;
    }
    Ok(affected)
}

pub(crate) fn values<T: Into<Value> + Clone>(items: &[T]) -> Vec<Value> {
    items.iter().cloned().map(Into::into).collect()
}
