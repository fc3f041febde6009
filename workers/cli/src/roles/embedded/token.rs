//! The token of the API, made once for a data directory and kept over restarts.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::client::address;
use crate::roles::error::RoleError;

const NAME: &str = "api.token";
const OWNER_ONLY: u32 = 0o600;

pub fn keep(data: &Path) -> Result<String, RoleError> {
    let path = data.join(NAME);
    let failed = |source| RoleError::Folder { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => fs::remove_file(&path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let token = address::new_token().map_err(|error| RoleError::ended("api", format!("{error:#}")))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(&path).map_err(failed)?;
    file.write_all(token.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_token_is_kept_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let token = keep(folder.path()).unwrap();
        assert!(token.len() >= 32);
        assert_eq!(keep(folder.path()).unwrap(), token);
        let mode = fs::metadata(folder.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
    }
}
