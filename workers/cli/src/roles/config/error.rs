//! What is wrong with the configuration, and where. It never repeats a secret's value.

use std::path::{Path, PathBuf};

use figment::error::Kind;

use super::file::is_secret;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}: {source}", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}: {reason}", path = path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error("{path} holds {key} and everybody on this machine can read it; run: chmod o-rwx {path}", path = path.display())]
    SecretExposed { path: PathBuf, key: String },
    #[error("{origin}: unknown key `{key}`; allowed here: {allowed}")]
    UnknownKey { origin: String, key: String, allowed: String },
    #[error("{origin}: {key} {reason}")]
    Value { origin: String, key: String, reason: String },
    #[error("this role needs `{key}`: set {flag}, {variable}, or `{key}` in tidegate.toml")]
    Missing { key: &'static str, flag: &'static str, variable: &'static str },
}

impl ConfigError {
    pub fn code(&self) -> &'static str {
        match self {
            ConfigError::Unreadable { .. } => "config-unreadable",
            ConfigError::Malformed { .. } => "config-malformed",
            ConfigError::SecretExposed { .. } => "config-secret-exposed",
            ConfigError::UnknownKey { .. } => "config-unknown-key",
            ConfigError::Value { .. } => "config-value",
            ConfigError::Missing { .. } => "config-missing",
        }
    }

    pub(super) fn of(error: figment::Error, file: Option<&Path>) -> ConfigError {
        let key = error.path.join(".");
        let origin = origin(file);
        match error.kind {
            Kind::UnknownField(field, allowed) => {
                let key = if key.is_empty() || key.ends_with(&field) { field } else { format!("{key}.{field}") };
                ConfigError::UnknownKey { origin, key, allowed: allowed.join(", ") }
            }
            // The kind's own words would repeat the value.
            Kind::InvalidType(_, expected) if is_secret(&key) => {
                ConfigError::Value { origin, key, reason: format!("must be {expected}") }
            }
            _ if is_secret(&key) => ConfigError::Value { origin, key, reason: "is not valid".to_owned() },
            kind => ConfigError::Value { origin, key, reason: format!("is not valid: {kind}") },
        }
    }

    pub(super) fn flags(error: &serde_json::Error) -> ConfigError {
        ConfigError::Value { origin: "flags".to_owned(), key: String::new(), reason: error.to_string() }
    }

    /// A parser's message shows the line that it failed on, which may hold a secret: only place and reason are kept.
    pub(super) fn malformed(path: &Path, message: &str) -> ConfigError {
        let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let reason = match lines.as_slice() {
            [first, .., last] => format!("{first}: {last}"),
            [only] => (*only).to_owned(),
            [] => "not TOML".to_owned(),
        };
        ConfigError::Malformed { path: path.to_owned(), reason }
    }

    pub(super) fn half(a: &str, b: &str, file: Option<&Path>) -> ConfigError {
        let reason = format!("and {b} are set together or not at all");
        ConfigError::Value { origin: origin(file), key: a.to_owned(), reason }
    }
}

fn origin(file: Option<&Path>) -> String {
    file.map_or_else(|| "flags".to_owned(), |path| path.display().to_string())
}
