//! Objects as files below one directory. It knows no other writer's state: several processes may share the directory.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use schemas::{Digest, StoreId};
use uuid::Uuid;

use crate::calls::Kernel;
use crate::{BlobError, Blobs, Extent, Key, ObjectKind, Pieces, ReadBlobs, atomic, pieces, span};

/// Where objects are written before they get their names.
const UNFINISHED: &str = ".unfinished";
/// Bytes read at a time.
const PIECE_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone)]
pub struct DiskBlobs {
    folder: Arc<Folder>,
}

#[derive(Debug)]
struct Folder {
    root: PathBuf,
    name: String,
    /// Folders that are known to be durable.
    made: Mutex<HashSet<(StoreId, ObjectKind)>>,
}

impl DiskBlobs {
    /// Makes the directory if need be, and removes what dead writers left unfinished.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<DiskBlobs> {
        let root = root.into();
        atomic::sweep(&Kernel, &root.join(UNFINISHED))?;
        Ok(DiskBlobs { folder: Arc::new(Folder { root, name: "origin".to_owned(), made: Mutex::default() }) })
    }

    /// What results call it.
    pub fn named(self, name: &str) -> DiskBlobs {
        let (root, name) = (self.folder.root.clone(), name.to_owned());
        DiskBlobs { folder: Arc::new(Folder { root, name, made: Mutex::default() }) }
    }

    async fn blocking<T, F>(&self, key: Key, work: F) -> Result<T, BlobError>
    where
        T: Send + 'static,
        F: FnOnce(&Folder) -> Result<T, BlobError> + Send + 'static,
    {
        let folder = self.folder.clone();
        let ended = tokio::task::spawn_blocking(move || work(&folder)).await;
        ended.unwrap_or_else(|fault| {
            let source_name = self.folder.name.clone();
            Err(BlobError::Transient { key, source_name, reason: fault.to_string() })
        })
    }
}

#[async_trait]
impl ReadBlobs for DiskBlobs {
    fn name(&self) -> &str {
        &self.folder.name
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
        let key = *key;
        self.blocking(key, move |folder| match fs::metadata(folder.path(&key)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(None),
            Err(fault) => Err(folder.fault(key, fault)),
        })
        .await
    }

    fn read(&self, key: &Key, extent: Extent) -> Pieces<'_> {
        let key = *key;
        pieces::of_answer(async move {
            let (file, batches) = self.blocking(key, move |folder| folder.open_extent(key, extent)).await?;
            let piece = move |batch: Vec<Range<u64>>| {
                let file = file.clone();
                self.blocking(key, move |folder| folder.read(key, &file, &batch))
            };
            Ok(stream::iter(batches).then(piece).boxed())
        })
    }
}

#[async_trait]
impl Blobs for DiskBlobs {
    async fn put(&self, key: &Key, body: Bytes) -> Result<(), BlobError> {
        let key = *key;
        self.blocking(key, move |folder| folder.put(&key, &body).map_err(|fault| folder.fault(key, fault))).await
    }

    async fn delete(&self, key: &Key) -> Result<(), BlobError> {
        let key = *key;
        self.blocking(key, move |folder| match fs::remove_file(folder.path(&key)) {
            Err(fault) if fault.kind() != ErrorKind::NotFound => Err(folder.fault(key, fault)),
            _ => Ok(()),
        })
        .await
    }

    async fn list(&self, store: StoreId) -> Result<Vec<(Key, u64)>, BlobError> {
        let any = Key::header(store, schemas::Digest([0; 32]));
        self.blocking(any, move |folder| folder.list(store).map_err(|fault| folder.fault(any, fault))).await
    }

    async fn stores(&self) -> Result<Vec<StoreId>, BlobError> {
        let any = Key::header(StoreId(Uuid::nil()), Digest([0; 32]));
        self.blocking(any, move |folder| folder.stores().map_err(|fault| folder.fault(any, fault))).await
    }
}

/// A file, and what is read of it at a time.
type Opened = (Arc<File>, Vec<Vec<Range<u64>>>);

impl Folder {
    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.to_string())
    }

    fn open_extent(&self, key: Key, extent: Extent) -> Result<Opened, BlobError> {
        let (file, bytes) = self.open(key)?;
        let ranges = match extent {
            Extent::Whole { bytes_max } if bytes > bytes_max => {
                return Err(BlobError::TooLarge { key, source_name: self.name.clone(), bytes, bytes_max });
            }
            Extent::Whole { .. } => std::iter::once(0..bytes).collect(),
            Extent::Ranges(ranges) => self.within(key, ranges, bytes)?,
        };
        Ok((Arc::new(file), span::in_batches(&ranges, PIECE_BYTES)))
    }

    fn within(&self, key: Key, ranges: Vec<Range<u64>>, bytes: u64) -> Result<Vec<Range<u64>>, BlobError> {
        match ranges.iter().find(|range| range.end > bytes || range.start >= range.end) {
            None => Ok(ranges),
            Some(beyond) => {
                let reason = format!("bytes {}..{} asked for, {bytes} there", beyond.start, beyond.end);
                Err(BlobError::Damaged { key, source_name: self.name.clone(), reason })
            }
        }
    }

    fn open(&self, key: Key) -> Result<(File, u64), BlobError> {
        let opened = File::open(self.path(&key)).and_then(|file| Ok((file.metadata()?.len(), file)));
        opened.map(|(bytes, file)| (file, bytes)).map_err(|fault| self.fault(key, fault))
    }

    /// What `ranges` hold, one after the other.
    fn read(&self, key: Key, file: &File, ranges: &[Range<u64>]) -> Result<Bytes, BlobError> {
        let mut piece = vec![0; ranges.iter().map(|range| range.end - range.start).sum::<u64>() as usize];
        let mut rest = &mut piece[..];
        for range in ranges {
            let (part, behind) = rest.split_at_mut((range.end - range.start) as usize);
            file.read_exact_at(part, range.start).map_err(|fault| self.fault(key, fault))?;
            rest = behind;
        }
        Ok(piece.into())
    }

    fn put(&self, key: &Key, body: &[u8]) -> io::Result<()> {
        self.make_folders(key)?;
        atomic::write_whole(&Kernel, &self.root.join(UNFINISHED), &self.path(key), body)
    }

    fn make_folders(&self, key: &Key) -> io::Result<()> {
        let made = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.root.join(key.store.to_string()).join(key.kind.folder());
        if made().contains(&(key.store, key.kind)) && path.is_dir() {
            return Ok(());
        }
        atomic::make_folders(&Kernel, &self.root, &key.store.to_string(), key.kind.folder())?;
        made().insert((key.store, key.kind));
        Ok(())
    }

    fn list(&self, store: StoreId) -> io::Result<Vec<(Key, u64)>> {
        let mut found = Vec::new();
        for kind in ObjectKind::ALL {
            let directory = match fs::read_dir(self.root.join(store.to_string()).join(kind.folder())) {
                Err(fault) if fault.kind() == ErrorKind::NotFound => continue,
                directory => directory?,
            };
            for entry in directory {
                let entry = entry?;
                if let Some(digest) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                    found.push((Key { store, kind, digest }, entry.metadata()?.len()));
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// What is free, in words.
    fn room(&self) -> String {
        let place = self.root.display();
        match rustix::fs::statvfs(&self.root) {
            Ok(stat) => format!("{} bytes are free in {place}", stat.f_bavail.saturating_mul(stat.f_frsize)),
            Err(fault) => format!("what is free in {place} is not known ({fault})"),
        }
    }

    fn stores(&self) -> io::Result<Vec<StoreId>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            found.extend(entry?.file_name().to_str().and_then(|name| name.parse::<StoreId>().ok()));
        }
        found.sort_unstable();
        Ok(found)
    }

    fn fault(&self, key: Key, fault: io::Error) -> BlobError {
        let (source_name, reason) = (self.name.clone(), fault.to_string());
        match fault.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                let reason = format!("{reason}; {}: make room", self.room());
                BlobError::Transient { key, source_name, reason }
            }
            ErrorKind::NotFound => BlobError::Absent { key, source_name },
            ErrorKind::PermissionDenied => BlobError::Refused { key, source_name, reason },
            ErrorKind::UnexpectedEof => BlobError::Damaged { key, source_name, reason },
            ErrorKind::Interrupted | ErrorKind::TimedOut | ErrorKind::StaleNetworkFileHandle => {
                BlobError::Transient { key, source_name, reason }
            }
            _ => BlobError::Permanent { key, source_name, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_put_leaves_nothing_unfinished_and_foreign_files_are_not_listed() {
        let root = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(root.path()).unwrap();
        let key = Key::pack(StoreId(Uuid::now_v7()), Digest::of(b"body"));
        blobs.put(&key, Bytes::from_static(b"body")).await.unwrap();
        fs::write(root.path().join(key.to_string()).with_file_name("notes.txt"), b"").unwrap();
        assert_eq!(fs::read_dir(root.path().join(UNFINISHED)).unwrap().count(), 0);
        assert_eq!(blobs.list(key.store).await.unwrap(), [(key, 4)]);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_a_permanent_fault_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(root.path()).unwrap();
        let key = Key::pack(StoreId(Uuid::now_v7()), Digest::of(b"body"));
        fs::write(root.path().join(key.store.to_string()), b"a file where a folder belongs").unwrap();
        let fault = blobs.put(&key, Bytes::from_static(b"body")).await.unwrap_err();
        assert!(matches!(fault, BlobError::Permanent { .. }), "{fault}");
        assert_eq!(fs::read_dir(root.path().join(UNFINISHED)).unwrap().count(), 0);
    }

    /// On a file system of 1 MiB of its own, in a mount namespace of its own.
    #[test]
    fn a_full_disk_is_a_fault_of_the_moment_with_what_is_free() {
        const INSIDE: &str = "TIDEGATE_BLOBS_SMALL_DISK";
        if let Ok(folder) = std::env::var(INSIDE) {
            return full_disk(folder.as_ref());
        }
        let folder = tempfile::tempdir().unwrap();
        let script = "mount -t tmpfs -o size=1m tmpfs \"$1\" && exec \"$2\" --exact \"$3\" --nocapture";
        let run = |arguments: &[&str]| {
            let mut command = std::process::Command::new("unshare");
            command.args(arguments).args(["sh", "-c", script, "sh"]).arg(folder.path());
            command.arg(std::env::current_exe().unwrap());
            command.arg("disk::tests::a_full_disk_is_a_fault_of_the_moment_with_what_is_free");
            command.env(INSIDE, folder.path()).output().unwrap()
        };
        let output = run(&["--map-root-user", "--mount"]);
        let output = if output.status.success() { output } else { run(&["--mount"]) };
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("DISK-FULL-SEEN"), "needs user namespaces or root to mount a small disk: {text}");
    }

    fn full_disk(folder: &std::path::Path) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let blobs = DiskBlobs::open(folder).unwrap();
        let (large, small) = (Bytes::from(vec![7; 2 << 20]), Bytes::from_static(b"small"));
        let key = |body: &Bytes| Key::pack(StoreId(Uuid::nil()), Digest::of(body));
        let fault = runtime.block_on(blobs.put(&key(&large), large.clone())).unwrap_err();
        assert!(fault.is_transient() && fault.to_string().contains("bytes are free in"), "{fault}");
        runtime.block_on(blobs.put(&key(&small), small.clone())).expect("what was begun is gone again");
        println!("DISK-FULL-SEEN");
    }
}
