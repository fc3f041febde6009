//! One file of the copy gets a new line, so that there is something to send again.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::DemoError;
use super::walk::walk;

const LINE: &str = "\nThis line was added by `tidegate demo`.\n";

pub struct Change {
    /// As people name it, below the source.
    pub path: String,
    pub bytes_added: u64,
}

/// Changes the largest file: there a delta shows best.
pub fn change(root: &Path) -> Result<Change, DemoError> {
    let mut largest: Option<(u64, PathBuf)> = None;
    walk(root, |found| {
        let bytes = found.about.len();
        if found.about.is_file() && largest.as_ref().is_none_or(|(most, _)| bytes > *most) {
            largest = Some((bytes, found.path));
        }
        Ok(true)
    })?;
    let Some((_, path)) = largest else { return Err(DemoError::NoFiles { path: root.to_owned() }) };
    append(&root.join(&path))?;
    Ok(Change { path: path.display().to_string(), bytes_added: LINE.len() as u64 })
}

fn append(path: &Path) -> Result<(), DemoError> {
    let failed = |source| DemoError::File { path: path.to_owned(), source };
    let kept = fs::metadata(path).map_err(failed)?.permissions();
    // The copy is the demo's own, but it may have come read-only.
    fs::set_permissions(path, fs::Permissions::from_mode(kept.mode() | 0o200)).map_err(failed)?;
    let mut file = OpenOptions::new().append(true).open(path).map_err(failed)?;
    file.write_all(LINE.as_bytes()).map_err(failed)?;
    fs::set_permissions(path, kept).map_err(failed)
}
