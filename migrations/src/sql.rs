//! Runs a script written once for both databases. What they spell differently stands in braces.

use sea_orm::{ConnectionTrait, DatabaseBackend, DatabaseTransaction, DbErr};

use crate::Migration;

/// A migration that is a script each way, the same for both databases.
pub struct Script {
    pub name: &'static str,
    pub up: &'static str,
    pub down: &'static str,
}

#[async_trait::async_trait]
impl Migration for Script {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn up(&self, db: &DatabaseTransaction) -> Result<(), DbErr> {
        run(db, self.up).await
    }

    async fn down(&self, db: &DatabaseTransaction) -> Result<(), DbErr> {
        run(db, self.down).await
    }
}

/// Statements of a script, separated by `;` at a line's end.
pub async fn run(db: &DatabaseTransaction, script: &str) -> Result<(), DbErr> {
    let spelled = spell(script, db.get_database_backend());
    for statement in spelled.split(";\n").map(str::trim).filter(|s| !s.is_empty()) {
        db.execute_unprepared(statement).await?;
    }
    Ok(())
}

/// `{serial}`: a primary key that counts by itself. `{time:x}`: milliseconds since 1970 as the database's own time (text in
/// ISO 8601 on SQLite, `timestamptz` on PostgreSQL). `{now_ms}`: now, in milliseconds since 1970, by the database's clock.
/// `{json:x}`: a column with JSON in it, as `->` and `->>` take it.
fn spell(script: &str, backend: DatabaseBackend) -> String {
    let postgres = backend == DatabaseBackend::Postgres;
    let serial = if postgres { "BIGSERIAL PRIMARY KEY" } else { "INTEGER PRIMARY KEY AUTOINCREMENT" };
    let now_ms = if postgres {
        "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
    } else {
        "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
    };
    let mut out = script.replace("{serial}", serial).replace("{now_ms}", now_ms);
    while let Some(start) = out.find("{json:") {
        let end = start + out[start..].find('}').expect("a closing brace in a migration's {json:…}");
        let column = out[start + 6..end].to_owned();
        out.replace_range(start..=end, &if postgres { format!("CAST({column} AS json)") } else { column });
    }
    while let Some(start) = out.find("{time:") {
        let end = start + out[start..].find('}').expect("a closing brace in a migration's {time:…}");
        let column = out[start + 6..end].to_owned();
        let spelled = if postgres {
            format!("to_timestamp({column} / 1000.0)")
        } else {
            format!("strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000.0, 'unixepoch')")
        };
        out.replace_range(start..=end, &spelled);
    }
    out
}
