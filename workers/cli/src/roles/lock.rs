//! One process at a time on a data directory. The kernel holds the lock, so a killed process leaves none behind.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const NAME: &str = "lock";
const OWNER_ONLY: u32 = 0o700;

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{data} is in use by another tidegate (process {holder}); stop that one, or choose another directory with --data", data = data.display())]
    Held { data: PathBuf, holder: String },
    #[error("{path} cannot be locked: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

/// Held until it is dropped.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Makes the directory if it is absent, for its owner alone: database, keys and token lie in it.
    pub fn take(data: &Path) -> Result<DataLock, LockError> {
        let path = data.join(NAME);
        let failed = |source| LockError::Io { path: path.clone(), source };
        make_folder(data).map_err(failed)?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { data: data.to_owned(), holder: holder(file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        file.write_all(std::process::id().to_string().as_bytes()).map_err(failed)?;
        Ok(DataLock { _file: file })
    }
}

pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(path)
}

fn holder(file: File) -> String {
    let mut text = String::new();
    let read = file.take(20).read_to_string(&mut text);
    if read.is_ok() && !text.trim().is_empty() { text.trim().to_owned() } else { "unknown".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_on_one_directory_is_refused_and_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/b");
        let first = DataLock::take(&data).unwrap();
        let error = DataLock::take(&data).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())) && error.contains("a/b"), "{error}");
        drop(first);
        DataLock::take(&data).unwrap();
    }
}
