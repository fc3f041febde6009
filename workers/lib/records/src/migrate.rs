//! Bringing a database to this version's shape.

use sea_orm_migration::MigratorTrait;

use crate::db::{Records, RecordsError};

impl Records {
    /// Runs the migrations that have not run yet; safe to call by several processes at once.
    pub async fn migrate(&self) -> Result<(), RecordsError> {
        let mut tries = 0;
        loop {
            match migrations::Migrator::up(self.writer(), None).await {
                Ok(()) => return Ok(()),
                // Two processes that migrate at once collide; the second finds the work done.
                Err(error) if tries < 5 => {
                    tries += 1;
                    tracing::debug!(%error, "migration is tried again");
                    tokio::time::sleep(std::time::Duration::from_millis(300 * tries)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Undoes all migrations: every table and view goes.
    pub async fn migrate_down(&self) -> Result<(), RecordsError> {
        Ok(migrations::Migrator::down(self.writer(), None).await?)
    }

    /// Writes behind this crate's back, so that a test can make what a crash or a clock would have.
    #[doc(hidden)]
    pub async fn force_for_tests(&self, text: &str) -> Result<u64, RecordsError> {
        Ok(crate::sql::exec(self.writer(), text, vec![]).await?)
    }
}
