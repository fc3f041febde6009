//! The tables and the documented SQL views, as migrations that run up and down on PostgreSQL and on SQLite.
//! Tables begin with `tide_` and are private; the views are the face that people query (docs/results.md).

use sea_orm_migration::prelude::*;

mod m0001_tables;
mod m0002_views;
mod m0010_limits;
mod m0020_retention;
mod m0030_schedules;
mod sql;

pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_tables::Migration),
            Box::new(m0002_views::Migration),
            Box::new(m0010_limits::Migration),
            Box::new(m0020_retention::Migration),
            Box::new(m0030_schedules::Migration),
        ]
    }
}
