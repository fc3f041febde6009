//! `tidegate builder`: turns sources into revisions. Start as many as there is work for.

use tokio::sync::watch;

use super::config::{ConfigError, Section};
use super::error::RoleError;
use super::process::{Process, shown};
use super::services::{self, Access, Patience};
use crate::args::roles::BuilderArgs;

pub async fn run(args: BuilderArgs) -> Result<(), RoleError> {
    let Process { config, shutdown, .. } = Process::start(Section::Builder, &args.process, &args)?;
    if config.builder.distributors.is_empty() {
        let (key, flag, variable) = ("builder.distributors", "--distributor", "TIDEGATE_DISTRIBUTORS");
        return Err(ConfigError::Missing { key, flag, variable }.into());
    }
    let patience = Patience { time: config.start_timeout(), shutdown: shutdown.clone() };
    let worker_id = worker::worker_id("builder");
    let queue = services::broker(&config, &worker_id, &patience).await?;
    let blobs = services::storage(&config, Access::Write, &patience).await?;
    let (_distributors, names) = watch::channel(config.builder.distributors.iter().cloned().collect());
    let settings = builder::Config {
        distributors: names,
        slots: config.builder.slots(),
        work_dir: config.builder.work_dir.clone(),
        worker_id: worker_id.clone(),
        drain_time: config.drain_time(),
    };
    let (broker, storage) = (shown(&config.broker), config.storage.as_deref());
    tracing::info!(worker = worker_id, slots = settings.slots, broker, storage, "ready");
    let ended = builder::run(settings, queue.clone(), blobs, shutdown).await;
    queue.close().await;
    ended.map_err(|error| RoleError::ended("builder", error))
}
