//! A PostgreSQL database of one test's own on the shared server.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::TableLock;
use crate::services;

/// Gone when dropped, whoever is still connected.
pub struct Database {
    server_url: String,
    name: String,
    pub url: String,
}

impl Database {
    /// Empty. `None` only if services are switched off. Panics if there is no server.
    pub fn fresh() -> Option<Database> {
        Some(Database::fresh_on(&services::database_url()?))
    }

    /// The same on a server of the test's own.
    pub fn fresh_on(server_url: &str) -> Database {
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        psql(server_url, &format!("CREATE DATABASE {name} TEMPLATE template0"))
            .unwrap_or_else(|error| panic!("no database can be made: {error:#}"));
        let server = server_url.rsplit_once('/').map_or(server_url, |(server, _)| server);
        Database { url: format!("{server}/{name}"), server_url: server_url.to_owned(), name }
    }

    /// Runs SQL in it by psql; the rows as text, columns parted by `|`.
    pub fn psql(&self, sql: &str) -> Result<String> {
        psql(&self.url, sql)
    }

    /// Nobody writes to the table until the lock is dropped; whoever tries waits within his transaction.
    pub fn lock(&self, table: &str) -> Result<TableLock> {
        TableLock::take(client(&self.url)?, table)
    }

    /// Ends every connection to it from the server's side.
    pub fn cut_connections(&self) -> Result<String> {
        let name = &self.name;
        psql(
            &self.server_url,
            &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
        )
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(error) = psql(&self.server_url, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)) {
            eprintln!("database {} is left behind: {error:#}", self.name);
        }
    }
}

fn psql(url: &str, sql: &str) -> Result<String> {
    let output = client(url)?.args(["-c", sql]).output().context("psql cannot be run (Debian: postgresql-client)")?;
    if !output.status.success() {
        bail!("psql: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// The password goes by the environment: arguments are everybody's to read.
fn client(url: &str) -> Result<Command> {
    let (scheme, rest) = url.split_once("://").context("not a database URL")?;
    let (credentials, place) = rest.rsplit_once('@').context("the database URL names no user")?;
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let mut command = Command::new("psql");
    command
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &format!("{scheme}://{user}@{place}")])
        .env("PGPASSWORD", password)
        .env("PGCONNECT_TIMEOUT", "10");
    Ok(command)
}
