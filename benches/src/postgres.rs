//! Questions to PostgreSQL over one connection that stays, so that asking costs next to nothing beside what is measured.

use anyhow::Context;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};

pub struct Postgres(PgConnection);

impl Postgres {
    pub async fn connect(url: &str) -> anyhow::Result<Postgres> {
        Ok(Postgres(PgConnection::connect(url).await.with_context(|| format!("PostgreSQL at {url}"))?))
    }

    pub async fn execute(&mut self, sql: String) -> anyhow::Result<()> {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut self.0).await?;
        Ok(())
    }

    /// The one whole number that a query gives.
    pub async fn number(&mut self, sql: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query(sql).fetch_one(&mut self.0).await?.try_get(0)?)
    }

    /// The rows of a query that gives two whole numbers.
    pub async fn pairs(&mut self, sql: String) -> anyhow::Result<Vec<(i64, i64)>> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut self.0).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// When a request ended, in milliseconds since 1970.
    pub async fn ended_ms(&mut self, request: &str) -> anyhow::Result<Option<i64>> {
        let sql = "SELECT ended_ms FROM tide_requests WHERE id = $1 AND state NOT IN ('accepted', 'open')";
        let row = sqlx::query(sql).bind(request).fetch_optional(&mut self.0).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.flatten())
    }
}
