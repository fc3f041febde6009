//! The ordered lines of jobs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ChannelName, DistributionName, SubscriberName};

/// `build/<distribution>` or `site/<subscriber>/<channel>`: one job of a lane runs, the rest queue behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "generate", schemars(with = "String", extend("pattern" = r"^(build|site/[a-z0-9][a-z0-9-]{0,62})/[a-z0-9][a-z0-9-]{0,62}$")))]
pub enum Lane {
    Build(DistributionName),
    Site(SiteLane),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteLane {
    pub subscriber: SubscriberName,
    pub channel: ChannelName,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a lane: `build/<distribution>` or `site/<subscriber>/<channel>`")]
pub struct InvalidLane(String);

impl Lane {
    pub fn site(subscriber: SubscriberName, channel: ChannelName) -> Lane {
        Lane::Site(SiteLane { subscriber, channel })
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lane::Build(distribution) => write!(f, "build/{distribution}"),
            Lane::Site(site) => write!(f, "site/{}/{}", site.subscriber, site.channel),
        }
    }
}

impl From<Lane> for String {
    fn from(lane: Lane) -> String {
        lane.to_string()
    }
}

impl TryFrom<String> for Lane {
    type Error = InvalidLane;
    fn try_from(text: String) -> Result<Self, InvalidLane> {
        text.parse()
    }
}

impl std::str::FromStr for Lane {
    type Err = InvalidLane;

    fn from_str(text: &str) -> Result<Self, InvalidLane> {
        let invalid = |_| InvalidLane(text.chars().take(200).collect());
        let mut parts = text.split('/');
        let lane = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("build"), Some(distribution), None, None) => {
                Lane::Build(DistributionName::try_from(distribution).map_err(invalid)?)
            }
            (Some("site"), Some(subscriber), Some(channel), None) => Lane::site(
                SubscriberName::try_from(subscriber).map_err(invalid)?,
                ChannelName::try_from(channel).map_err(invalid)?,
            ),
            _ => return Err(InvalidLane(text.chars().take(200).collect())),
        };
        Ok(lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_reads_back_what_it_writes() {
        for text in ["build/antivirus", "site/paris/protect"] {
            assert_eq!(text.parse::<Lane>().unwrap().to_string(), text);
        }
        for bad in ["", "build", "build/A", "site/paris", "site/paris/protect/x", "other/x"] {
            assert!(bad.parse::<Lane>().is_err(), "{bad}");
        }
    }
}
