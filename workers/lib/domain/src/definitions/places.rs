//! Where each field of a definition was written.

use std::collections::HashMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    /// From 1.
    pub line: usize,
}

/// From a field's path (`channels.protect.subscriptions[2].group`) to its place.
#[derive(Debug, Clone, Default)]
pub struct Places {
    by_field: HashMap<String, Place>,
}

impl Places {
    /// The place of the field, or of the nearest field around it.
    pub fn of(&self, field: &str) -> Option<&Place> {
        let mut field = field;
        loop {
            if let Some(place) = self.by_field.get(field) {
                return Some(place);
            }
            field = &field[..field.rfind(['.', '['])?];
        }
    }

    pub(super) fn exactly(&self, field: &str) -> Option<&Place> {
        self.by_field.get(field)
    }

    /// The first place of a field stays.
    pub(super) fn note(&mut self, field: &str, file: &str, line: usize) {
        self.by_field.entry(field.to_owned()).or_insert_with(|| Place { file: file.to_owned(), line });
    }

    pub(super) fn take_in(&mut self, other: Places) {
        for (field, place) in other.by_field {
            self.by_field.entry(field).or_insert(place);
        }
    }
}

/// A field below another; the root is the empty path.
pub(super) fn below(field: &str, key: &str) -> String {
    if field.is_empty() { key.to_owned() } else { format!("{field}.{key}") }
}

pub(super) fn item(field: &str, index: usize) -> String {
    format!("{field}[{index}]")
}
