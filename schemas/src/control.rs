//! What reaches a worker beside its jobs, outside its slots.

use serde::{Deserialize, Serialize};

use crate::{JobId, Lane, Settings, StoreId, SubscriberName};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(tag = "control", rename_all = "kebab-case")]
// A control message is rare and short-lived; a box would only make it harder to read.
#[allow(clippy::large_enum_variant)]
pub enum Control {
    Cancel {
        job: JobId,
    },
    /// Starts nothing more of this lane until resumed; what runs goes on.
    Pause {
        lane: Lane,
    },
    Resume {
        lane: Lane,
    },
    Settings(Settings),
    /// The keys of all children that may fetch from this site; what is not listed may not.
    Children {
        version: u64,
        children: Vec<ChildKey>,
    },
    /// Distributions that were deleted: nothing of them is kept any more. What was extracted stays.
    Forget {
        stores: Vec<StoreId>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ChildKey {
    pub subscriber: SubscriberName,
    /// Ed25519 public key, 64 hexadecimal digits.
    pub public_key: String,
}
