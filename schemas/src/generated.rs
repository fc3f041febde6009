//! The published documents, made from the types. It writes no file: `examples/generate.rs` does.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::{Beat, Control, Definitions, Header, JobMessage, Reply, Reports, Request, asyncapi};

/// By file name. Draft 7, because AsyncAPI readers know that one without a plug-in.
pub fn generated() -> Vec<(&'static str, Value)> {
    vec![
        ("request.schema.json", schema_of::<Request>()),
        ("reply.schema.json", schema_of::<Reply>()),
        ("job.schema.json", schema_of::<JobMessage>()),
        ("control.schema.json", schema_of::<Control>()),
        ("report.schema.json", schema_of::<Reports>()),
        ("beat.schema.json", schema_of::<Beat>()),
        ("header.schema.json", schema_of::<Header>()),
        ("definitions.schema.json", schema_of::<Definitions>()),
        ("asyncapi.json", asyncapi::document()),
    ]
}

fn schema_of<T: JsonSchema>() -> Value {
    SchemaSettings::draft07().into_generator().into_root_schema_for::<T>().to_value()
}
