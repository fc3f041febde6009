//! YAML to values and places. It reads plain data only: no aliases, no tags, one document, text as keys.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

use super::document::Document;
use super::error::{code, printable, quoted};
use super::limits::DEPTH_MAX;
use super::places::{below, item};

/// Reading ends at the first fault of form, because what follows cannot be trusted; doubled keys are all told.
pub(super) fn read(file: &str, text: &str, document: &mut Document) {
    let mut reader = Reader { file, document, open: Vec::new(), root: Value::Null, documents: 0 };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => {
                if reader.take(event, span.start.line()).is_none() {
                    return;
                }
            }
            Err(error) => {
                let message = format!("not YAML: {}", printable(error.info()));
                // An end that came too early is found behind the last line.
                let line = error.marker().line().min(text.lines().count().max(1));
                return reader.fault(line, code::YAML_MALFORMED, "", message, "");
            }
        }
    }
    let root = reader.root;
    document.value = root;
}

struct Reader<'a> {
    file: &'a str,
    document: &'a mut Document,
    open: Vec<Open>,
    root: Value,
    documents: usize,
}

struct Open {
    field: String,
    content: Content,
}

enum Content {
    List(Vec<Value>),
    Map { entries: Map<String, Value>, key: Option<Key> },
}

struct Key {
    text: String,
    doubled: bool,
}

impl Reader<'_> {
    /// `None` ends the reading.
    fn take(&mut self, event: Event<'_>, line: usize) -> Option<()> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => self.begin_document(line)?,
            Event::Alias(_) => {
                self.refuse(line, code::YAML_ALIAS, "aliases are not read here", "write the value out")?
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.plain(anchor, tag.is_some(), line)?;
                self.scalar(&text, style, line)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.plain(anchor, tag.is_some(), line)?;
                self.begin(Content::List(Vec::new()), line)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.plain(anchor, tag.is_some(), line)?;
                self.begin(Content::Map { entries: Map::new(), key: None }, line)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
        Some(())
    }

    fn begin_document(&mut self, line: usize) -> Option<()> {
        self.documents += 1;
        if self.documents > 1 {
            let (message, allowed) = ("a second document begins here", "one document per file");
            self.fault(line, code::YAML_DOCUMENTS, "", message, allowed);
            return None;
        }
        Some(())
    }

    fn plain(&mut self, anchor: usize, tagged: bool, line: usize) -> Option<()> {
        if anchor > 0 {
            self.refuse(line, code::YAML_ALIAS, "anchors are not read here", "write the value out where it is used")?;
        }
        if tagged {
            self.refuse(line, code::YAML_TAG, "tags such as `!!str` are not read here", "put text in quotes")?;
        }
        Some(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, line: usize) -> Option<()> {
        if let Some(Open { field, content: Content::Map { entries, key: key @ None } }) = self.open.last_mut() {
            let path = below(field, text);
            let doubled = entries.contains_key(text);
            *key = Some(Key { text: text.to_owned(), doubled });
            if doubled {
                let first = self.document.places.exactly(&path).map_or(0, |place| place.line);
                let message = format!("{} is written twice; first in line {first}", quoted(text));
                self.fault(line, code::KEY_DOUBLED, &path, message, "keep one of them");
            }
            self.document.places.note(&path, self.file, line);
            return Some(());
        }
        self.count(line)?;
        let value = if style == ScalarStyle::Plain { resolve(text) } else { Value::String(text.to_owned()) };
        self.note_item(line);
        if self.open.is_empty() {
            self.document.places.note("", self.file, line);
        }
        self.put(value);
        Some(())
    }

    fn begin(&mut self, content: Content, line: usize) -> Option<()> {
        self.count(line)?;
        if matches!(self.open.last(), Some(Open { content: Content::Map { key: None, .. }, .. })) {
            self.refuse(line, code::KEY_NOT_TEXT, "a list or a map cannot be a key", "keys are text")?;
        }
        if self.open.len() >= DEPTH_MAX {
            let message = format!("maps and lists lie more than {DEPTH_MAX} deep in each other");
            self.refuse(line, code::TOO_DEEP, &message, "")?;
        }
        self.note_item(line);
        let field = self.field();
        if field.is_empty() {
            self.document.places.note("", self.file, line);
        }
        self.open.push(Open { field, content });
        Some(())
    }

    fn end(&mut self) {
        match self.open.pop().map(|open| open.content) {
            Some(Content::List(items)) => self.put(Value::Array(items)),
            Some(Content::Map { entries, .. }) => self.put(Value::Object(entries)),
            None => {}
        }
    }

    fn put(&mut self, value: Value) {
        match self.open.last_mut().map(|open| &mut open.content) {
            Some(Content::List(items)) => items.push(value),
            Some(Content::Map { entries, key }) => {
                if let Some(Key { text, doubled: false }) = key.take() {
                    entries.insert(text, value);
                }
            }
            None => self.root = value,
        }
    }

    /// The path of the value that comes next.
    fn field(&self) -> String {
        match self.open.last() {
            Some(Open { field, content: Content::List(items) }) => item(field, items.len()),
            Some(Open { field, content: Content::Map { key: Some(key), .. } }) => below(field, &key.text),
            Some(open) => open.field.clone(),
            None => String::new(),
        }
    }

    fn note_item(&mut self, line: usize) {
        if matches!(self.open.last(), Some(Open { content: Content::List(_), .. })) {
            self.document.places.note(&self.field(), self.file, line);
        }
    }

    fn count(&mut self, line: usize) -> Option<()> {
        self.document.count(self.file, line).then_some(())
    }

    fn refuse(&mut self, line: usize, code: &'static str, message: &str, allowed: &str) -> Option<()> {
        let field = self.field();
        self.fault(line, code, &field, message, allowed);
        None
    }

    fn fault(&mut self, line: usize, code: &'static str, field: &str, message: impl Into<String>, allowed: &str) {
        self.document.fault(self.file, line, code, field, message, allowed);
    }
}

/// A scalar without quotes by YAML 1.2's core schema; `yes`, `no` and `on` are text.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    number(text).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(Value::from);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return u64::from_str_radix(octal, 8).ok().map(Value::from);
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        return unsigned.parse::<u64>().map(Value::from).or_else(|_| unsigned.parse::<i64>().map(Value::from)).ok();
    }
    let is_float = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if is_float {
        text.parse::<f64>().ok().and_then(|n| serde_json::Number::from_f64(n).map(Value::Number))
    } else {
        None
    }
}
