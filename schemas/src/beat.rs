//! Transient signs of life on `tidegate.progress`. Losing one costs a figure on a page, never a result.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{JobId, SubscriberName};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(tag = "beat", rename_all = "kebab-case")]
pub enum Beat {
    Progress(Progress),
    Presence(Presence),
}

/// One message per worker; a builder's also renews the leases of the jobs that it lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Progress {
    pub schema: u32,
    pub worker: String,
    pub at_ms: i64,
    pub jobs: Vec<JobProgress>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JobProgress {
    pub job: JobId,
    pub attempt: u32,
    /// A word: `read`, `upload`, `download`, `stage`, `swap`, …
    pub step: String,
    pub files_done: u64,
    /// 0 = not known yet.
    pub files_total: u64,
    pub bytes_done: u64,
    pub bytes_total: u64,
}

/// A site says every 30 s that it lives, and which jobs it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Presence {
    pub schema: u32,
    pub subscriber: SubscriberName,
    pub at_ms: i64,
    /// Program version.
    pub version: String,
    /// Where its children reach its server; none if it serves nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Ed25519 public key, 64 hexadecimal digits: its requests to its parent are signed with the private half.
    pub public_key: String,
    pub settings_version: u64,
    pub open_jobs: Vec<OpenJob>,
    /// Names the site's start: another one says that it has started anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Uuid>,
    /// The last one of this run: the site stops in order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OpenJob {
    pub job: JobId,
    pub attempt: u32,
}
