//! Garbage collection as workers hear of it: what may go from the origin, and what a site keeps.

use serde::{Deserialize, Serialize};

use crate::{Digest, DistributionName, DistributorName, StoreId};

/// Objects that one job deletes at most.
pub const DELETIONS_MAX: usize = 500;
/// Orphans that one job tells of at most; the next listing finds the rest.
pub const ORPHANS_MAX: usize = 2_000;

/// Deletes objects of one distribution's store at the origin, and looks for those that belong to no revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CollectTask {
    pub distributor: DistributorName,
    pub distribution: DistributionName,
    pub store: StoreId,
    /// Keys below the store's folder, such as `packs/<digest>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<String>,
    /// Milliseconds since 1970: nothing is deleted after this instant, however late the message arrives. What is deleted
    /// may be uploaded again only when it has passed.
    pub until_ms: i64,
    /// Headers of the revisions that are live: what none of them leads to is an orphan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub live: Vec<Digest>,
    /// Look for orphans.
    #[serde(default)]
    pub list: bool,
    /// Those up to this one are known from an earlier look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StoredObject {
    /// Key below the store's folder.
    pub object: String,
    pub bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CollectResult {
    /// Those of the task's objects that are not there any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<String>,
    /// Objects that no live revision leads to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<StoredObject>,
    /// What the store holds in all, if it was listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<Listed>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Listed {
    pub objects: u64,
    pub bytes: u64,
    /// Orphans beyond `ORPHANS_MAX` that this result does not name.
    pub orphans_left: u64,
}

/// What a site keeps of a distribution beside what it cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// So many of the newest that it holds.
    pub revisions: u32,
    /// None older than this one: they are past the distribution's `max_age`.
    #[serde(default)]
    pub from: u64,
    /// Only with `revisions: 1`: what the new revision does not share goes before it is received.
    #[serde(default)]
    pub delete_first: bool,
}

/// The revisions of one distribution that a site's store holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HeldRevisions {
    /// The site's clock when it looked: of two reports the later one counts.
    pub as_of_ms: i64,
    /// Ascending.
    pub revisions: Vec<u64>,
}
