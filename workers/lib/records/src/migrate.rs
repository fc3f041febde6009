//! Bringing a database to this version's shape.

use crate::db::{Records, RecordsError};

impl Records {
    /// Runs the migrations that have not run yet; safe to call by several processes at once.
    pub async fn migrate(&self) -> Result<(), RecordsError> {
        Ok(migrations::up(self.writer()).await?)
    }

    /// Undoes all migrations: every table and view goes.
    pub async fn migrate_down(&self) -> Result<(), RecordsError> {
        Ok(migrations::down(self.writer()).await?)
    }

    /// Writes behind this crate's back, so that a test can make what a crash or a clock would have.
    #[doc(hidden)]
    pub async fn force_for_tests(&self, text: &str) -> Result<u64, RecordsError> {
        Ok(crate::sql::exec(self.writer(), text, vec![]).await?)
    }
}
