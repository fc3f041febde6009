//! A role's flags as the strongest layer: shared ones stand at the top, its own in its section.

use figment::Figment;
use figment::providers::Serialized;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Section;
use super::error::ConfigError;

/// What all roles may have in common.
const SHARED: [&str; 10] = [
    "console",
    "database",
    "broker",
    "storage",
    "s3_endpoint",
    "s3_region",
    "log",
    "log_format",
    "drain_time",
    "start_timeout",
];

impl Section {
    fn name(self) -> &'static str {
        match self {
            Section::Up => "up",
            Section::Scheduler => "scheduler",
            Section::Builder => "builder",
            Section::Subscriber => "subscriber",
            Section::Recorder => "recorder",
            Section::Api => "api",
        }
    }
}

pub fn merge(figment: Figment, section: Section, flags: &impl Serialize) -> Result<Figment, ConfigError> {
    let given = serde_json::to_value(flags).map_err(|error| ConfigError::flags(&error))?;
    let Value::Object(given) = given else { return Ok(figment) };
    let (mut shared, mut own) = (Map::new(), Map::new());
    for (key, value) in given {
        let layer = if SHARED.contains(&key.as_str()) { &mut shared } else { &mut own };
        layer.insert(key, value);
    }
    let figment = figment.merge(Serialized::defaults(shared));
    Ok(if own.is_empty() { figment } else { figment.merge(Serialized::default(section.name(), own)) })
}
