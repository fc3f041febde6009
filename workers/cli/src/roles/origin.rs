//! The origin and what must be there, for whoever looks at it without being a role: by a data directory of `up`, or as a
//! builder finds it. It changes neither storage nor database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use blobs::Blobs;
use records::{KeptStore, Records, RecordsError};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::config::{Config, Section};
use super::embedded::{DATABASE_FILE, sqlite_url};
use super::error::RoleError;
use super::services::{self, Access, Patience};
use crate::args::roles::{DatabaseArgs, StorageArgs};
use crate::args::verbs::VerifyArgs;

/// How long a service may take to answer: nobody is starting it together with this.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Origin {
    /// As it was named.
    pub place: String,
    pub blobs: Arc<dyn Blobs>,
    /// `None` where no database is named.
    pub kept: Option<Vec<KeptStore>>,
}

#[derive(Serialize)]
struct Flags<'a> {
    #[serde(flatten)]
    storage: &'a StorageArgs,
    #[serde(flatten)]
    database: &'a DatabaseArgs,
}

pub async fn open(args: &VerifyArgs) -> Result<Origin, RoleError> {
    let flags = Flags { storage: &args.storage, database: &args.database };
    let mut config = Config::load(args.config.as_deref(), Section::Builder, &flags)?;
    let mut database = config.database.as_ref().map(|url| url.expose().to_owned());
    if let (Some(data), None) = (&args.data, &args.storage.storage) {
        config.storage = Some(data.join("origin").to_string_lossy().into_owned());
        let path = |source| RoleError::Folder { path: data.clone(), source };
        let file = std::path::absolute(data.join(DATABASE_FILE)).map_err(path)?;
        database = file.is_file().then(|| sqlite_url(&file));
    }
    let place = config.storage.clone().unwrap_or_default();
    if !place.is_empty() && !place.contains("://") && !Path::new(&place).is_dir() {
        let reason = "there is no such directory".to_owned();
        return Err(RoleError::Setting { setting: "storage", value: place, reason });
    }
    let patience = Patience { time: PATIENCE, shutdown: CancellationToken::new() };
    let blobs = services::storage(&config, Access::Read, &patience).await?;
    let kept = match database {
        Some(url) => Some(kept(&url).await?),
        None => None,
    };
    Ok(Origin { place, blobs, kept })
}

async fn kept(url: &str) -> Result<Vec<KeptStore>, RoleError> {
    let failed = |error: RecordsError| match error.is_transient() {
        true => RoleError::Unreachable {
            service: "the database",
            address: super::config::Secret::new(url).address(),
            waited: Duration::ZERO,
            reason: error.to_string(),
            remedy: "start it, or correct the URL",
        },
        false => RoleError::ended("database", error),
    };
    let records = Records::open(url).await.map_err(failed)?;
    let kept = records.kept_stores().await;
    records.close().await;
    kept.map_err(failed)
}
