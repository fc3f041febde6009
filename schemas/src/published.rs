//! The JSON Schemas and the AsyncAPI document, as they are committed. `generated` makes them from the types.

use serde_json::Value;

macro_rules! committed {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../json/", $name)))),+]
    };
}

const COMMITTED: [(&str, &str); 9] = committed![
    "request.schema.json",
    "reply.schema.json",
    "job.schema.json",
    "control.schema.json",
    "report.schema.json",
    "beat.schema.json",
    "header.schema.json",
    "definitions.schema.json",
    "asyncapi.json",
];

/// Every document that is published, by file name.
pub fn published() -> Vec<(&'static str, Value)> {
    COMMITTED
        .map(|(name, text)| (name, serde_json::from_str(text).expect("a test reads every committed document")))
        .into()
}
