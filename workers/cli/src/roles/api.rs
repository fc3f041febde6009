//! `tidegate api`: answers the client verbs over HTTP.

use std::path::{Path, PathBuf};

use dispatch::Dispatcher;

use super::config::{self, Config, Section};
use super::error::RoleError;
use super::lock;
use super::process::{Process, shown};
use super::services::{self, Patience};
use crate::args::roles::ApiArgs;
use crate::client::address::{self, ApiFile};

const TOKEN_VARIABLE: &str = "TIDEGATE_TOKEN";

pub async fn run(args: ApiArgs) -> Result<(), RoleError> {
    let Process { config, shutdown, .. } = Process::start(Section::Api, &args.process, &args)?;
    let token = token(&config)?;
    let patience = Patience { time: config.start_timeout(), shutdown: shutdown.clone() };
    let records = services::database(&config, &patience).await?;
    let queue = services::broker(&config, &worker::worker_id("api"), &patience).await?;
    let dispatcher = Dispatcher::new(records.clone(), queue.clone());
    let settings = api::Config {
        listen: config.api.listen(),
        token: token.clone(),
        allow_remote: config.api.allow_remote,
        console: config.console(),
    };
    let ended = |error: anyhow::Error| RoleError::ended("api", format!("{error:#}"));
    let (addr, serving) =
        api::serve(settings, records.clone(), dispatcher, queue.clone(), shutdown.clone()).await.map_err(ended)?;
    let url = format!("http://{addr}");
    if let Some(data) = &config.api.data {
        publish(data, &url, token)?;
    }
    let (database, broker) = (shown(&config.database), shown(&config.broker));
    tracing::info!(url, database, broker, "ready");
    let served = serving.await;
    if let Some(data) = &config.api.data {
        ApiFile::remove(data);
    }
    queue.close().await;
    records.close().await;
    served.map_err(|error| RoleError::ended("api", error))
}

/// The file that was named, the variable, the configuration, else a new one.
fn token(config: &Config) -> Result<String, RoleError> {
    if let Some(path) = &config.api.token_file {
        let unreadable = |source| config::ConfigError::Unreadable { path: path.clone(), source };
        return Ok(std::fs::read_to_string(path).map_err(unreadable)?.trim().to_owned());
    }
    let given = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
    match given.or_else(|| config.api.token.as_ref().map(|token| token.expose().to_owned())) {
        Some(token) => Ok(token),
        None => address::new_token().map_err(|error| RoleError::ended("api", format!("{error:#}"))),
    }
}

/// For the client verbs of the same user.
pub fn publish(data: &Path, url: &str, token: String) -> Result<(), RoleError> {
    let folder = |source| RoleError::Folder { path: PathBuf::from(data), source };
    lock::make_folder(data).map_err(folder)?;
    ApiFile { url: url.to_owned(), token }.write(data).map_err(folder)
}
