//! The configuration file: which one, and whether it may hold what it holds. It knows no key but those of secrets.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};

use super::error::ConfigError;
use super::secret::Secret;

const DEFAULT: &str = "tidegate.toml";
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The permission of everybody else to read.
const OTHERS_READ: u32 = 0o004;
/// Addresses, which are secret as far as they hold a password, and secrets.
const ADDRESSES: [&str; 2] = ["database", "broker"];
const SECRETS: [&str; 3] = ["s3_access_key", "s3_secret_key", "api.token"];

/// Whether a value of this key may never be shown.
pub fn is_secret(key: &str) -> bool {
    ADDRESSES.contains(&key) || SECRETS.iter().any(|secret| key == *secret || key.starts_with(&format!("{secret}.")))
}

/// The file that is read, if any: one that was named must exist.
pub fn choose(named: Option<&Path>) -> Option<PathBuf> {
    let default = || Path::new(DEFAULT).exists().then(|| PathBuf::from(DEFAULT));
    named.map(Path::to_owned).or_else(default)
}

pub fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let reason = format!("more than {FILE_BYTES_MAX} bytes");
        return Err(ConfigError::Malformed { path: path.to_owned(), reason });
    }
    Ok(text)
}

/// A secret in a file that everybody may read is none.
pub fn refuse_open_secrets(path: &Path, text: &str) -> Result<(), ConfigError> {
    let parsed: Dict = Figment::from(Toml::string(text))
        .extract()
        .map_err(|error| ConfigError::malformed(path, &error.kind.to_string()))?;
    let about = fs::metadata(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    if about.permissions().mode() & OTHERS_READ == 0 {
        return Ok(());
    }
    match first_secret(&parsed, "") {
        Some(key) => Err(ConfigError::SecretExposed { path: path.to_owned(), key }),
        None => Ok(()),
    }
}

fn first_secret(dict: &Dict, above: &str) -> Option<String> {
    dict.iter().find_map(|(name, value)| {
        let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match value {
            Value::Dict(_, inner) => first_secret(inner, &key),
            Value::String(_, text) if ADDRESSES.contains(&key.as_str()) => {
                Secret::new(text.as_str()).holds_password().then_some(key)
            }
            Value::String(..) if SECRETS.contains(&key.as_str()) => Some(key),
            _ => None,
        }
    })
}
