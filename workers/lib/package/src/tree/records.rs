//! The folder in which a target's records are kept: small files, each replaced whole. It knows not what they mean.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::calls;
use super::error::TreeError;

/// Largest file read as one record, in bytes: stamps of four million files are 128 MB.
const RECORD_BYTES_MAX: u64 = 1 << 30;

/// The record of a target: of which version, and of which target.
pub(super) trait Stated: DeserializeOwned {
    const SCHEMA: u32;
    fn schema(&self) -> u32;
    fn target(&self) -> &str;
}

#[derive(Debug)]
pub(super) struct Records {
    folder: PathBuf,
}

impl Records {
    pub fn open(folder: &Path) -> Result<Records, TreeError> {
        fs::create_dir_all(folder).map_err(|error| TreeError::of_io("make", folder.to_string_lossy(), &error))?;
        Ok(Records { folder: folder.into() })
    }

    pub fn at(folder: &Path) -> Records {
        Records { folder: folder.into() }
    }

    pub fn has(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }

    /// None if it is missing or cannot be read.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.folder.join(name);
        let small = fs::metadata(&path).is_ok_and(|meta| meta.len() <= RECORD_BYTES_MAX);
        small.then(|| fs::read(path).ok()).flatten()
    }

    /// A damaged record of state is an error: what it said cannot be guessed.
    pub fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, TreeError> {
        let path = self.folder.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TreeError::of_io("read", path.to_string_lossy(), &error)),
        };
        let damaged = |why: String| TreeError::RecordDamaged { path: path.to_string_lossy().into(), why };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(error.to_string()))
    }

    /// As `load`, for the record of a target: one of another version or of another target is not read as this one's.
    pub fn load_state<T: Stated>(&self, name: &str, target: &str) -> Result<Option<T>, TreeError> {
        let Some(state) = self.load::<T>(name)? else { return Ok(None) };
        let (found, known) = (state.schema(), T::SCHEMA);
        let why = match () {
            () if found != known => format!("it has version {found}, and this program reads {known}"),
            () if state.target() != target => format!("it belongs to the target `{}`", state.target()),
            () => return Ok(Some(state)),
        };
        Err(TreeError::RecordDamaged { path: name.into(), why })
    }

    pub fn save<T: Serialize>(&self, name: &str, value: &T) -> Result<(), TreeError> {
        let bytes = serde_json::to_vec(value).map_err(|error| TreeError::RecordDamaged {
            path: self.folder.join(name).to_string_lossy().into(),
            why: error.to_string(),
        })?;
        self.write(name, &bytes)
    }

    /// On disk, whole, under its name, when this returns.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TreeError> {
        let path = self.folder.join(name);
        self.write_through(&path, bytes).map_err(|error| TreeError::of_io("write", path.to_string_lossy(), &error))
    }

    fn write_through(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let fresh = path.with_extension("new");
        let file = calls::create(CWD, &fresh, OFlags::TRUNC, Mode::from_raw_mode(0o644))?;
        let mut at = 0;
        while at < bytes.len() {
            at += calls::pwrite(&file, &bytes[at..], at as u64)?;
        }
        calls::fsync(&file)?;
        calls::renameat_with(CWD, &fresh, CWD, path, RenameFlags::empty())?;
        Ok(calls::fsync(File::open(&self.folder)?)?)
    }

    /// Removes the records that begin with one of `kinds` and are not in `kept`.
    pub fn sweep(&self, kinds: &[&str], kept: &[&str]) -> Result<(), TreeError> {
        let failed = |error| TreeError::of_io("sweep", self.folder.to_string_lossy(), &error);
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(text) = name.to_str() else { continue };
            if kinds.iter().any(|kind| text.starts_with(kind)) && !kept.contains(&text) {
                calls::unlinkat(CWD, self.folder.join(&name).as_path(), AtFlags::empty())
                    .map_err(|errno| failed(errno.into()))?;
            }
        }
        Ok(())
    }
}
