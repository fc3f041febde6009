//! How a role is configured: `tidegate.toml`, then `TIDEGATE_…` variables, then flags; the later one wins. It knows nothing
//! of what the values are used for.

mod error;
mod file;
mod layers;
mod secret;
mod variables;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Toml};
use schemas::{ConsoleName, DistributorName, Span, SubscriberName};
use serde::{Deserialize, Serialize};

pub use error::ConfigError;
pub use secret::Secret;
pub use variables::unknown as unknown_variables;

/// How long the services may take to answer when a role starts.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const DRAIN_TIME: Duration = Duration::from_secs(30);
const API_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7410);
const BUILDER_SLOTS: u16 = 2;

/// A section of the file: what one role has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Up,
    Scheduler,
    Builder,
    Subscriber,
    Recorder,
    Api,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `postgres://…` or `sqlite:///path`.
    pub database: Option<Secret>,
    /// `amqp://…` or `amqps://…`; `local` is the queue within `up`.
    pub broker: Option<Secret>,
    /// A folder, or `s3://bucket/prefix`.
    pub storage: Option<String>,
    pub s3_endpoint: Option<String>,
    pub s3_region: Option<String>,
    /// Without keys the usual AWS variables, profiles and instance roles are asked.
    pub s3_access_key: Option<Secret>,
    pub s3_secret_key: Option<Secret>,
    /// The control side's name, where several share one database.
    pub console: Option<ConsoleName>,
    /// A level, or directives such as `info,queue=debug`.
    pub log: Option<String>,
    pub log_format: LogFormat,
    drain_time: Option<Span>,
    start_timeout: Option<Span>,
    pub up: Up,
    pub scheduler: Scheduler,
    pub builder: Builder,
    pub subscriber: Subscriber,
    recorder: Nothing,
    pub api: Api,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Up {
    pub data: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    slots: Option<Slots>,
    gc_grace: Option<Span>,
    served_kept: Option<Span>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scheduler {
    lease: Option<Lease>,
    /// How long what no revision needs any more stays at the origin.
    gc_grace: Option<Span>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Builder {
    /// Whose distributions it builds.
    pub distributors: BTreeSet<DistributorName>,
    slots: Option<Slots>,
    pub work_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Subscriber {
    pub name: Option<SubscriberName>,
    /// Where its children fetch from it; a site without children needs none.
    pub listen: Option<SocketAddr>,
    /// How its children write that address.
    pub public_url: Option<String>,
    pub work_dir: Option<PathBuf>,
    slots: Option<Slots>,
    /// Environment variables that a target may name as `%env:NAME%`.
    pub env_allow: BTreeSet<String>,
    /// How long what a child asked for stays, beyond what is kept.
    served_kept: Option<Span>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    listen: Option<SocketAddr>,
    pub allow_remote: bool,
    /// Address and token are written there, for the client verbs of the same user.
    pub data: Option<PathBuf>,
    pub token: Option<Secret>,
    pub token_file: Option<PathBuf>,
}

/// A role that has no settings of its own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Nothing {}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Jobs at a time: 1 to `worker::SLOTS_MAX`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
struct Slots(u16);

impl TryFrom<u32> for Slots {
    type Error = String;

    fn try_from(slots: u32) -> Result<Slots, String> {
        match u16::try_from(slots) {
            Ok(slots @ 1..=worker::SLOTS_MAX) => Ok(Slots(slots)),
            _ => Err(format!("{slots} slots; allowed: 1 to {}", worker::SLOTS_MAX)),
        }
    }
}

/// How long a silent leader leads: long enough for a slow database to answer, short enough to wait for.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "Span")]
struct Lease(Duration);

impl TryFrom<Span> for Lease {
    type Error = String;

    fn try_from(lease: Span) -> Result<Lease, String> {
        match lease.as_duration() {
            time if time <= scheduler::LEASE_MAX => Ok(Lease(time)),
            _ => Err(format!("a lease of {lease}; allowed: 1s to {}", Span::from_secs(scheduler::LEASE_MAX.as_secs()))),
        }
    }
}

impl Config {
    /// `flags` are a role's flags with their variables; those that are its own go to its section. Without a `file` the one
    /// in the current directory is read, if there is one.
    pub fn load(file: Option<&Path>, section: Section, flags: &impl Serialize) -> Result<Config, ConfigError> {
        let mut figment = Figment::new();
        let path = file::choose(file);
        if let Some(path) = &path {
            let text = file::read(path)?;
            file::refuse_open_secrets(path, &text)?;
            figment = figment.merge(Toml::string(&text));
        }
        figment = layers::merge(figment, section, flags)?;
        let config: Config = figment.extract().map_err(|error| ConfigError::of(error, path.as_deref()))?;
        if config.s3_access_key.is_some() != config.s3_secret_key.is_some() {
            return Err(ConfigError::half("s3_access_key", "s3_secret_key", path.as_deref()));
        }
        Ok(config)
    }

    pub fn start_timeout(&self) -> Duration {
        self.start_timeout.map_or(START_TIMEOUT, Span::as_duration)
    }

    pub fn console(&self) -> ConsoleName {
        self.console.clone().unwrap_or_default()
    }

    pub fn drain_time(&self) -> Duration {
        self.drain_time.map_or(DRAIN_TIME, Span::as_duration)
    }
}

impl Up {
    pub fn slots(&self) -> u16 {
        self.slots.map_or(BUILDER_SLOTS, |slots| slots.0)
    }

    pub fn retention(&self) -> scheduler::Retention {
        retention(self.gc_grace)
    }

    pub fn served_kept(&self) -> Option<Duration> {
        self.served_kept.map(Span::as_duration)
    }
}

impl Scheduler {
    pub fn lease(&self) -> Duration {
        self.lease.map_or(scheduler::LEASE_DEFAULT, |lease| lease.0)
    }

    pub fn retention(&self) -> scheduler::Retention {
        retention(self.gc_grace)
    }
}

fn retention(grace: Option<Span>) -> scheduler::Retention {
    grace.map_or_else(scheduler::Retention::default, |grace| scheduler::Retention { grace: grace.as_duration() })
}

impl Builder {
    pub fn slots(&self) -> u16 {
        self.slots.map_or(BUILDER_SLOTS, |slots| slots.0)
    }
}

impl Subscriber {
    pub fn slots(&self) -> u16 {
        self.slots.map_or(subscriber::config::SLOTS_DEFAULT, |slots| slots.0)
    }

    pub fn served_kept(&self) -> Option<Duration> {
        self.served_kept.map(Span::as_duration)
    }
}

impl Api {
    pub fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or(API_LISTEN)
    }
}

#[cfg(test)]
mod tests;
