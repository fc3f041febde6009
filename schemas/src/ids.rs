//! Identifiers of rows that several processes speak about.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($($(#[$doc:meta])* $type:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $type(pub Uuid);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $type {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Ok(Self(text.parse()?))
            }
        }
    )+};
}

id!(
    JobId,
    /// Chosen by whoever asks, so that asking twice is asking once.
    RequestId,
    /// The folder of a distribution in every store. It stays when the distribution is renamed or changes hands,
    /// so neither resends content.
    StoreId,
);

impl JobId {
    /// The id of the job that `request` plans for `what` (a stable text of kind, subscriber, distribution): planning
    /// twice after a crash names the same job.
    pub fn planned(request: RequestId, what: &str) -> JobId {
        JobId(Uuid::new_v5(&request.0, what.as_bytes()))
    }
}
