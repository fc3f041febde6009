//! What a site is told from outside: the rest comes with its jobs. It knows no file and no environment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use schemas::SubscriberName;
use tokio::sync::watch;

use crate::own_process::LogWanted;
use crate::store::SERVED_KEPT;

/// Jobs that run at the same time, of different lanes.
pub const SLOTS_DEFAULT: u16 = 4;
const DRAIN_TIME: Duration = Duration::from_secs(30);
const STARTED_AFTER: Duration = Duration::from_secs(1);
const PRESENCE_EVERY: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct Config {
    pub name: SubscriberName,
    /// Journal, keys, store and trees' state.
    pub work_dir: PathBuf,
    /// Where its children reach it; a site without children needs none.
    pub listen: Option<SocketAddr>,
    /// How its children write that address; by default the address that it listens on.
    pub public_url: Option<String>,
    pub slots: u16,
    /// Environment variables that a target may name as `%env:NAME%`.
    pub env_allow: BTreeSet<String>,
    /// Variables of this machine that win over the predefined ones.
    pub predefined: BTreeMap<String, String>,
    /// How long work may go on after a stop was asked for.
    pub drain_time: Duration,
    /// Work that is not over by then is reported as started, and its message acknowledged.
    pub started_after: Duration,
    pub presence_every: Duration,
    /// How long what a child asked for stays, beyond what is kept; once in that time it is looked for what may go.
    pub served_kept: Duration,
    pub retries: Retries,
    /// Hears how the settings in force want the process to log.
    pub log: Option<watch::Sender<LogWanted>>,
    /// Sees every step of every job before it happens: faults are injected here.
    #[doc(hidden)]
    pub observe: Option<StepHook>,
}

/// How hard a site tries before it gives a transfer up.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// Tries at one source in a row.
    pub tries_per_source: u32,
    /// Times that all sources are gone through in vain, without a byte of progress. The waits between them grow from
    /// 0.1 s to 30 s, so the default bears an outage of about a minute.
    pub rounds: u32,
}

impl Default for Retries {
    fn default() -> Retries {
        Retries { tries_per_source: 3, rounds: 10 }
    }
}

pub type StepHook = Arc<dyn Fn(&'static str) -> std::io::Result<()> + Send + Sync>;

impl Config {
    pub fn new(name: SubscriberName, work_dir: impl Into<PathBuf>) -> Config {
        Config {
            name,
            work_dir: work_dir.into(),
            listen: None,
            public_url: None,
            slots: SLOTS_DEFAULT,
            env_allow: BTreeSet::new(),
            predefined: BTreeMap::new(),
            drain_time: DRAIN_TIME,
            started_after: STARTED_AFTER,
            presence_every: PRESENCE_EVERY,
            served_kept: SERVED_KEPT,
            retries: Retries::default(),
            log: None,
            observe: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("work_dir", &self.work_dir)
            .field("listen", &self.listen)
            .field("public_url", &self.public_url)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}
