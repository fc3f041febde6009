//! One object with the value of each field and where it came from (SPEC O8, `describe`).

use std::fmt;

use schemas::Definitions;
use schemas::name::Kind;
use serde::Serialize;
use serde_json::Value;

use super::edges::{Reference, references};
use super::fields::{self, Field, Object, Shape};
use super::places::{below, item};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    pub kind: Kind,
    pub name: String,
    /// In the order of the reference documentation, never by chance.
    pub fields: Vec<DescribedField>,
    pub referred_by: Vec<Reference>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DescribedField {
    /// Within the object: `limits.rate_out.high`.
    pub path: String,
    pub value: String,
    pub origin: Origin,
}

/// A value that was written and is the same as the default counts as the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    Declared,
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Declared => "declared",
            Origin::Default => "default",
        })
    }
}

/// `None` if there is no such object.
pub fn describe(kind: Kind, name: &str, definitions: &Definitions) -> Option<Description> {
    let value = match object(kind, name, definitions)? {
        Value::Array(members) => serde_json::json!({ "members": members }),
        value => value,
    };
    let mut fields = Vec::new();
    describe_object(fields::object(kind)?, &value, "", &mut fields);
    if kind == Kind::Channel && value.get("time_zone").is_none() {
        let zone = crate::effective::channel_zone(&name.try_into().ok()?, definitions);
        fields.push(DescribedField { path: "time_zone".into(), value: zone, origin: Origin::Default });
    }
    let referred_by = references(kind, name, definitions);
    Some(Description { kind, name: name.to_owned(), fields, referred_by })
}

/// One object as it was declared.
pub fn object(kind: Kind, name: &str, definitions: &Definitions) -> Option<Value> {
    let d = definitions;
    let value = match kind {
        Kind::Distributor => serde_json::to_value(d.distributors.get(&name.try_into().ok()?)?),
        Kind::Distribution => serde_json::to_value(d.distributions.get(&name.try_into().ok()?)?),
        Kind::Channel => serde_json::to_value(d.channels.get(&name.try_into().ok()?)?),
        Kind::Group => serde_json::to_value(d.groups.get(&name.try_into().ok()?)?),
        Kind::Subscriber => serde_json::to_value(d.subscribers.get(&name.try_into().ok()?)?),
        Kind::Hierarchy => serde_json::to_value(d.hierarchies.get(&name.try_into().ok()?)?),
        Kind::Sync => serde_json::to_value(d.syncs.get(&name.try_into().ok()?)?),
    };
    value.ok()
}

pub fn names(kind: Kind, definitions: &Definitions) -> Vec<String> {
    let d = definitions;
    match kind {
        Kind::Distributor => d.distributors.keys().map(ToString::to_string).collect(),
        Kind::Distribution => d.distributions.keys().map(ToString::to_string).collect(),
        Kind::Channel => d.channels.keys().map(ToString::to_string).collect(),
        Kind::Group => d.groups.keys().map(ToString::to_string).collect(),
        Kind::Subscriber => d.subscribers.keys().map(ToString::to_string).collect(),
        Kind::Hierarchy => d.hierarchies.keys().map(ToString::to_string).collect(),
        Kind::Sync => d.syncs.keys().map(ToString::to_string).collect(),
    }
}

fn describe_object(object: &Object, value: &Value, path: &str, out: &mut Vec<DescribedField>) {
    for field in object.fields {
        describe_field(field, value.get(field.name), &below(path, field.name), out);
    }
}

fn describe_field(field: &Field, value: Option<&Value>, path: &str, out: &mut Vec<DescribedField>) {
    match (&field.shape, value) {
        (Shape::Object(object), value) => describe_object(object, value.unwrap_or(&Value::Null), path, out),
        (Shape::Labels | Shape::Variables, Some(Value::Object(map))) => {
            for (name, value) in map {
                push(out, below(path, name), shown(value), Origin::Declared);
            }
        }
        (Shape::List { of: Shape::Object(object), .. }, Some(Value::Array(items))) => {
            for (index, value) in items.iter().enumerate() {
                describe_object(object, value, &item(path, index), out);
            }
        }
        (_, Some(value)) => {
            let (text, default) = (shown(value), field.default);
            let origin = if default == Some(&text) { Origin::Default } else { Origin::Declared };
            push(out, path.to_owned(), text, origin);
        }
        (_, None) => {
            if let Some(default) = field.default {
                push(out, path.to_owned(), default.to_owned(), Origin::Default);
            }
        }
    }
}

fn push(out: &mut Vec<DescribedField>, path: String, value: String, origin: Origin) {
    out.push(DescribedField { path, value, origin });
}

/// On one line: `a, b`, `every: 10m`, `region-eu: {paris, lyon}`.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown_item).collect::<Vec<_>>().join(", "),
        Value::Object(map) => map.iter().map(|(k, v)| shown_entry(k, v)).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn shown_item(value: &Value) -> String {
    if value.is_object() { format!("{{{}}}", shown(value)) } else { shown(value) }
}

fn shown_entry(key: &str, value: &Value) -> String {
    match value {
        Value::Object(map) if map.is_empty() => key.to_owned(),
        value => format!("{key}: {}", shown_item(value)),
    }
}
