//! `tidegate recorder`: writes the workers' reports to the database and promotes what they set free.

use dispatch::Dispatcher;

use super::config::Section;
use super::error::RoleError;
use super::process::{Process, shown};
use super::services::{self, Patience};
use crate::args::roles::RecorderArgs;

pub async fn run(args: RecorderArgs) -> Result<(), RoleError> {
    let Process { config, shutdown, .. } = Process::start(Section::Recorder, &args.process, &args)?;
    let patience = Patience { time: config.start_timeout(), shutdown: shutdown.clone() };
    let records = services::database(&config, &patience).await?;
    let worker = worker::worker_id("recorder");
    let queue = services::broker(&config, &worker, &patience).await?;
    let dispatcher = Dispatcher::new(records.clone(), queue.clone());
    let (database, broker) = (shown(&config.database), shown(&config.broker));
    tracing::info!(worker, database, broker, "ready");
    let ended = recorder::run(recorder::Config::default(), records.clone(), dispatcher, queue.clone(), shutdown).await;
    queue.close().await;
    records.close().await;
    ended.map_err(|error| RoleError::ended("recorder", format!("{error:#}")))
}
