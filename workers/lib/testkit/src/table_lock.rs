//! A table that nobody can write to for a while: who comes to it within a transaction stands still there, and can be met. It knows
//! no role.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

const HELD: &str = "held";

/// Let go of when dropped.
pub struct TableLock {
    session: Child,
}

impl TableLock {
    /// Waits until it holds it. `client` is psql, about to be connected.
    pub(crate) fn take(mut client: Command, table: &str) -> Result<TableLock> {
        let session = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("psql cannot be run")?;
        let mut lock = TableLock { session };
        let statements = format!("BEGIN; LOCK TABLE {table} IN SHARE MODE; SELECT '{HELD}';\n");
        lock.session.stdin.as_mut().context("it has an input")?.write_all(statements.as_bytes())?;
        let mut answer = String::new();
        BufReader::new(lock.session.stdout.take().context("it has an output")?).read_line(&mut answer)?;
        if answer.trim_end() != HELD {
            bail!("{table} cannot be locked");
        }
        Ok(lock)
    }
}

/// The server ends a transaction whose client ends.
impl Drop for TableLock {
    fn drop(&mut self) {
        drop(self.session.stdin.take());
        let _ = self.session.wait();
    }
}
