//! One text as values and places. It knows no field: only maps, lists and scalars.

use serde_json::Value;

use super::error::{Findings, code};
use super::limits::{FILE_BYTES_MAX, NODES_MAX};
use super::places::Places;
use super::{toml, yaml};

/// A file's values, as far as it could be read, with the faults of its form.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub value: Value,
    pub places: Places,
    pub findings: Findings,
    pub nodes: usize,
}

impl Document {
    /// TOML if the name ends in `.toml`, else YAML, of which JSON is a part.
    pub fn read(name: &str, text: &str, nodes_before: usize) -> Document {
        let mut document = Document { nodes: nodes_before, ..Document::default() };
        if text.len() > FILE_BYTES_MAX {
            let message = format!("a file of {} bytes; at most {FILE_BYTES_MAX} are read", text.len());
            document.fault(name, 0, code::FILE_TOO_LARGE, "", message, "split it into several files");
            return document;
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // A NUL would end the reading for some readers: what follows it would count for nothing, and nobody would know.
        if let Some(at) = text.find(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            let line = text[..at].matches('\n').count() + 1;
            let message = "there is a control character in this line";
            document.fault(name, line, code::CONTROL_CHARACTER, "", message, "write the file without it");
            return document;
        }
        match name.ends_with(".toml") {
            true => toml::read(name, text, &mut document),
            false => yaml::read(name, text, &mut document),
        }
        document
    }

    pub fn fault(
        &mut self,
        file: &str,
        line: usize,
        code: &'static str,
        field: &str,
        message: impl Into<String>,
        allowed: impl Into<String>,
    ) {
        let mut here = Places::default();
        here.note(field, file, line);
        self.findings.add(&here, code, field, message, allowed);
    }

    /// Counts one more value; false once there are too many, which is told.
    pub fn count(&mut self, file: &str, line: usize) -> bool {
        self.nodes += 1;
        if self.nodes == NODES_MAX + 1 {
            let message = format!("more than {NODES_MAX} values in all files together");
            self.fault(file, line, code::TOO_MANY_VALUES, "", message, "apply them in several steps");
        }
        self.nodes <= NODES_MAX
    }
}
