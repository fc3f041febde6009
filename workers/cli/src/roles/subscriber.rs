//! `tidegate subscriber`: receives, keeps, relays and extracts at one site.

use std::path::PathBuf;
use std::sync::Arc;

use blobs::ReadBlobs;
use tokio::sync::watch;

use super::config::{ConfigError, Section};
use super::error::RoleError;
use super::process::{Process, shown};
use super::services::{self, Access, Patience};
use crate::args::roles::SubscriberArgs;

const WORK_DIR: &str = "/var/lib/tidegate/sub";

pub async fn run(args: SubscriberArgs) -> Result<(), RoleError> {
    let Process { config, log, shutdown } = Process::start(Section::Subscriber, &args.process, &args)?;
    let own = &config.subscriber;
    let missing = ConfigError::Missing { key: "subscriber.name", flag: "--name", variable: "TIDEGATE_NAME" };
    let name = own.name.clone().ok_or(missing)?;
    let patience = Patience { time: config.start_timeout(), shutdown: shutdown.clone() };
    let queue = services::broker(&config, &format!("subscriber {name}"), &patience).await?;
    let origin: Arc<dyn ReadBlobs> = services::storage(&config, Access::Read, &patience).await?;
    let work_dir = own.work_dir.clone().unwrap_or_else(|| PathBuf::from(WORK_DIR));
    let mut settings = subscriber::Config::new(name.clone(), work_dir);
    settings.listen = own.listen;
    settings.public_url = own.public_url.clone();
    settings.slots = own.slots();
    settings.env_allow = own.env_allow.clone();
    settings.drain_time = config.drain_time();
    settings.served_kept = own.served_kept().unwrap_or(settings.served_kept);
    let (wanted, log_wanted) = watch::channel(subscriber::LogWanted::default());
    settings.log = Some(wanted);
    let following = log.follow(log_wanted, config.log.is_some());
    let (broker, storage) = (shown(&config.broker), config.storage.as_deref());
    let listen = settings.listen.map(|addr| addr.to_string());
    tracing::info!(subscriber = %name, work_dir = %settings.work_dir.display(), listen, broker, storage, "ready");
    let ended = subscriber::run(settings, queue.clone(), origin, shutdown).await;
    following.abort();
    queue.close().await;
    ended.map_err(|error| RoleError::ended(format!("subscriber {name}"), error))
}
