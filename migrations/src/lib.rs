//! The tables and the documented SQL views, as migrations that run up and down on PostgreSQL and on SQLite.
//! Tables begin with `tide_` and are private; the views are the face that people query (docs/results.md).

mod m0001_tables;
mod m0002_views;
mod m0010_limits;
mod m0020_retention;
mod m0030_schedules;
mod m0040_events;
mod m0041_stops;
mod m0050_consoles;
mod m0051_sync_views;
mod m0052_sync_targets;
mod m0053_refreshed_version;
mod m0054_forgets;
mod migrator;
mod sql;

pub use migrator::{down, up};

/// One step from a version of the database to the next, and back.
#[async_trait::async_trait]
trait Migration: Send + Sync {
    /// By which a database knows that it has run; it never changes.
    fn name(&self) -> &'static str;
    async fn up(&self, db: &sea_orm::DatabaseTransaction) -> Result<(), sea_orm::DbErr>;
    async fn down(&self, db: &sea_orm::DatabaseTransaction) -> Result<(), sea_orm::DbErr>;
}

/// In the order in which they run; a new one comes last.
const ALL: [&dyn Migration; 12] = [
    &m0001_tables::Tables,
    &m0002_views::Views,
    &m0010_limits::SCRIPT,
    &m0020_retention::Retention,
    &m0030_schedules::SCRIPT,
    &m0040_events::SCRIPT,
    &m0041_stops::SCRIPT,
    &m0050_consoles::Consoles,
    &m0051_sync_views::SCRIPT,
    &m0052_sync_targets::SCRIPT,
    &m0053_refreshed_version::SCRIPT,
    &m0054_forgets::SCRIPT,
];
