//! The objects that people declare in YAML or TOML files (SPEC §2), as typed values. Whether they make sense together
//! is `domain`'s business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    ChannelName, DistributionName, DistributorName, GroupName, HierarchyName, RatesByPriority, Schedule, Span,
    SubscriberName, SyncName,
};

pub type Labels = BTreeMap<String, String>;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Definitions {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub distributors: BTreeMap<DistributorName, Distributor>,
    /// Named routing hierarchies, which several distributors may share.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hierarchies: BTreeMap<HierarchyName, Hierarchy>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub distributions: BTreeMap<DistributionName, Distribution>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<ChannelName, Channel>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<GroupName, Group>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subscribers: BTreeMap<SubscriberName, Subscriber>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub syncs: BTreeMap<SyncName, Sync>,
}

/// A tree of subscribers, of any depth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Tree(pub BTreeMap<SubscriberName, Tree>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Hierarchy {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<HierarchyName>,
    pub routes: Tree,
}

/// A routing hierarchy written in place, or the name of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Routes {
    Named(HierarchyName),
    Tree(Tree),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Distributor {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<DistributorName>,
    /// IANA name; default UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// When applied changes of it and of its distributions take effect; default `immediately`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Schedule>,
    /// Default `/var/lib/tidegate/dist`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    pub limits: DistributorLimits,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<Routes>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DistributorLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_builds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_sends: Option<u32>,
    /// Bytes per second.
    pub rate: RatesByPriority,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<DistributionName>,
    pub distributor: DistributorName,
    #[serde(rename = "type")]
    pub of_type: DistributionType,
    pub sources: Vec<FileSource>,
    /// Where subscribers extract it; variables allowed.
    pub target: String,
    /// No default: what happens to files that are not in the revision is the owner's decision.
    pub mode: Mode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Schedule>,
    /// A new revision is sent at once, whatever the channel's schedule says.
    #[serde(default)]
    pub send_after_build: bool,
    #[serde(default)]
    pub priority: Priority,
    #[serde(default = "max_revisions_default")]
    pub max_revisions: u32,
    /// Revisions older than this are not kept; the newest always is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// Only with `max_revisions: 1`: a site deletes what the new revision does not share before it receives it.
    #[serde(default)]
    pub delete_before_receive: bool,
    #[serde(default)]
    pub encryption: Encryption,
    #[serde(default = "yes")]
    pub active: bool,
    /// No more builds, while new subscribers still receive what there is.
    #[serde(default)]
    pub freeze_build: bool,
    /// A label that a sync selects by: `core`, `patches`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Subscribers whose `os` label is one of these; empty = all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// A foreign, non-empty target may be taken over.
    #[serde(default)]
    pub adopt: bool,
    /// What subscribers refuse to extract unless it is named here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Allowance>,
    /// Beside content, kinds, modes and times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<Kept>,
    #[serde(default)]
    pub unchanged: Unchanged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Allowance {
    /// Symbolic links that point out of the target. Nothing is ever written through a link.
    LinkOut,
    /// Set-uid, set-gid and sticky bits.
    SetId,
    /// `security.*` attributes: capabilities, labels.
    SecurityAttributes,
    /// Trees that become more than a thousand times larger than they are stored, such as images that are nearly all zeros.
    Expansion,
}

impl Allowance {
    pub fn as_str(self) -> &'static str {
        match self {
            Allowance::LinkOut => "link-out",
            Allowance::SetId => "set-id",
            Allowance::SecurityAttributes => "security-attributes",
            Allowance::Expansion => "expansion",
        }
    }
}

/// What a revision keeps of its sources' entries beside content, kinds, modes and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// Users and groups, by name where they have one, else by number.
    Owners,
    /// Extended attributes `user.*`.
    Xattrs,
    /// POSIX access lists; their users and groups are numbers.
    Acls,
    /// Extended attributes `security.*`. Subscribers refuse them unless `allow` names `security-attributes`.
    Security,
}

/// How a file that two revisions share comes from the live tree into the next one (`mirror`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Unchanged {
    /// One file with a name in both trees: a program that changes it in place changes both.
    #[default]
    Link,
    /// A file of its own that shares its blocks, where the file system can; else a copy.
    Reflink,
    /// A file of its own.
    Copy,
}

impl Unchanged {
    pub fn is_link(&self) -> bool {
        *self == Unchanged::Link
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DistributionType {
    File,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The target is exactly the revision.
    Mirror,
    /// Files into a shared directory; only what an earlier revision put there is deleted.
    Merge,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    High,
    #[default]
    Medium,
    Low,
}

impl Priority {
    /// Lower goes first; the number that SQL orders by.
    pub fn rank(self) -> i32 {
        match self {
            Priority::High => 0,
            Priority::Medium => 1,
            Priority::Low => 2,
        }
    }

    pub fn from_rank(rank: i32) -> Priority {
        match rank {
            ..=0 => Priority::High,
            1 => Priority::Medium,
            _ => Priority::Low,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    #[default]
    None,
}

/// A file or a directory as the builders of the distributor see it. A directory's content lands at the revision's root
/// unless `into` says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// Absolute.
    pub path: String,
    /// The subscriber whose files these are, where builders see a path of its: nothing that is built of them is synced to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<SubscriberName>,
    /// Relative folder of the revision that it is put into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<String>,
    /// Globs on the path below `path`; none = everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Globs; wins over `include`. An excluded directory is not entered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Channel {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<ChannelName>,
    pub distributions: Vec<DistributionName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<Schedule>,
    #[serde(default = "yes")]
    pub active: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    #[serde(default)]
    pub subscriptions: Vec<Subscription>,
}

/// `paris`, `{ subscriber: paris, active: false }` or `{ group: asia }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Subscription {
    Name(SubscriberName),
    Subscriber(SubscriberSubscription),
    Group(GroupSubscription),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SubscriberSubscription {
    pub subscriber: SubscriberName,
    #[serde(default = "yes")]
    pub active: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GroupSubscription {
    pub group: GroupName,
    #[serde(default = "yes")]
    pub active: bool,
}

/// `[tokyo, osaka]`, or with a title.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Group {
    Members(Vec<SubscriberName>),
    Full(GroupBody),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GroupBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<GroupName>,
    pub members: Vec<SubscriberName>,
}

impl Group {
    pub fn members(&self) -> &[SubscriberName] {
        match self {
            Group::Members(members) => members,
            Group::Full(body) => &body.members,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Subscriber {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<SubscriberName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<SubscriberName>,
    /// Name of the local network that it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lan: Option<String>,
    /// Bits per second of its link to its parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_speed: Option<u64>,
    /// Default `/var/lib/tidegate/sub`; variables allowed. The process is started with it: a definition moves no site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogSettings>,
    /// error, warn, info, debug or trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_level: Option<LogLevel>,
    /// Target variables, referred to as `%NAME%`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extract: Option<Schedule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    pub limits: SubscriberLimits,
    /// Default 300 s; 1 to 60,000 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Span>,
    /// Distributions that it does not want, whatever its channels list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub opt_out: Vec<DistributionName>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SubscriberLimits {
    /// Bytes per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_in: Option<u64>,
    pub rate_out: RatesByPriority,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_relays: Option<u32>,
    /// Bytes that must stay free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_space_floor: Option<u64>,
}

fn yes() -> bool {
    true
}

fn max_revisions_default() -> u32 {
    10
}

/// Builds what is stale of its components, sends and extracts it, for one subscriber, whatever that one subscribes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sync {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<SyncName>,
    pub subscriber: SubscriberName,
    /// `core`, `patches`, …; `all` is every distribution, with a component or without.
    #[cfg_attr(feature = "generate", schemars(length(min = 1)))]
    pub components: Vec<String>,
    pub schedule: Schedule,
}

impl Sync {
    /// Whether only one console may sync this to a subscriber.
    pub fn is_core(&self) -> bool {
        self.components.iter().any(|component| component == CORE || component == ALL_COMPONENTS)
    }
}

/// What of a component a sync selects.
pub fn is_of_components(distribution: &Distribution, components: &[String]) -> bool {
    components.iter().any(|c| c == ALL_COMPONENTS || distribution.component.as_deref() == Some(c.as_str()))
}

/// The component that one console alone syncs to a subscriber.
pub const CORE: &str = "core";
/// Every component; no distribution can have one of this name.
pub const ALL_COMPONENTS: &str = "all";
