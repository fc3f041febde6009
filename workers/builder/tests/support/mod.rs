//! A source, a store on disk that can be told to fail, and tasks to build.
#![allow(dead_code, reason = "each test file uses its share")]

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use blobs::disk::DiskBlobs;
use blobs::{BlobError, Blobs, Extent, Key, ObjectKind, Pieces, ReadBlobs};
use builder::{Builder, Ended};
use bytes::Bytes;
use schemas::definitions::{DistributionType, FileSource};
use schemas::{BuildResult, BuildTask, DistributionName, DistributorName, RevisionRef, StoreId};
use tempfile::TempDir;
use worker::Context;

/// Writes into a store on disk, says what was written in which order, and fails where it is told to.
pub struct Watched {
    disk: DiskBlobs,
    pub puts: Mutex<Vec<Key>>,
    pub fail_at: Mutex<Option<ObjectKind>>,
    pub fail_lists: AtomicBool,
    pub lists: AtomicUsize,
    /// So many next reads of ranges fail.
    pub reads_to_fail: AtomicUsize,
    in_flight: AtomicUsize,
    pub in_flight_most: AtomicUsize,
}

fn as_told(key: &Key) -> BlobError {
    BlobError::Transient { key: *key, source_name: "origin".to_owned(), reason: "as told".to_owned() }
}

#[async_trait]
impl ReadBlobs for Watched {
    fn name(&self) -> &str {
        self.disk.name()
    }
    async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
        self.disk.size(key).await
    }
    fn read(&self, key: &Key, extent: Extent) -> Pieces<'_> {
        let told = || self.reads_to_fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match extent {
            Extent::Ranges(_) if told().is_ok() => blobs::pieces::fault(as_told(key)),
            extent => self.disk.read(key, extent),
        }
    }
}

#[async_trait]
impl Blobs for Watched {
    async fn put(&self, key: &Key, body: Bytes) -> Result<(), BlobError> {
        if *self.fail_at.lock().unwrap() == Some(key.kind) {
            return Err(as_told(key));
        }
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.in_flight_most.fetch_max(now, Ordering::SeqCst);
        let put = self.disk.put(key, body).await;
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.puts.lock().unwrap().push(*key);
        put
    }
    async fn delete(&self, key: &Key) -> Result<(), BlobError> {
        self.disk.delete(key).await
    }
    async fn list(&self, store: StoreId) -> Result<Vec<(Key, u64)>, BlobError> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        match self.fail_lists.load(Ordering::SeqCst) {
            true => Err(as_told(&Key::header(store, schemas::Digest([0; 32])))),
            false => self.disk.list(store).await,
        }
    }
    async fn stores(&self) -> Result<Vec<StoreId>, BlobError> {
        self.disk.stores().await
    }
}

pub struct Place {
    pub source: TempDir,
    pub work: TempDir,
    origin: TempDir,
    pub blobs: Arc<Watched>,
    pub store: StoreId,
}

impl Place {
    pub fn new() -> Place {
        let origin = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Watched {
            disk: DiskBlobs::open(origin.path()).unwrap(),
            puts: Mutex::default(),
            fail_at: Mutex::default(),
            fail_lists: AtomicBool::new(false),
            lists: AtomicUsize::new(0),
            reads_to_fail: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            in_flight_most: AtomicUsize::new(0),
        });
        let (source, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Place { source, work, origin, blobs, store: StoreId(uuid::Uuid::from_u128(7)) }
    }

    pub fn write(&self, below: &str, content: impl AsRef<[u8]>) -> &Place {
        let path = self.source.path().join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub fn builder(&self) -> Builder {
        Builder::new(self.blobs.clone(), Some(self.work.path().to_owned()), 2)
    }

    pub fn task(&self, number: u64, previous: Option<RevisionRef>) -> BuildTask {
        let path = self.source.path().to_str().unwrap().to_owned();
        BuildTask {
            distributor: DistributorName::try_from("hq").unwrap(),
            distribution: DistributionName::try_from("antivirus").unwrap(),
            store: self.store,
            of_type: DistributionType::File,
            number,
            sources: vec![FileSource { path, subscriber: None, into: None, include: Vec::new(), exclude: Vec::new() }],
            previous,
            earlier: Vec::new(),
            read_all: false,
            keep: Vec::new(),
            lease_s: 60,
            working_dir: None,
        }
    }

    pub async fn build(&self, number: u64, previous: Option<RevisionRef>) -> Result<BuildResult, Ended> {
        self.builder().build(&self.task(number, previous), &Context::detached()).await
    }

    pub fn damage(&self, key: Key) {
        let path = self.origin.path().join(key.to_string());
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    /// Cuts what lies there at the origin, or adds zeros to it.
    pub fn resize(&self, key: Key, bytes: u64) {
        let file = fs::File::options().write(true).open(self.origin.path().join(key.to_string())).unwrap();
        file.set_len(bytes).unwrap();
    }

    pub fn kinds_put(&self) -> Vec<ObjectKind> {
        self.blobs.puts.lock().unwrap().iter().map(|key| key.kind).collect()
    }
}

pub fn reference(result: &BuildResult) -> RevisionRef {
    let revision = result.revision.as_ref().unwrap();
    RevisionRef { number: revision.number, header: revision.header }
}

pub fn noise(seed: &str, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut out);
    out
}
