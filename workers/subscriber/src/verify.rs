//! Whether a target is still what was extracted there, by the site's own records, and whether the site's store is whole. It
//! needs neither the service nor a running subscriber, and changes nothing unless it is told to drop what is damaged.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use package::tree::{Drift, TreeError, drift};

use crate::store::check::{Checked, check};
use crate::store::{STORE_FOLDER, StoreError};
use crate::target;

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("{path} cannot be read: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Of each distribution that the site's store has, what of it is damaged. With `drop_damaged` that goes, so that it is fetched
/// again. `seen` hears of bytes that were read.
pub fn verify_store(work_dir: &Path, drop_damaged: bool, seen: &dyn Fn(u64)) -> Result<Vec<Checked>, VerifyError> {
    Ok(check(&work_dir.join(STORE_FOLDER), drop_damaged, seen)?)
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
