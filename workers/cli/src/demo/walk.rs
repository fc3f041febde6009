//! A tree, entry by entry in a fixed order, without following links. It knows nothing of what is done with them.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use super::error::DemoError;

pub struct Found {
    /// Below the root.
    pub path: PathBuf,
    pub about: Metadata,
}

/// Calls `each` for every entry below `root`, a directory before what is in it; `false` from a directory's call passes it by.
pub fn walk(root: &Path, mut each: impl FnMut(Found) -> Result<bool, DemoError>) -> Result<(), DemoError> {
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        let shown = root.join(&folder);
        let failed = |source| DemoError::File { path: shown.clone(), source };
        let entries: Result<Vec<_>, _> = fs::read_dir(&shown).map_err(failed)?.collect();
        let mut names: Vec<_> = entries.map_err(failed)?.into_iter().map(|entry| entry.file_name()).collect();
        names.sort();
        let mut folders = Vec::new();
        for name in names {
            let path = folder.join(name);
            let about = root.join(&path).symlink_metadata();
            let about = about.map_err(|source| DemoError::File { path: root.join(&path), source })?;
            let is_folder = about.is_dir();
            if each(Found { path: path.clone(), about })? && is_folder {
                folders.push(path);
            }
        }
        open.extend(folders.into_iter().rev());
    }
    Ok(())
}
