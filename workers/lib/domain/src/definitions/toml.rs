//! TOML to values and places.

use std::ops::Range;

use serde_json::Map;
use toml_edit::{Item, TableLike, Value};

use super::document::Document;
use super::error::{code, printable};
use super::limits::DEPTH_MAX;
use super::places::{below, item};

pub(super) fn read(file: &str, text: &str, document: &mut Document) {
    let lines = Lines::of(text);
    match toml_edit::Document::parse(text) {
        Ok(parsed) => {
            document.places.note("", file, 1);
            let mut reader = Reader { file, lines, document };
            let value = reader.table(parsed.as_table(), "", 0);
            document.value = value.unwrap_or_default();
        }
        Err(error) => {
            let line = error.span().map_or(0, |span| lines.line(span.start));
            let doubled = error.message().contains("duplicate key");
            let code = if doubled { code::KEY_DOUBLED } else { code::TOML_MALFORMED };
            document.fault(file, line, code, "", format!("not TOML: {}", printable(error.message())), "");
        }
    }
}

struct Reader<'a> {
    file: &'a str,
    lines: Lines,
    document: &'a mut Document,
}

impl Reader<'_> {
    /// `None` once a limit was passed.
    fn table(&mut self, table: &dyn TableLike, field: &str, depth: usize) -> Option<serde_json::Value> {
        let mut entries = Map::new();
        for (key, value) in table.iter() {
            let path = below(field, key);
            let span = table.get_key_value(key).and_then(|(key, _)| key.span()).or_else(|| value.span());
            let line = self.line(span);
            self.document.places.note(&path, self.file, line);
            entries.insert(key.to_owned(), self.item(value, &path, line, depth + 1)?);
        }
        Some(serde_json::Value::Object(entries))
    }

    fn item(&mut self, item: &Item, field: &str, line: usize, depth: usize) -> Option<serde_json::Value> {
        match item {
            Item::None => Some(serde_json::Value::Null),
            Item::Value(value) => self.value(value, field, line, depth),
            Item::Table(table) => {
                self.enter(field, line, depth)?;
                self.table(table, field, depth)
            }
            Item::ArrayOfTables(tables) => {
                self.enter(field, line, depth)?;
                let mut values = Vec::new();
                for (index, table) in tables.iter().enumerate() {
                    let (path, line) = self.note_item(field, index, table.span());
                    self.enter(&path, line, depth + 1)?;
                    values.push(self.table(table, &path, depth + 1)?);
                }
                Some(serde_json::Value::Array(values))
            }
        }
    }

    fn value(&mut self, value: &Value, field: &str, line: usize, depth: usize) -> Option<serde_json::Value> {
        self.enter(field, line, depth)?;
        match value {
            Value::InlineTable(table) => self.table(table, field, depth),
            Value::Array(list) => {
                let mut values = Vec::new();
                for (index, value) in list.iter().enumerate() {
                    let (path, line) = self.note_item(field, index, value.span());
                    values.push(self.value(value, &path, line, depth + 1)?);
                }
                Some(serde_json::Value::Array(values))
            }
            scalar => Some(plain(scalar)),
        }
    }

    fn enter(&mut self, field: &str, line: usize, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            let message = format!("tables and lists lie more than {DEPTH_MAX} deep in each other");
            self.document.fault(self.file, line, code::TOO_DEEP, field, message, "");
            return None;
        }
        self.document.count(self.file, line).then_some(())
    }

    fn note_item(&mut self, field: &str, index: usize, span: Option<Range<usize>>) -> (String, usize) {
        let (path, line) = (item(field, index), self.line(span));
        self.document.places.note(&path, self.file, line);
        (path, line)
    }

    fn line(&self, span: Option<Range<usize>>) -> usize {
        span.map_or(0, |span| self.lines.line(span.start))
    }
}

/// A date stays text: no field takes one yet.
fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::String(text) => text.value().as_str().into(),
        Value::Boolean(flag) => (*flag.value()).into(),
        Value::Integer(number) => (*number.value()).into(),
        Value::Float(number) => match serde_json::Number::from_f64(*number.value()) {
            Some(number) => serde_json::Value::Number(number),
            None => number.value().to_string().into(),
        },
        other => other.to_string().trim().into(),
    }
}

/// Where each line begins.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Lines {
        Lines(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    fn line(&self, at: usize) -> usize {
        self.0.partition_point(|start| *start <= at)
    }
}
