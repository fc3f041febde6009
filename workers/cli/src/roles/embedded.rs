//! All roles in this process, on a data directory: SQLite, disk, a queue in memory, or what else was opened for it. It knows
//! no terminal.

mod token;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use blobs::{Blobs, DiskBlobs};
use dispatch::Dispatcher;
use queue::Queue;
use queue::local::LocalQueue;
use records::Records;
use schemas::{ConsoleName, QueueName};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::error::RoleError;
use super::lock::DataLock;
use super::sites::Sites;
use super::{api, fleet};
use crate::client::address::ApiFile;

/// In the data directory.
pub const DATABASE_FILE: &str = "tidegate.sqlite";
/// How long the last reports may take to become rows.
const RECORD_TIME: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub struct Settings {
    pub data: PathBuf,
    /// Of the API.
    pub listen: SocketAddr,
    /// Builds at the same time.
    pub slots: u16,
    pub drain_time: Duration,
    pub retention: scheduler::Retention,
    pub served_kept: Option<Duration>,
    pub console: ConsoleName,
}

/// What the roles stand on.
pub struct Ground {
    pub records: Records,
    pub queue: Arc<dyn Queue>,
    pub blobs: Arc<dyn Blobs>,
}

impl Ground {
    pub async fn database(data: &Path) -> Result<Records, RoleError> {
        let failed = |error: records::RecordsError| RoleError::ended("database", error);
        let records = Records::open(&sqlite_url(&data.join(DATABASE_FILE))).await.map_err(failed)?;
        records.migrate().await.map_err(failed)?;
        Ok(records)
    }

    pub fn queue() -> Arc<dyn Queue> {
        LocalQueue::new()
    }

    pub fn storage(data: &Path) -> Result<Arc<dyn Blobs>, RoleError> {
        let path = data.join("origin");
        let opened = DiskBlobs::open(&path).map_err(|source| RoleError::Folder { path, source })?;
        Ok(Arc::new(opened))
    }

    pub async fn embedded(data: &Path) -> Result<Ground, RoleError> {
        let records = Ground::database(data).await?;
        Ok(Ground { records, queue: Ground::queue(), blobs: Ground::storage(data)? })
    }
}

/// The roles at work.
pub struct Embedded {
    pub records: Records,
    pub queue: Arc<dyn Queue>,
    pub api: ApiFile,
    data: PathBuf,
    /// Stops all that makes work or does it.
    work: CancellationToken,
    working: JoinSet<Result<(), RoleError>>,
    /// Stops the recorder, which outlives the others: their last reports become rows.
    record: CancellationToken,
    recording: JoinSet<Result<(), RoleError>>,
    _lock: DataLock,
}

impl Embedded {
    pub async fn start(settings: Settings, ground: Ground, lock: DataLock) -> Result<Embedded, RoleError> {
        let Ground { records, queue, blobs } = ground;
        let failed = |error: records::RecordsError| RoleError::ended("database", error);
        if !queue.survives_restart() {
            records.new_epoch().await.map_err(failed)?;
            records.resend_controls().await.map_err(failed)?;
        }
        let dispatcher = Dispatcher::new(records.clone(), queue.clone());
        let (work, record) = (CancellationToken::new(), CancellationToken::new());
        let roles = Roles { records: records.clone(), dispatcher, queue: queue.clone(), blobs };
        let token = token::keep(&settings.data)?;
        let mut working = JoinSet::new();
        let addr = roles.api(&settings, token.clone(), &work, &mut working).await?;
        let api = ApiFile { url: format!("http://{addr}"), token };
        let mut recording = JoinSet::new();
        roles.recorder(&record, &mut recording);
        roles.scheduler(settings.retention, &work, &mut working);
        roles.workers(&settings, &work, &mut working);
        api::publish(&settings.data, &api.url, api.token.clone())?;
        Ok(Embedded { records, queue, api, data: settings.data, work, working, record, recording, _lock: lock })
    }

    /// Resolves only if a role ends before it was asked to.
    pub async fn ended(&mut self) -> RoleError {
        let ended = tokio::select! {
            Some(ended) = self.working.join_next() => ended,
            Some(ended) = self.recording.join_next() => ended,
            else => return RoleError::ended("process", "no role runs"),
        };
        match ended {
            Ok(Err(error)) => error,
            Ok(Ok(())) => RoleError::ended("process", "a role ended before it was asked to"),
            Err(panic) => RoleError::ended("process", panic),
        }
    }

    /// Drains: work in hand ends or is given back, what was reported becomes rows, then everything closes.
    pub async fn stop(mut self) -> Result<(), RoleError> {
        ApiFile::remove(&self.data);
        self.work.cancel();
        let mut ended = join(&mut self.working).await;
        let recorded = async {
            while self.queue.depth(&QueueName::Reports).await.is_ok_and(|waiting| waiting > 0) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(RECORD_TIME, recorded).await.is_err() {
            tracing::warn!("reports were left; the sites repeat them after the next start");
        }
        self.record.cancel();
        ended = ended.and(join(&mut self.recording).await);
        self.queue.close().await;
        self.records.close().await;
        ended
    }
}

async fn join(tasks: &mut JoinSet<Result<(), RoleError>>) -> Result<(), RoleError> {
    let mut all = Ok(());
    while let Some(ended) = tasks.join_next().await {
        all = all.and(ended.unwrap_or_else(|panic| Err(RoleError::ended("process", panic))));
    }
    all
}

/// Starts each role on the same ground.
struct Roles {
    records: Records,
    dispatcher: Arc<Dispatcher>,
    queue: Arc<dyn Queue>,
    blobs: Arc<dyn Blobs>,
}

type Tasks = JoinSet<Result<(), RoleError>>;

impl Roles {
    async fn api(
        &self,
        settings: &Settings,
        token: String,
        stop: &CancellationToken,
        tasks: &mut Tasks,
    ) -> Result<SocketAddr, RoleError> {
        let failed = |error: anyhow::Error| RoleError::ended("api", format!("{error:#}"));
        let console = settings.console.clone();
        let config = ::api::Config { listen: settings.listen, token, allow_remote: false, console };
        let (records, dispatcher, queue) = (self.records.clone(), self.dispatcher.clone(), self.queue.clone());
        let served = ::api::serve(config, records, dispatcher, queue, stop.clone()).await;
        let (addr, serving) = served.map_err(failed)?;
        tasks.spawn(async move { serving.await.map_err(|error| RoleError::ended("api", error)) });
        Ok(addr)
    }

    fn recorder(&self, stop: &CancellationToken, tasks: &mut Tasks) {
        let (records, dispatcher, queue) = (self.records.clone(), self.dispatcher.clone(), self.queue.clone());
        let run = recorder::run(recorder::Config::default(), records, dispatcher, queue, stop.clone());
        tasks.spawn(async move { run.await.map_err(|error| RoleError::ended("recorder", format!("{error:#}"))) });
    }

    fn scheduler(&self, retention: scheduler::Retention, stop: &CancellationToken, tasks: &mut Tasks) {
        let (records, dispatcher, queue) = (self.records.clone(), self.dispatcher.clone(), self.queue.clone());
        let config = scheduler::Config { retention, ..scheduler::Config::default() };
        let run = scheduler::run(config, records, dispatcher, queue, stop.clone());
        tasks.spawn(async move { run.await.map_err(|error| RoleError::ended("scheduler", format!("{error:#}"))) });
    }

    /// A builder for all distributors, and a site for every subscriber.
    fn workers(&self, settings: &Settings, stop: &CancellationToken, tasks: &mut Tasks) {
        let fleet = fleet::follow(self.records.clone(), stop.clone());
        let builder = builder::Config {
            distributors: fleet.distributors,
            slots: settings.slots,
            work_dir: Some(settings.data.join("builder")),
            worker_id: worker::worker_id("builder"),
            drain_time: settings.drain_time,
        };
        let run = builder::run(builder, self.queue.clone(), self.blobs.clone(), stop.clone());
        tasks.spawn(async move { run.await.map_err(|error| RoleError::ended("builder", error)) });
        let sites = Sites {
            folder: settings.data.join("sites"),
            queue: self.queue.clone(),
            origin: self.blobs.clone(),
            drain_time: settings.drain_time,
            served_kept: settings.served_kept,
        };
        let run = sites.run(fleet.subscribers, stop.clone());
        tasks.spawn(async move {
            run.await;
            Ok(())
        });
    }
}

/// All but plain characters are written by their numbers: some mean something in a URL.
pub fn sqlite_url(path: &Path) -> String {
    let mut url = String::from("sqlite://");
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => url.push(char::from(byte)),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_directory_name_does_for_the_database() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["plain", "a b", "50%", "what?", "no#1", "é"] {
            let data = folder.path().join(name);
            std::fs::create_dir(&data).unwrap();
            Ground::database(&data).await.unwrap().close().await;
            assert!(data.join("tidegate.sqlite").exists(), "{name}");
        }
    }
}
