//! Whether a target is still what was extracted there, by the site's own records. It needs neither the service nor a
//! running subscriber, and changes nothing.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use package::tree::{Drift, TreeError, drift};

use crate::target;

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("{path} cannot be read: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// What has drifted, of each distribution that has this target: one, or none if nothing was extracted there, or more if the
/// target went from one to another.
pub fn verify(work_dir: &Path, target: &Path) -> Result<Vec<Drift>, VerifyError> {
    let trees = target::trees_dir(work_dir);
    let failed = |source| VerifyError::Io { path: trees.clone(), source };
    let stores = match fs::read_dir(&trees) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        read => read.map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?,
    };
    let mut found = Vec::new();
    for store in stores {
        let records = store.path().join(target::folder_name(target));
        if records.is_dir() {
            found.extend(drift(target, &records)?);
        }
    }
    Ok(found)
}
