//! A job on its way to a worker. It names sources, never secrets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::collect::{CollectTask, Keep};
use crate::definitions::{Allowance, DistributionType, FileSource, Kept, Mode, Priority, Unchanged};
use crate::{
    ChannelName, Digest, DistributionName, DistributorName, JobId, Lane, RequestId, Settings, StoreId, SubscriberName,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    Build,
    Send,
    Extract,
    /// Garbage collection at the origin.
    Collect,
}

impl JobKind {
    pub fn as_str(self) -> &'static str {
        match self {
            JobKind::Build => "build",
            JobKind::Send => "send",
            JobKind::Extract => "extract",
            JobKind::Collect => "collect",
        }
    }
}

/// A lane's running number. `epoch` grows when a database is restored from a backup and at every start of the in-process
/// queue; a site refuses a message whose `seq` is not above the highest it has seen in that lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Seq {
    pub epoch: u64,
    pub n: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JobMessage {
    pub schema: u32,
    pub job: JobId,
    /// From 1.
    pub attempt: u32,
    pub lane: Lane,
    pub seq: Seq,
    pub request: RequestId,
    pub task: Task,
    /// The job that follows on success, in the same trip: an extract right after its send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Follow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Follow {
    pub job: JobId,
    pub attempt: u32,
    pub task: ExtractTask,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Task {
    Build(BuildTask),
    Send(SendTask),
    Extract(ExtractTask),
    Collect(CollectTask),
}

impl Task {
    pub fn kind(&self) -> JobKind {
        match self {
            Task::Build(_) => JobKind::Build,
            Task::Send(_) => JobKind::Send,
            Task::Extract(_) => JobKind::Extract,
            Task::Collect(_) => JobKind::Collect,
        }
    }

    /// When the work's window ends, if it is to stop then.
    pub fn stop_at_ms(&self) -> Option<i64> {
        match self {
            Task::Send(send) => send.stop_at_ms,
            Task::Extract(extract) => extract.stop_at_ms,
            Task::Build(_) | Task::Collect(_) => None,
        }
    }
}

/// An immutable build of a distribution, found under its header's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RevisionRef {
    pub number: u64,
    pub header: Digest,
}

/// So many revisions before a new one have a patch to it: builders make them, sites ask for them. Who is further behind
/// takes index and frames.
pub const PATCHED_REVISIONS_MAX: u64 = 3;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BuildTask {
    pub distributor: DistributorName,
    pub distribution: DistributionName,
    pub store: StoreId,
    #[serde(rename = "type")]
    pub of_type: DistributionType,
    /// The number that the new revision gets if the content changed.
    pub number: u64,
    pub sources: Vec<FileSource>,
    /// The newest good revision: what is unchanged is taken from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<RevisionRef>,
    /// Revisions before `previous`, newest first, that get a patch to the new one as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "generate", schemars(length(max = 2)))]
    pub earlier: Vec<RevisionRef>,
    /// Read everything again, and record a revision only if content changed all the same.
    #[serde(default)]
    pub read_all: bool,
    /// Beside content, kinds, modes and times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<Kept>,
    /// Seconds without a sign of life after which another builder takes the job over.
    pub lease_s: u32,
    /// The distributor's: where a builder that was told no other keeps what it remembers, a folder for each distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SendTask {
    pub subscriber: SubscriberName,
    pub channel: ChannelName,
    pub distribution: DistributionName,
    pub store: StoreId,
    pub revision: RevisionRef,
    pub priority: Priority,
    /// In the order in which they are tried.
    pub sources: Vec<ContentSource>,
    /// What the site's store keeps of this distribution; none = everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Milliseconds since 1970, by the site's clock: work that is not done then stops at its next safe point and is given back,
    /// to go on when its window opens again; none = it may run for as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_at_ms: Option<i64>,
}

/// Where content may come from; all are read by the same keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(tag = "from", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ContentSource {
    /// Another subscriber's server.
    Relay { subscriber: SubscriberName, url: String },
    /// The bucket that builders write to, as configured at the reader.
    Origin {
        /// How fast the distributor lets its content be pulled over this link; none = as fast as it goes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate: Option<OriginRate>,
    },
}

impl ContentSource {
    /// The bucket, at any rate.
    pub const ORIGIN: ContentSource = ContentSource::Origin { rate: None };
}

/// All transfers of one site that carry this share the rate: the side that pulls keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OriginRate {
    pub distributor: DistributorName,
    pub priority: Priority,
    pub bytes_per_s: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ExtractTask {
    pub subscriber: SubscriberName,
    pub distribution: DistributionName,
    pub store: StoreId,
    pub revision: RevisionRef,
    pub mode: Mode,
    /// With variables in it: only the site can fill them in.
    pub target: String,
    /// A foreign, non-empty target may be taken over.
    #[serde(default)]
    pub adopt: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Allowance>,
    /// Goes to this revision even if a newer one is installed.
    #[serde(default)]
    pub pin: bool,
    /// How unchanged files come from the live tree into the next one.
    #[serde(default, skip_serializing_if = "Unchanged::is_link")]
    pub unchanged: Unchanged,
    /// Other targets of this site, by distribution: equal or nested ones are refused before anything is written.
    #[serde(default)]
    pub other_targets: BTreeMap<DistributionName, String>,
    /// What the site's store keeps of this distribution; none = everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Milliseconds since 1970, by the site's clock: work that is not done then stops at its next safe point and is given back,
    /// to go on when its window opens again; none = it may run for as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_at_ms: Option<i64>,
}
