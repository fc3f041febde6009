//! `tidegate up`: all roles in one process. It needs nothing else; where `tidegate.toml` names a database, a broker or a
//! storage, it stands on those.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use schemas::ConsoleName;
use tokio_util::sync::CancellationToken;

use super::config::{Config, Section};
use super::embedded::{Embedded, Ground, Settings};
use super::error::RoleError;
use super::lock::DataLock;
use super::process::Process;
use super::services::{self, Access, Patience};
use crate::args::roles::UpArgs;
use crate::client::{address, files};

/// The broker's name for the queue within this process.
const LOCAL: &str = "local";

pub async fn run(args: UpArgs) -> Result<(), RoleError> {
    let Process { config, shutdown, .. } = Process::start(Section::Up, &args.process, &args)?;
    let data = data_dir(&config)?;
    let definitions = files::read(&args.files).map_err(|error| RoleError::Definitions(format!("{error:#}")))?;
    let lock = DataLock::take(&data)?;
    let ground = ground(&config, &data, &shutdown).await?;
    let settings = Settings {
        data: data.clone(),
        listen: config.up.listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        slots: config.up.slots(),
        drain_time: config.drain_time(),
        retention: config.up.retention(),
        served_kept: config.up.served_kept(),
        console: config.console(),
    };
    let mut fleet = Embedded::start(settings, ground, lock).await?;
    if let Err(error) = apply(&fleet, &definitions, &config.console()).await {
        fleet.stop().await?;
        return Err(error);
    }
    greet(&greeting(&config, &data, &fleet.api.url));
    tracing::info!(url = fleet.api.url, data = %data.display(), "ready");
    let ended = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        error = fleet.ended() => Err(error),
    };
    tracing::info!(
        "stopping; work in hand has {} s to end; a second signal stops at once",
        config.drain_time().as_secs()
    );
    let again = worker::shutdown_on_signals();
    let stopped = tokio::select! {
        stopped = fleet.stop() => stopped,
        () = again.cancelled() => Err(RoleError::ended("process", "a second signal came; what was left begins again at the next start")),
    };
    ended.and(stopped)
}

/// Absolute, so that what it is used for does not depend on where somebody stands.
fn data_dir(config: &Config) -> Result<PathBuf, RoleError> {
    let data = config.up.data.clone().unwrap_or_else(|| PathBuf::from(address::DATA_DEFAULT));
    std::path::absolute(&data).map_err(|source| RoleError::Folder { path: data, source })
}

async fn ground(config: &Config, data: &Path, shutdown: &CancellationToken) -> Result<Ground, RoleError> {
    let patience = Patience { time: config.start_timeout(), shutdown: shutdown.clone() };
    let records = match &config.database {
        Some(_) => services::database(config, &patience).await?,
        None => Ground::database(data).await?,
    };
    let queue = match &config.broker {
        Some(url) if url.expose() != LOCAL => services::broker(config, &worker::worker_id("up"), &patience).await?,
        _ => Ground::queue(),
    };
    let blobs = match &config.storage {
        Some(_) => services::storage(config, Access::Write, &patience).await?,
        None => Ground::storage(data)?,
    };
    Ok(Ground { records, queue, blobs })
}

async fn apply(fleet: &Embedded, definitions: &[(String, String)], console: &ConsoleName) -> Result<(), RoleError> {
    if definitions.is_empty() {
        return Ok(());
    }
    let refused = |error: ::api::ApplyError| RoleError::Definitions(error.to_string());
    ::api::apply(&fleet.records, definitions, console).await.map_err(refused)?;
    Ok(())
}

/// A reader that went away after the first line is no reason to stop.
fn greet(text: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}") {
        tracing::debug!(%error, "nobody reads the greeting");
    }
}

fn greeting(config: &Config, data: &Path, url: &str) -> String {
    let database = config.database.as_ref().map(|url| url.address());
    let storage = config.storage.clone();
    let folder = data.display();
    let flag = match data.ends_with(address::DATA_DEFAULT) && data.parent() == std::env::current_dir().ok().as_deref() {
        true => String::new(),
        false => format!(" --data {folder}"),
    };
    format!(
        "All roles run in this process; Ctrl-C stops them.
  API       {url}   (address and token: {folder}/api.json)
  database  {database}
  storage   {storage}
  sites     {folder}/sites

Next, in another terminal:
  tidegate apply{flag} -f examples/hello.yaml
  tidegate deliveries{flag}
  tidegate query{flag} 'SELECT subscriber, distribution, state FROM deliveries'",
        database = database.unwrap_or_else(|| format!("{folder}/tidegate.sqlite")),
        storage = storage.unwrap_or_else(|| format!("{folder}/origin")),
    )
}
