//! `tidegate scheduler`: plans requests, fires schedules, sweeps. Several may run; one leads.

use dispatch::Dispatcher;

use super::config::Section;
use super::error::RoleError;
use super::process::{Process, shown};
use super::services::{self, Patience};
use crate::args::roles::SchedulerArgs;

pub async fn run(args: SchedulerArgs) -> Result<(), RoleError> {
    let Process { config, shutdown, .. } = Process::start(Section::Scheduler, &args.process, &args)?;
    let patience = Patience { time: config.start_timeout(), shutdown: shutdown.clone() };
    let records = services::database(&config, &patience).await?;
    let settings = scheduler::Config {
        lease: config.scheduler.lease(),
        retention: config.scheduler.retention(),
        ..scheduler::Config::default()
    };
    let queue = services::broker(&config, &settings.holder, &patience).await?;
    let dispatcher = Dispatcher::new(records.clone(), queue.clone());
    let (database, broker) = (shown(&config.database), shown(&config.broker));
    tracing::info!(holder = settings.holder, database, broker, "ready");
    let ended = scheduler::run(settings, records.clone(), dispatcher, queue.clone(), shutdown).await;
    queue.close().await;
    records.close().await;
    ended.map_err(|error| RoleError::ended("scheduler", format!("{error:#}")))
}
