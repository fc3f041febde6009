//! Headers, indexes and patches: whole files, verified when they come and when they are read. It knows nothing of their
//! content.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use blobs::calls::Calls;
use blobs::{Key, ObjectKind, atomic};
use bytes::Bytes;
use schemas::{Digest, StoreId};

use super::calls::Disk;
use super::{Store, StoreError, UNFINISHED};

impl Store {
    pub fn put_header(&self, store: StoreId, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        self.put_object(&Key::header(store, digest), bytes)
    }

    pub fn put_index(&self, store: StoreId, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        self.put_object(&Key::index(store, digest), bytes)
    }

    pub fn header(&self, store: StoreId, digest: Digest) -> Result<Option<Bytes>, StoreError> {
        self.object(&Key::header(store, digest))
    }

    pub fn index(&self, store: StoreId, digest: Digest) -> Result<Option<Bytes>, StoreError> {
        self.object(&Key::index(store, digest))
    }

    /// All but packs; a pack is held frame by frame.
    pub fn holds(&self, key: &Key) -> bool {
        key.kind != ObjectKind::Pack && self.path(key).exists()
    }

    /// Digests of the indexes held of a distribution.
    pub fn indexes(&self, store: StoreId) -> Result<Vec<Digest>, StoreError> {
        let folder = self.root.join(store.to_string()).join(ObjectKind::Index.folder());
        Ok(names_in(&folder)?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Durable when it returns.
    pub(crate) fn put_object(&self, key: &Key, bytes: &[u8]) -> Result<(), StoreError> {
        if !is_what_its_name_says(key, bytes) {
            return Err(StoreError::Damaged { key: *key, bytes: bytes.len() });
        }
        let path = self.path(key);
        if length(&path)? != Some(bytes.len() as u64) || self.object(key)?.is_none() {
            self.make_folders(key)?;
            atomic::write_whole(&Disk, &self.root.join(UNFINISHED), &path, bytes).map_err(StoreError::io(&path))?;
            if key.kind == ObjectKind::Header {
                self.header_changed();
            }
        }
        if key.kind == ObjectKind::Index {
            self.index_was_put();
        }
        Ok(())
    }

    /// Its revision is not held any more.
    pub fn drop_index(&self, store: StoreId, digest: Digest) -> Result<(), StoreError> {
        remove(&self.path(&Key::index(store, digest)))
    }

    /// What is not what its name says is removed, so that it is fetched again.
    pub(crate) fn object(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let path = self.path(key);
        let bytes = match fs::read(&path) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(StoreError::io(&path))?,
        };
        if is_what_its_name_says(key, &bytes) {
            return Ok(Some(bytes.into()));
        }
        tracing::warn!(%key, bytes = bytes.len(), "damaged in the store; it will be fetched again");
        remove(&path)?;
        if key.kind == ObjectKind::Header {
            self.header_changed();
        }
        Ok(None)
    }
}

/// A patch's name is not the digest of its bytes, which therefore carry their own.
pub(super) fn is_what_its_name_says(key: &Key, bytes: &[u8]) -> bool {
    match key.kind {
        ObjectKind::Patch => package::patch::verify(&key.digest, bytes).is_ok(),
        _ => Digest::of(bytes) == key.digest,
    }
}

pub(super) fn names_in(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(StoreError::io(folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(StoreError::io(folder))?.file_name().into_string());
    }
    Ok(names)
}

pub(super) fn length(path: &Path) -> Result<Option<u64>, StoreError> {
    match fs::metadata(path) {
        Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(None),
        metadata => Ok(Some(metadata.map_err(StoreError::io(path))?.len())),
    }
}

/// Of a file that may be absent.
pub(super) fn file_bytes(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(0),
        metadata => Ok(metadata?.len()),
    }
}

pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match Disk.remove(path) {
        Err(fault) if fault.kind() != ErrorKind::NotFound => Err(StoreError::io(path)(fault)),
        _ => Ok(()),
    }
}

/// A header must not come back without what it names, which may go next: that it is gone is durable when this returns.
pub(super) fn remove_header(path: &Path) -> Result<(), StoreError> {
    remove(path)?;
    let Some(folder) = path.parent().filter(|folder| folder.is_dir()) else { return Ok(()) };
    Disk.sync_directory(folder).map_err(StoreError::io(folder))
}
