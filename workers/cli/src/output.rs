//! Results on stdout, in the form that was asked for. Whatever is for the eye only goes to stderr, elsewhere.

pub mod clean;
pub mod people;
pub mod table;
mod yaml;

use std::io::{self, Write};

use serde_json::Value;

use crate::args::verbs::Form;

/// `table` makes the text for people, and is called for nothing else.
pub fn print(form: Form, value: &Value, table: impl FnOnce() -> String) -> io::Result<()> {
    let text = match form {
        Form::Table => table(),
        Form::Json => serde_json::to_string_pretty(value)? + "\n",
        Form::Yaml => yaml::text(value)?,
    };
    write(&text)
}

/// A reader that has had enough, such as `head`, is no fault.
pub fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
