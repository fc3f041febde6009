//! Holds values against the tables of `fields`, and tells every fault at once. It does not know what else is declared.

use std::collections::BTreeSet;

use schemas::name::{InvalidName, Kind, is_name};
use serde_json::{Map, Value};

use super::error::{Findings, code, quoted};
use super::fields::{
    Field, GROUP, GROUP_SUBSCRIPTION, MEMBERS, Object, SECTIONS, SECTIONS_LATER, SUBSCRIBER_SUBSCRIPTION, Section,
    Shape,
};
use super::limits::OBJECTS_MAX;
use super::places::{Places, below, item};
use super::suggest::nearest;
use super::{schedule_shape, text};

pub(super) struct Checker<'a> {
    pub places: &'a Places,
    pub findings: Findings,
}

/// Also turns what was left empty (`tokyo:` and nothing more) into an empty object or list.
pub(super) fn check(root: &mut Value, places: &Places) -> Findings {
    let mut checker = Checker { places, findings: Findings::default() };
    checker.root(root);
    checker.findings
}

impl Checker<'_> {
    pub fn add(&mut self, code: &'static str, field: &str, message: impl Into<String>, allowed: impl Into<String>) {
        self.findings.add(self.places, code, field, message, allowed);
    }

    fn root(&mut self, root: &mut Value) {
        let Some(sections) = self.map(root, "") else { return };
        for (name, value) in sections.iter_mut() {
            match SECTIONS.iter().find(|section| section.kind.plural() == name) {
                Some(section) => self.section(section, value),
                None => self.unknown_section(name),
            }
        }
    }

    fn unknown_section(&mut self, name: &str) {
        let known = SECTIONS.iter().map(|section| section.kind.plural());
        let allowed = format!("allowed here: {}", known.clone().collect::<Vec<_>>().join(", "));
        if SECTIONS_LATER.contains(&name) {
            return self.add(code::LATER_VERSION, name, format!("`{name}` come with a later version"), allowed);
        }
        let hint = Kind::parse(name).map(Kind::plural).or_else(|| nearest(name, known));
        let hint = hint.map(|known| format!(" (`{known}`?)")).unwrap_or_default();
        self.add(code::SECTION_UNKNOWN, name, format!("unknown section {}{hint}", quoted(name)), allowed);
    }

    fn section(&mut self, section: &Section, value: &mut Value) {
        let field = section.kind.plural();
        let Some(objects) = self.map(value, field) else { return };
        self.at_most(objects.len(), OBJECTS_MAX, field, field);
        for (name, object) in objects.iter_mut() {
            let path = below(field, name);
            self.name(name, &path);
            if let Some((_, reason)) = section.reserved.iter().find(|(reserved, _)| reserved == name) {
                let message = format!("no {} can be called `{name}`: {reason}", section.kind);
                self.add(code::NAME_RESERVED, &path, message, "choose another name");
            }
            self.value(&section.of, object, &path);
        }
    }

    fn value(&mut self, shape: &Shape, value: &mut Value, field: &str) {
        match shape {
            Shape::Object(object) => self.object(object, value, field),
            Shape::List { of, min, max } => self.list(of, *min, *max, value, field),
            Shape::Tree => self.tree(value, field),
            Shape::Routes => self.routes(value, field),
            Shape::Group => self.group(value, field),
            Shape::Subscription => self.subscription(value, field),
            Shape::Labels => text::labels(self, value, field),
            Shape::Variables => text::variables(self, value, field),
            Shape::Schedule => schedule_shape::check(self, value, field),
            Shape::Flag => self.flag(value, field),
            Shape::Whole { min, max, unit } => self.whole(*min, *max, unit, value, field),
            Shape::Word(words, later) => self.word(words, later, value, field),
            Shape::Name => {
                if let Some(name) = self.text(value, field).map(str::to_owned) {
                    self.name(&name, field);
                }
            }
            Shape::Text(_)
            | Shape::Tag
            | Shape::Component
            | Shape::Span { .. }
            | Shape::Zone
            | Shape::Glob
            | Shape::Path(_) => {
                if let Some(given) = self.text(value, field) {
                    text::check(self, shape, given, field);
                }
            }
        }
    }

    fn object(&mut self, object: &Object, value: &mut Value, field: &str) {
        let Some(map) = self.map(value, field) else { return };
        for (name, value) in map.iter_mut() {
            match object.fields.iter().find(|known| known.name == name) {
                Some(known) => self.value(&known.shape, value, &below(field, name)),
                None => self.unknown_field(object, name, field),
            }
        }
        for missing in object.fields.iter().filter(|known| known.required && !map.contains_key(known.name)) {
            self.missing_field(missing, field);
        }
    }

    fn unknown_field(&mut self, object: &Object, name: &str, field: &str) {
        let (path, allowed) = (below(field, name), allowed_fields(object));
        if object.later.contains(&name) {
            return self.add(code::LATER_VERSION, &path, format!("`{name}` comes with a later version"), allowed);
        }
        let hint = nearest(name, object.fields.iter().map(|known| known.name));
        let hint = hint.map(|known| format!(" (`{known}`?)")).unwrap_or_default();
        self.add(code::FIELD_UNKNOWN, &path, format!("unknown field {}{hint}", quoted(name)), allowed);
    }

    fn missing_field(&mut self, missing: &Field, field: &str) {
        let allowed = match missing.shape {
            Shape::Word(words, _) => format!("allowed here: {}", words.join(", ")),
            _ => format!("add `{}: …`", missing.name),
        };
        self.add(code::FIELD_MISSING, field, format!("`{}` is missing", missing.name), allowed);
    }

    fn list(&mut self, of: &Shape, min: usize, max: usize, value: &mut Value, field: &str) {
        let Some(items) = self.items(value, field) else { return };
        if items.len() < min {
            self.add(code::VALUE_MISSING, field, "is empty", format!("at least {min} is needed"));
        }
        self.at_most(items.len(), max, field, "entries");
        let mut seen = BTreeSet::new();
        for (index, value) in items.iter_mut().enumerate() {
            let path = item(field, index);
            self.value(of, value, &path);
            if let Value::String(text) = value
                && !seen.insert(text.clone())
            {
                self.add(code::LISTED_TWICE, &path, format!("{} is listed twice", quoted(text)), "list it once");
            }
        }
    }

    fn tree(&mut self, value: &mut Value, field: &str) {
        let Some(nodes) = self.map(value, field) else { return };
        for (name, below_it) in nodes.iter_mut() {
            let path = below(field, name);
            self.name(name, &path);
            self.tree(below_it, &path);
        }
    }

    fn routes(&mut self, value: &mut Value, field: &str) {
        match value {
            Value::String(name) => self.name(&name.clone(), field),
            Value::Object(_) | Value::Null => self.tree(value, field),
            _ => {
                let allowed = "allowed here: the name of a hierarchy, or a tree such as `{ region: { paris: {} } }`";
                self.add(code::WRONG_TYPE, field, "is neither a name nor a tree of subscribers", allowed);
            }
        }
    }

    fn group(&mut self, value: &mut Value, field: &str) {
        match value {
            Value::Array(_) | Value::Null => self.value(&MEMBERS, value, field),
            Value::Object(_) => self.object(&GROUP, value, field),
            _ => {
                let allowed = "allowed here: a list such as `[tokyo, osaka]`, or `{ title: …, members: [tokyo] }`";
                self.add(code::WRONG_TYPE, field, "is not a group", allowed);
            }
        }
    }

    fn subscription(&mut self, value: &mut Value, field: &str) {
        const ALLOWED: &str =
            "allowed here: a subscriber's name, `{ subscriber: paris, active: false }`, `{ group: asia }`";
        match value {
            Value::String(name) => self.name(&name.clone(), field),
            Value::Object(map) => match (map.contains_key("subscriber"), map.contains_key("group")) {
                (true, false) => self.object(&SUBSCRIBER_SUBSCRIPTION, value, field),
                (false, true) => self.object(&GROUP_SUBSCRIPTION, value, field),
                (true, true) => self.add(code::SUBSCRIPTION_INVALID, field, "names a subscriber and a group", ALLOWED),
                (false, false) => self.add(code::FIELD_MISSING, field, "names no subscriber and no group", ALLOWED),
            },
            _ => self.add(code::WRONG_TYPE, field, "is not a subscription", ALLOWED),
        }
    }

    fn flag(&mut self, value: &Value, field: &str) {
        if !value.is_boolean() {
            self.add(code::WRONG_TYPE, field, format!("is {}", kind_of(value)), "allowed here: true, false");
        }
    }

    fn whole(&mut self, min: u64, max: u64, unit: &str, value: &Value, field: &str) {
        let allowed = format!("allowed here: a whole number from {min} to {max} ({unit})");
        match value {
            Value::Number(number) => match number.as_u64() {
                Some(n) if (min..=max).contains(&n) => {}
                _ => self.add(code::OUT_OF_RANGE, field, format!("{number} is out of range"), allowed),
            },
            _ => self.add(code::WRONG_TYPE, field, format!("is {}", kind_of(value)), allowed),
        }
    }

    fn word(&mut self, words: &[&str], later: &[&str], value: &Value, field: &str) {
        let allowed = format!("allowed here: {}", words.join(", "));
        match value {
            Value::String(word) if words.contains(&word.as_str()) => {}
            Value::String(word) if later.contains(&word.as_str()) => {
                self.add(code::LATER_VERSION, field, format!("`{word}` comes with a later version"), allowed);
            }
            Value::String(word) => {
                let hint = nearest(word, words.iter().copied()).map(|known| format!(" (`{known}`?)"));
                let message = format!("unknown value {}{}", quoted(word), hint.unwrap_or_default());
                self.add(code::VALUE_UNKNOWN, field, message, allowed);
            }
            _ => self.add(code::WRONG_TYPE, field, format!("is {}", kind_of(value)), allowed),
        }
    }

    pub fn name(&mut self, name: &str, field: &str) {
        if !is_name(name) {
            let cut = name.chars().take(80).collect();
            let message = super::error::printable(&InvalidName { name: cut }.to_string());
            self.add(code::NAME_INVALID, field, message, "for example `region-eu`");
        }
    }

    pub fn text<'v>(&mut self, value: &'v Value, field: &str) -> Option<&'v str> {
        match value {
            Value::String(text) => return Some(text),
            Value::Null => self.add(code::VALUE_MISSING, field, "has no value", "write one, or leave the field out"),
            Value::Number(_) | Value::Bool(_) => {
                let message = format!("is {} where text is needed: {value}", kind_of(value));
                self.add(code::WRONG_TYPE, field, message, format!("put it in quotes: \"{value}\""));
            }
            _ => self.add(code::WRONG_TYPE, field, format!("is {} where text is needed", kind_of(value)), ""),
        }
        None
    }

    pub fn map<'v>(&mut self, value: &'v mut Value, field: &str) -> Option<&'v mut Map<String, Value>> {
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        if !value.is_object() {
            let message = format!("is {} where a map is needed", kind_of(value));
            self.add(code::WRONG_TYPE, field, message, "write `name: value` pairs");
        }
        value.as_object_mut()
    }

    fn items<'v>(&mut self, value: &'v mut Value, field: &str) -> Option<&'v mut Vec<Value>> {
        if value.is_null() {
            *value = Value::Array(Vec::new());
        }
        if !value.is_array() {
            let message = format!("is {} where a list is needed", kind_of(value));
            self.add(code::WRONG_TYPE, field, message, "write a list: `[a, b]`");
        }
        value.as_array_mut()
    }

    pub fn at_most(&mut self, count: usize, max: usize, field: &str, what: &str) {
        if count > max {
            self.add(code::TOO_MANY, field, format!("{count} {what}"), format!("at most {max} are allowed"));
        }
    }
}

fn allowed_fields(object: &Object) -> String {
    let names: Vec<_> = object.fields.iter().map(|field| field.name).collect();
    format!("allowed here: {}", names.join(", "))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
