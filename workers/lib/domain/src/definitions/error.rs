//! What is wrong in a definition, where, and what is allowed instead.

use std::fmt;

use serde::Serialize;

use super::places::Places;

/// The stable codes.
pub mod code {
    pub const TOO_MANY_FILES: &str = "too-many-files";
    pub const FILE_TOO_LARGE: &str = "file-too-large";
    pub const TOO_DEEP: &str = "too-deep";
    pub const TOO_MANY_VALUES: &str = "too-many-values";
    pub const TOO_MANY: &str = "too-many";
    pub const YAML_MALFORMED: &str = "yaml-malformed";
    pub const YAML_ALIAS: &str = "yaml-alias";
    pub const YAML_TAG: &str = "yaml-tag";
    pub const YAML_DOCUMENTS: &str = "yaml-documents";
    pub const TOML_MALFORMED: &str = "toml-malformed";
    pub const KEY_NOT_TEXT: &str = "key-not-text";
    pub const KEY_DOUBLED: &str = "key-doubled";
    pub const OBJECT_DOUBLED: &str = "object-doubled";
    pub const SECTION_UNKNOWN: &str = "section-unknown";
    pub const FIELD_UNKNOWN: &str = "field-unknown";
    pub const FIELD_MISSING: &str = "field-missing";
    /// Known by name, and not in this version.
    pub const LATER_VERSION: &str = "later-version";
    pub const VALUE_MISSING: &str = "value-missing";
    pub const WRONG_TYPE: &str = "wrong-type";
    pub const VALUE_UNKNOWN: &str = "value-unknown";
    pub const VALUE_INVALID: &str = "value-invalid";
    pub const SUBSCRIPTION_INVALID: &str = "subscription-invalid";
    pub const OUT_OF_RANGE: &str = "out-of-range";
    pub const TEXT_TOO_LONG: &str = "text-too-long";
    pub const TEXT_EMPTY: &str = "text-empty";
    pub const CONTROL_CHARACTER: &str = "control-character";
    pub const NAME_INVALID: &str = "name-invalid";
    pub const NAME_RESERVED: &str = "name-reserved";
    pub const LABEL_INVALID: &str = "label-invalid";
    pub const SCHEDULE_UNKNOWN: &str = "schedule-unknown";
    pub const SCHEDULE_MISSING: &str = "schedule-missing";
    /// This kind of schedule goes elsewhere.
    pub const SCHEDULE_KIND_UNFIT: &str = "schedule-kind-unfit";
    pub const SCHEDULE_OPTION_UNFIT: &str = crate::schedule::code::OPTION_UNFIT;
    pub const AFTER_LOOP: &str = "after-loop";
    pub const SPAN_INVALID: &str = "span-invalid";
    pub const TIME_ZONE_UNKNOWN: &str = "time-zone-unknown";
    pub const TIME_ZONE_REQUIRED: &str = "time-zone-required";
    pub const GLOB_INVALID: &str = "glob-invalid";
    pub const PATH_INVALID: &str = "path-invalid";
    pub const VARIABLE_NAME_INVALID: &str = "variable-name-invalid";
    pub const VARIABLE_DOUBLED: &str = "variable-doubled";
    pub const LISTED_TWICE: &str = "listed-twice";
    pub const REFERENCE_UNKNOWN: &str = "reference-unknown";
    pub const PARENT_LOOP: &str = "parent-loop";
    pub const HIERARCHY_DOUBLED: &str = "hierarchy-doubled";
    pub const TARGETS_OVERLAP: &str = "targets-overlap";
    /// A sync would bring a subscriber what is made of its own files.
    pub const SYNC_TO_SOURCE: &str = "sync-to-source";
    pub const RENAME_INVALID: &str = "rename-invalid";
    pub const MORE: &str = "more-errors";
    /// Warnings.
    pub const UNKNOWN_VARIABLE: &str = "unknown-variable";
    pub const CHANNEL_EMPTY: &str = "channel-empty";
    pub const AFTER_NEVER: &str = "after-never";
    pub const SYNC_EMPTY: &str = "sync-empty";
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DefinitionError {
    /// Stable; one of `code`, or of the codes of `variables::VariableError`.
    pub code: &'static str,
    /// Empty if no file says it: the object is in effect already.
    pub file: String,
    /// From 1; 0 without a file.
    pub line: usize,
    /// `channels.protect.send`; empty for a whole file.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What is allowed, or what to do; may be empty.
    pub allowed: String,
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, &self.file, self.line, &self.field)?;
        f.write_str(&self.message)?;
        if self.allowed.is_empty() { Ok(()) } else { write!(f, "; {}", self.allowed) }
    }
}

impl std::error::Error for DefinitionError {}

/// Worth knowing, and no reason to refuse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    pub code: &'static str,
    pub file: String,
    pub line: usize,
    pub field: String,
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, &self.file, self.line, &self.field)?;
        write!(f, "warning: {}", self.message)
    }
}

fn write_place(f: &mut fmt::Formatter<'_>, file: &str, line: usize, field: &str) -> fmt::Result {
    match (file.is_empty(), line) {
        (true, _) => f.write_str("in effect: ")?,
        (false, 0) => write!(f, "{file}: ")?,
        (false, line) => write!(f, "{file}:{line}: ")?,
    }
    if field.is_empty() { Ok(()) } else { write!(f, "{field}: ") }
}

/// Gathers errors; the places are known by field.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub errors: Vec<DefinitionError>,
}

impl Findings {
    pub fn add(
        &mut self,
        places: &Places,
        code: &'static str,
        field: &str,
        message: impl Into<String>,
        allowed: impl Into<String>,
    ) {
        let (file, line) = places.of(field).map(|place| (place.file.clone(), place.line)).unwrap_or_default();
        let (field, message, allowed) = (printable(field), message.into(), allowed.into());
        self.errors.push(DefinitionError { code, file: printable(&file), line, field, message, allowed });
    }

    /// In the order of files and lines, no more than a person mends in one go.
    pub fn sorted(mut self) -> Vec<DefinitionError> {
        self.errors.sort_by(|a, b| (&a.file, a.line, &a.field, a.code).cmp(&(&b.file, b.line, &b.field, b.code)));
        self.errors.dedup();
        let beyond = self.errors.len().saturating_sub(super::limits::ERRORS_MAX);
        if beyond > 0 {
            self.errors.truncate(super::limits::ERRORS_MAX);
            let last = self.errors.last().cloned();
            self.errors.extend(last.map(|last| DefinitionError {
                code: code::MORE,
                field: String::new(),
                message: format!("{beyond} more errors are not shown"),
                allowed: String::new(),
                ..last
            }));
        }
        self.errors
    }
}

/// Somebody's text in a message: short, and with nothing that a terminal would obey.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", printable(&short))
}

pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// Control characters, and those that turn the direction of what follows.
pub(super) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
