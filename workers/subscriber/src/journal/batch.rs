//! Group commit: whoever writes while the disk is busy with the commit before shares the next one. It knows the
//! connection and no table.
//!
//! Writers follow each other on one connection, so none ever sees half of another. The first of a batch begins the
//! transaction and sends for the commit, which then waits in the same line: all who stood before it are in.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard, watch};
use tokio::task::JoinHandle;

use super::JournalError;

type Fate = Option<Result<(), Arc<sqlx::Error>>>;

pub(super) struct Batches {
    line: Arc<Mutex<Line>>,
    path: PathBuf,
}

struct Line {
    connection: SqliteConnection,
    closed: bool,
    /// The batch that is open now.
    open: Option<watch::Sender<Fate>>,
    /// A writer began and never said that it was done: what its batch holds is not to be committed.
    spoilt: bool,
    commits: u64,
}

/// A writer's turn on the connection. Dropped before `done`, it takes its whole batch back.
pub(super) struct Turn<'a> {
    line: MutexGuard<'a, Line>,
    fate: watch::Receiver<Fate>,
    path: &'a Path,
}

/// Something written but not yet on the disk.
#[must_use = "what was written may still be lost, unless somebody waits for it"]
pub struct Written<T> {
    value: T,
    fate: watch::Receiver<Fate>,
    path: PathBuf,
}

impl Batches {
    pub(super) async fn open(options: &SqliteConnectOptions, path: &Path) -> Result<Batches, sqlx::Error> {
        let connection = options.connect().await?;
        let line = Line { connection, closed: false, open: None, spoilt: false, commits: 0 };
        Ok(Batches { line: Arc::new(Mutex::new(line)), path: path.to_owned() })
    }

    /// Waits for the connection, and joins the batch that is open.
    pub(super) async fn write(&self) -> Result<Turn<'_>, JournalError> {
        let mut line = self.enter().await?;
        let fate = match &line.open {
            Some(batch) => batch.subscribe(),
            None => {
                let begun = sqlx::query("BEGIN IMMEDIATE").execute(&mut line.connection).await;
                begun.map_err(|e| self.failed(e))?;
                let (batch, fate) = watch::channel(None);
                line.open = Some(batch);
                drop(self.commit());
                fate
            }
        };
        line.spoilt = true;
        Ok(Turn { line, fate, path: &self.path })
    }

    /// The connection between two writers: what they wrote is seen, committed or not.
    pub(super) async fn read(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, JournalError> {
        Ok(MutexGuard::map(self.enter().await?, |line| &mut line.connection))
    }

    /// Commits what is written; whoever comes later is refused.
    pub(super) async fn close(&self) {
        let _ = self.commit().await;
        let mut line = self.line.lock().await;
        line.closed = true;
        tracing::debug!(path = %self.path.display(), commits = line.commits, "the journal is closed");
    }

    async fn enter(&self) -> Result<MutexGuard<'_, Line>, JournalError> {
        loop {
            let line = self.line.lock().await;
            if line.closed {
                return Err(self.failed(sqlx::Error::PoolClosed));
            }
            if !line.spoilt {
                return Ok(line);
            }
            drop(line);
            let _ = self.commit().await;
        }
    }

    /// In a task of its own, so that nobody who gives up waiting stops it half-way.
    fn commit(&self) -> JoinHandle<()> {
        let line = self.line.clone();
        tokio::spawn(async move { line.lock().await.commit().await })
    }

    fn failed(&self, source: sqlx::Error) -> JournalError {
        JournalError::Database { path: self.path.clone(), source: Arc::new(source) }
    }
}

impl Line {
    async fn commit(&mut self) {
        let Some(batch) = self.open.take() else { return };
        let mut fate = Err(sqlx::Error::Protocol("another write of the same batch was given up".to_owned()));
        if !self.spoilt {
            fate = sqlx::query("COMMIT").execute(&mut self.connection).await.map(|_| ());
        }
        if fate.is_err()
            && let Err(error) = sqlx::query("ROLLBACK").execute(&mut self.connection).await
        {
            // SQLite rolls back by itself when, for one, the disk is full.
            tracing::debug!(%error, "nothing was left to roll back");
        }
        self.spoilt = false;
        self.commits += 1;
        batch.send_replace(Some(fate.map_err(Arc::new)));
    }
}

impl Turn<'_> {
    /// What was written goes with the batch.
    pub(super) fn done<T>(mut self, value: T) -> Written<T> {
        self.line.spoilt = false;
        Written { value, fate: self.fate, path: self.path.to_owned() }
    }
}

impl Deref for Turn<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.line.connection
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.line.connection
    }
}

impl<T> Written<T> {
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Waits until it is on the disk.
    pub async fn durable(mut self) -> Result<T, JournalError> {
        let fate = self.fate.wait_for(Option::is_some).await.map(|fate| fate.clone());
        match fate {
            Ok(Some(Ok(()))) => Ok(self.value),
            Ok(Some(Err(source))) => Err(JournalError::Database { path: self.path, source }),
            Ok(None) | Err(_) => {
                Err(JournalError::Database { path: self.path, source: Arc::new(sqlx::Error::PoolClosed) })
            }
        }
    }

    /// Goes on at once: for what does no harm if a power loss takes it, or is waited for later on.
    pub fn in_time(self) -> T {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use sqlx::Row;

    use super::*;

    const WRITERS: i64 = 100;

    async fn batches(dir: &tempfile::TempDir) -> Batches {
        let path = dir.path().join("test.sqlite");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let batches = Batches::open(&options, &path).await.unwrap();
        let mut turn = batches.write().await.unwrap();
        sqlx::query("CREATE TABLE numbers (number INTEGER)").execute(&mut *turn).await.unwrap();
        turn.done(()).durable().await.unwrap();
        batches
    }

    async fn write(batches: &Batches, number: i64) -> Result<Written<()>, JournalError> {
        let mut turn = batches.write().await?;
        sqlx::query("INSERT INTO numbers VALUES (?)").bind(number).execute(&mut *turn).await.unwrap();
        Ok(turn.done(()))
    }

    async fn numbers(batches: &Batches) -> Vec<i64> {
        let mut connection = batches.read().await.unwrap();
        let rows = sqlx::query("SELECT number FROM numbers ORDER BY number").fetch_all(&mut *connection).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    #[tokio::test]
    async fn a_crowd_shares_its_commits() {
        let dir = tempfile::tempdir().unwrap();
        let batches = batches(&dir).await;
        let before = batches.line.lock().await.commits;
        join_all((0..WRITERS).map(|n| {
            let batches = &batches;
            async move { write(batches, n).await.unwrap().durable().await.unwrap() }
        }))
        .await;
        let commits = batches.line.lock().await.commits - before;
        assert!(commits <= 2, "{commits} commits for {WRITERS} writers who came together");
        assert_eq!(numbers(&batches).await, (0..WRITERS).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn whoever_gives_up_half_way_takes_the_batch_back_and_its_neighbours_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let batches = batches(&dir).await;
        let half_done = async {
            let mut half = batches.write().await.unwrap();
            sqlx::query("INSERT INTO numbers VALUES (2)").execute(&mut *half).await.unwrap();
        };
        // They come together, so they are of one batch.
        let (before, ()) = tokio::join!(write(&batches, 1), half_done);
        assert!(before.unwrap().durable().await.is_err(), "its batch was taken back");
        write(&batches, 3).await.unwrap().durable().await.unwrap();
        assert_eq!(numbers(&batches).await, [3]);
    }

    #[tokio::test]
    async fn a_closed_journal_has_all_that_was_written_and_takes_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let batches = batches(&dir).await;
        write(&batches, 1).await.unwrap().in_time();
        batches.close().await;
        assert!(matches!(write(&batches, 2).await, Err(JournalError::Database { .. })));
        let again = SqliteConnectOptions::new().filename(dir.path().join("test.sqlite"));
        let again = Batches::open(&again, dir.path()).await.unwrap();
        assert_eq!(numbers(&again).await, [1]);
    }
}
