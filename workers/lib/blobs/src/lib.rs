//! Immutable objects by key: one trait, its implementations (disk, S3, a relay's server), and wrappers around them.
//! It knows nothing of what an object holds.

pub mod atomic;
mod body;
pub mod calls;
pub mod disk;
mod hex;
mod limited;
mod pace;
mod patient;
pub mod pieces;
mod queueing;
pub mod relay;
pub mod replay;
mod resumed;
pub mod retrying;
#[cfg(feature = "s3")]
pub mod s3;
mod shared;
pub mod signed;
pub mod site_key;
pub mod span;
pub mod wire;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use schemas::{Digest, StoreId};

pub use body::TransferLimits;
pub use disk::DiskBlobs;
pub use limited::Limited;
pub use pace::Pace;
pub use patient::Patient;
pub use pieces::{Cutter, Extent, Pieces};
pub use queueing::{BUSY_MAX, Queueing};
pub use relay::{RelayBlobs, RelayConfig, RelayError};
pub use retrying::{RetryPolicy, Retrying};
#[cfg(feature = "s3")]
pub use s3::{BucketError, Checksums, S3Blobs, S3Config, S3Credentials};
pub use site_key::{PublicKey, SiteKey, SiteKeyError};

/// What can be read by key: the origin, a relay, a replicated bucket or prepared media.
#[async_trait]
pub trait ReadBlobs: Send + Sync + 'static {
    /// `origin`, or the name of the subscriber that serves: what results call it.
    fn name(&self) -> &str;

    /// Length in bytes, `None` if absent.
    async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError>;

    /// Exactly the bytes of the extent, in pieces as they come, or up to a fault.
    fn read(&self, key: &Key, extent: Extent) -> Pieces<'_>;

    /// The whole object; an object above `bytes_max` is refused without reading it to its end.
    async fn get(&self, key: &Key, bytes_max: u64) -> Result<Bytes, BlobError> {
        pieces::joined(self.read(key, Extent::Whole { bytes_max })).await
    }

    /// Parts of one object, in the order asked for, each exactly as long as asked for. Ranges are not empty.
    async fn get_ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, BlobError> {
        match self.get_parts(key, ranges).await {
            (parts, None) => Ok(parts),
            (_, Some(fault)) => Err(fault),
        }
    }

    /// The same, up to a fault.
    async fn get_parts(&self, key: &Key, ranges: &[Range<u64>]) -> (Vec<Bytes>, Option<BlobError>) {
        let mut cutter = Cutter::new(ranges.iter().map(|range| range.end.saturating_sub(range.start)));
        let mut pieces = self.read(key, Extent::Ranges(ranges.to_vec()));
        let mut parts = Vec::with_capacity(ranges.len());
        loop {
            match pieces.try_next().await {
                Ok(Some(piece)) => parts.extend(cutter.take(piece)),
                Ok(None) => return (parts, None),
                Err(fault) => return (parts, Some(fault)),
            }
        }
    }
}

/// What builders write to.
#[async_trait]
pub trait Blobs: ReadBlobs {
    /// Durable when it returns; an object is visible whole or not at all. Putting what is there already is no error,
    /// and replaces it.
    async fn put(&self, key: &Key, body: Bytes) -> Result<(), BlobError>;

    /// No error if it is absent.
    async fn delete(&self, key: &Key) -> Result<(), BlobError>;

    /// All objects of a distribution, sorted by key.
    async fn list(&self, store: StoreId) -> Result<Vec<(Key, u64)>, BlobError>;

    /// The distributions that have a folder here, sorted.
    async fn stores(&self) -> Result<Vec<StoreId>, BlobError>;
}

/// The name of an object: its distribution's folder, what it is, and its digest; a patch's digest is that of its name,
/// which follows from what it is between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub store: StoreId,
    pub kind: ObjectKind,
    pub digest: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    Header,
    Index,
    Pack,
    Patch,
}

impl ObjectKind {
    pub const ALL: [ObjectKind; 4] = [ObjectKind::Header, ObjectKind::Index, ObjectKind::Pack, ObjectKind::Patch];

    pub fn folder(self) -> &'static str {
        match self {
            ObjectKind::Header => "headers",
            ObjectKind::Index => "indexes",
            ObjectKind::Pack => "packs",
            ObjectKind::Patch => "patches",
        }
    }
}

impl Key {
    pub fn header(store: StoreId, digest: Digest) -> Key {
        Key { store, kind: ObjectKind::Header, digest }
    }

    pub fn index(store: StoreId, digest: Digest) -> Key {
        Key { store, kind: ObjectKind::Index, digest }
    }

    pub fn pack(store: StoreId, digest: Digest) -> Key {
        Key { store, kind: ObjectKind::Pack, digest }
    }

    pub fn patch(store: StoreId, digest: Digest) -> Key {
        Key { store, kind: ObjectKind::Patch, digest }
    }

    /// Reads what `Display` writes; anything else is `None`, so that a key from outside never becomes a path.
    pub fn parse(text: &str) -> Option<Key> {
        let mut parts = text.split('/');
        let store: StoreId = parts.next()?.parse().ok()?;
        let folder = parts.next()?;
        let kind = ObjectKind::ALL.into_iter().find(|kind| kind.folder() == folder)?;
        let digest: Digest = parts.next()?.parse().ok()?;
        let key = Key { store, kind, digest };
        (parts.next().is_none() && key.to_string() == text).then_some(key)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.store, self.kind.folder(), self.digest)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    #[error("{key} is not at {source_name}")]
    Absent { key: Key, source_name: String },
    #[error("{key} at {source_name} is {bytes} bytes; {bytes_max} expected at most")]
    TooLarge { key: Key, source_name: String, bytes: u64, bytes_max: u64 },
    #[error("{source_name} refused {key}: {reason}")]
    Refused { key: Key, source_name: String, reason: String },
    #[error("{source_name} failed on {key}: {reason}")]
    Transient { key: Key, source_name: String, reason: String },
    /// It has as much to do as it may: the same source is to be asked again, not the next one.
    #[error("{source_name} is busy; {key} is to be asked for again in {} s", .again_after.as_secs())]
    Busy { key: Key, source_name: String, again_after: Duration },
    /// What is there has another length than it must have.
    #[error("{key} at {source_name} is damaged: {reason}")]
    Damaged { key: Key, source_name: String, reason: String },
    #[error("{source_name} cannot serve or hold {key}: {reason}")]
    Permanent { key: Key, source_name: String, reason: String },
}

impl BlobError {
    /// Worth another try at the same source.
    pub fn is_transient(&self) -> bool {
        matches!(self, BlobError::Transient { .. })
    }
}
