//! Work that stops when its window ends and goes on in the next one (SPEC S3): whose request says so, and until when a job may run.

use sea_orm::{DatabaseTransaction, DbErr};

use crate::Migration;
use crate::sql::run;

pub struct Stops;

#[async_trait::async_trait]
impl Migration for Stops {
    fn name(&self) -> &'static str {
        "m0041_stops"
    }

    async fn up(&self, db: &DatabaseTransaction) -> Result<(), DbErr> {
        run(db, UP).await
    }

    async fn down(&self, db: &DatabaseTransaction) -> Result<(), DbErr> {
        run(db, DOWN).await
    }
}

const UP: &str = "
ALTER TABLE tide_requests ADD COLUMN window_stops INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tide_jobs ADD COLUMN stop_at_ms BIGINT;
";

const DOWN: &str = "
ALTER TABLE tide_jobs DROP COLUMN stop_at_ms;
ALTER TABLE tide_requests DROP COLUMN window_stops;
";
