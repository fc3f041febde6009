//! The database, brought to this version's shape.

use records::Records;

use super::patience::{Awaited, Failed, Patience};
use crate::roles::config::Config;
use crate::roles::error::RoleError;
use crate::roles::missing_database;

const REMEDY: &str = "start it, or correct the URL (--database, TIDEGATE_DATABASE, or `database` in tidegate.toml)";

pub async fn open(config: &Config, patience: &Patience) -> Result<Records, RoleError> {
    let url = config.database.as_ref().ok_or_else(missing_database)?;
    let awaited = Awaited { service: "the database", address: url.address(), remedy: REMEDY };
    patience
        .until_it_answers(awaited, async || {
            let failed = |error: records::RecordsError| Failed::of(&error, error.is_transient());
            let records = Records::open(url.expose()).await.map_err(failed)?;
            records.migrate().await.map_err(failed)?;
            Ok(records)
        })
        .await
}
