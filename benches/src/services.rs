//! What Tidegate stands on: nothing but a data directory, or the services that the environment names (`. .services/env`).

use std::process::Command;

use anyhow::Context;
use uuid::Uuid;

use crate::postgres::Postgres;

const EMBEDDED_WITHOUT: [&str; 4] =
    ["TIDEGATE_DATABASE", "TIDEGATE_BROKER", "TIDEGATE_STORAGE", "TIDEGATE_S3_ENDPOINT"];

/// `None`: embedded. Else a database of its own, and a place of its own in the storage.
pub struct Ground(Option<Services>);

struct Services {
    database: String,
    storage: String,
}

impl Ground {
    pub fn embedded() -> Ground {
        Ground(None)
    }

    /// Empty, whatever ran before.
    pub fn fresh() -> anyhow::Result<Ground> {
        let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set: . .services/env"));
        let (database, storage) = (variable("TIDEGATE_DATABASE")?, variable("TIDEGATE_STORAGE")?);
        let name = format!("bench_{}", Uuid::now_v7().simple());
        let (server, _) = database.rsplit_once('/').context("TIDEGATE_DATABASE names no database")?;
        let runtime = tokio::runtime::Runtime::new()?;
        runtime
            .block_on(async { Postgres::connect(&database).await?.execute(format!("CREATE DATABASE {name}")).await })?;
        Ok(Ground(Some(Services { database: format!("{server}/{name}"), storage: format!("{storage}/{name}") })))
    }

    pub fn is_embedded(&self) -> bool {
        self.0.is_none()
    }

    pub fn database(&self) -> anyhow::Result<&str> {
        self.0.as_ref().map(|services| services.database.as_str()).context("embedded: it has a file, and no server")
    }

    pub fn put_under<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        match &self.0 {
            None => EMBEDDED_WITHOUT.iter().fold(command, |command, name| command.env_remove(name)),
            Some(on) => command.env("TIDEGATE_DATABASE", &on.database).env("TIDEGATE_STORAGE", &on.storage),
        }
    }
}
