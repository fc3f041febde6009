//! A subscriber's settings: they travel with its jobs and by its control queue, so that it never reads the database.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ChannelName, Priority, SubscriberName};

/// Bytes per second, by priority; none = unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RatesByPriority {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<u64>,
}

impl RatesByPriority {
    pub fn of(&self, priority: Priority) -> Option<u64> {
        match priority {
            Priority::High => self.high,
            Priority::Medium => self.medium,
            Priority::Low => self.low,
        }
    }
}

/// One subscriber has one settings version; an older one never replaces a newer (SPEC §10, 23).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub subscriber: SubscriberName,
    pub version: u64,
    /// The channels whose queues it consumes.
    pub channels: Vec<ChannelName>,
    /// Target variables, names in upper case.
    pub variables: BTreeMap<String, String>,
    pub time_zone: String,
    /// Seconds without a sign of life after which a source is passed by: 1 to 60,000.
    pub connect_timeout_s: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_in: Option<u64>,
    #[serde(default)]
    pub rate_out: RatesByPriority,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_relays: Option<u32>,
    /// Bytes that must stay free; a job that would go below fails early with the figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_space_floor: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console_level: Option<String>,
    /// Where its definition says that it works. A site knows its directory before its settings, so a difference is only told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
}
