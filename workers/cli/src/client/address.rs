//! How client verbs find the service: a file in its data directory, for the same user only; or an address and a token.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::args::verbs::ClientArgs;

/// In the working directory; of `up` and of the client verbs.
pub const DATA_DEFAULT: &str = "tidegate-data";
const FILE: &str = "api.json";
const FILE_BYTES_MAX: u64 = 64 << 10;
const TOKEN_BYTES: usize = 32;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiFile {
    /// `http://127.0.0.1:7410`
    pub url: String,
    pub token: String,
}

impl fmt::Debug for ApiFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiFile").field("url", &self.url).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    #[error(
        "no service has its data in {}: there is no {FILE}\n  Start one with `tidegate up{}`, or name another by --data DIR or --api URL.",
        .data.display(), for_up(.data)
    )]
    Absent { data: PathBuf },
    #[error("{} cannot be read: {reason}", .path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{} may be read by others (mode {mode:o}) and holds a token; make it yours alone: chmod 600", .path.display())]
    Open { path: PathBuf, mode: u32 },
    #[error("{reason}")]
    Unusable { reason: String },
}

fn for_up(data: &Path) -> String {
    if data == Path::new(DATA_DEFAULT) { String::new() } else { format!(" --data {}", data.display()) }
}

impl ApiFile {
    /// Whole or not at all, and readable by its owner alone.
    pub fn write(&self, data: &Path) -> io::Result<()> {
        let staged = data.join(format!(".{FILE}.{}", std::process::id()));
        let written = self.write_to(&staged).and_then(|()| fs::rename(&staged, data.join(FILE)));
        if written.is_err() {
            let _ = fs::remove_file(&staged);
        }
        written
    }

    fn write_to(&self, path: &Path) -> io::Result<()> {
        let _ = fs::remove_file(path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    }

    pub fn read(data: &Path) -> Result<ApiFile, AddressError> {
        let path = data.join(FILE);
        let text = match private_text(&path) {
            Err(AddressError::Absent { .. }) => return Err(AddressError::Absent { data: data.to_owned() }),
            text => text?,
        };
        serde_json::from_str(&text).map_err(|e| AddressError::Unreadable { path, reason: e.to_string() })
    }

    /// At the end of the service; a file that is gone already is none of its worries.
    pub fn remove(data: &Path) {
        let _ = fs::remove_file(data.join(FILE));
    }

    /// From flags and variables, else from the data directory.
    pub fn find(args: &ClientArgs) -> Result<ApiFile, AddressError> {
        let Some(url) = &args.api else {
            let data = args.data.clone().unwrap_or_else(|| PathBuf::from(DATA_DEFAULT));
            return ApiFile::read(&data);
        };
        let url = url.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") {
            let reason = format!("--api {url}: an address such as http://127.0.0.1:7410 is needed");
            return Err(AddressError::Unusable { reason });
        }
        Ok(ApiFile { url, token: token(args)? })
    }
}

fn token(args: &ClientArgs) -> Result<String, AddressError> {
    if let Some(token) = &args.token {
        return Ok(token.trim().to_owned());
    }
    if let Some(path) = &args.token_file {
        return Ok(private_text(path)?.trim().to_owned());
    }
    let Some(data) = &args.data else {
        let reason = "--api needs the service's token too: TIDEGATE_TOKEN, or --token-file FILE".to_owned();
        return Err(AddressError::Unusable { reason });
    };
    Ok(ApiFile::read(data)?.token)
}

/// A file with a secret: refused if others may read it.
fn private_text(path: &Path) -> Result<String, AddressError> {
    let unreadable = |e: io::Error| AddressError::Unreadable { path: path.to_owned(), reason: e.to_string() };
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(AddressError::Absent { data: path.parent().unwrap_or(path).to_owned() });
        }
        file => file.map_err(unreadable)?,
    };
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(AddressError::Open { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// 32 random bytes, in hexadecimal.
pub fn new_token() -> anyhow::Result<String> {
    let mut bytes = [0u8; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("no random bytes for a token: {e}"))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file() -> ApiFile {
        ApiFile { url: "http://127.0.0.1:7410".into(), token: new_token().unwrap() }
    }

    #[test]
    fn the_file_is_its_owners_alone_and_reads_back() {
        let data = tempfile::tempdir().unwrap();
        let (first, second) = (file(), file());
        first.write(data.path()).unwrap();
        second.write(data.path()).unwrap();
        assert_eq!(ApiFile::read(data.path()).unwrap(), second);
        let path = data.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1, "nothing else is left there");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(ApiFile::read(data.path()), Err(AddressError::Open { mode: 0o644, .. })));
        ApiFile::remove(data.path());
        assert!(matches!(ApiFile::read(data.path()), Err(AddressError::Absent { .. })));
    }

    #[test]
    fn tokens_differ_and_are_never_shown() {
        let api = file();
        assert_eq!(api.token.len(), 64);
        assert_ne!(api.token, file().token);
        assert!(!format!("{api:?}").contains(&api.token));
    }

    #[test]
    fn an_address_needs_its_token() {
        let args = ClientArgs { api: Some("http://127.0.0.1:1/".into()), ..ClientArgs::default() };
        assert!(matches!(ApiFile::find(&args), Err(AddressError::Unusable { .. })));
        let args = ClientArgs { token: Some("t\n".into()), ..args };
        assert_eq!(ApiFile::find(&args).unwrap(), ApiFile { url: "http://127.0.0.1:1".into(), token: "t".into() });
        let args = ClientArgs { api: Some("paris".into()), ..args };
        assert!(matches!(ApiFile::find(&args), Err(AddressError::Unusable { .. })));
    }
}
