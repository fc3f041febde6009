//! The header of a manifest: small, readable, stored under its own digest, written last.

use serde::{Deserialize, Serialize};

use crate::definitions::DistributionType;
use crate::{Digest, StoreId};

/// Version of the package format that a header announces.
pub const FORMAT: u32 = 1;
/// Of a revision that says more of its entries than version 1 can: hard links, owners, attributes, sparse files.
pub const FORMAT_WITH_EXTRAS: u32 = 2;

/// It says nothing that two builders of one job would say differently (no time, no machine), so that a retried build
/// ends in the same digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub format: u32,
    pub store: StoreId,
    pub number: u64,
    #[serde(rename = "type")]
    pub of_type: DistributionType,
    pub files: u64,
    pub directories: u64,
    pub links: u64,
    /// Content, uncompressed.
    pub bytes: u64,
    /// All frames, compressed.
    pub stored_bytes: u64,
    pub index: IndexRef,
    pub packs: Vec<PackRef>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct IndexRef {
    /// Of the stored (compressed) bytes.
    pub digest: Digest,
    pub bytes: u64,
    /// Uncompressed.
    pub raw_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PackRef {
    pub digest: Digest,
    pub bytes: u64,
}
