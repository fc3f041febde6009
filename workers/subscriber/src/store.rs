//! What a site holds: headers, indexes and patches as they are, and of packs the frames that came, appended as they came.
//! It knows no network and no job. Everything in it is named by a digest, so all of it can be fetched again.

mod bases;
mod calls;
pub mod check;
mod frames;
mod objects;
#[cfg(test)]
pub(crate) mod proof;
mod record;
mod scan;
mod sweep;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use blobs::calls::Calls;
use blobs::{Key, ObjectKind, atomic};
use bytes::{Bytes, BytesMut};
use package::Index;
use schemas::{Digest, StoreId};

use crate::space;
use calls::Disk;
use frames::PackFrames;
pub use sweep::Swept;

/// In the site's working directory.
pub const STORE_FOLDER: &str = "store";
/// Where objects are written before they get their names.
const UNFINISHED: &str = ".unfinished";
/// Frames whose places are kept in memory (some 100 bytes each); above it packs not in use are forgotten and read again.
const FRAMES_LOADED_MAX: usize = 500_000;
/// What a child asked for stays this long after, unless the site is told otherwise.
pub const SERVED_KEPT: Duration = Duration::from_secs(600);
/// Packs that wait for a flush at once, each with an open file; above it the oldest is synced.
const UNSYNCED_PACKS_MAX: usize = 64;

/// One frame as an index names it: its place in the pack, and what its stored bytes must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRef {
    pub offset: u64,
    pub stored_bytes: u32,
    pub digest: Digest,
}

impl FrameRef {
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + u64::from(self.stored_bytes)
    }

    fn verifies(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.stored_bytes as usize && Digest::of(bytes) == self.digest
    }
}

impl From<&package::Frame> for FrameRef {
    fn from(frame: &package::Frame) -> FrameRef {
        FrameRef { offset: frame.offset, stored_bytes: frame.stored_bytes, digest: frame.digest }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("store file {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{key} is not what its name says: {bytes} bytes with another digest")]
    Damaged { key: Key, bytes: usize },
    #[error("the frame at {offset} of {pack} is not what the index says: {bytes} bytes with another digest or length")]
    DamagedFrame { pack: Key, offset: u64, bytes: usize },
}

impl StoreError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<'_> {
        move |source| StoreError::Io { path: path.to_owned(), source }
    }

    pub fn is_full(&self) -> bool {
        matches!(self, StoreError::Io { source, .. } if space::is_full(source))
    }

    pub fn code(&self) -> &'static str {
        match self {
            StoreError::Io { .. } if self.is_full() => "store-full",
            StoreError::Io { .. } => "store-unusable",
            StoreError::Damaged { .. } => "object-corrupt",
            StoreError::DamagedFrame { .. } => "chunk-corrupt",
        }
    }
}

/// Thread-safe; its calls block on the disk.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    packs: Mutex<HashMap<(StoreId, Digest), Arc<PackFrames>>>,
    frames_loaded: Arc<AtomicUsize>,
    unsynced: Mutex<VecDeque<Arc<PackFrames>>>,
    /// One flush at a time: who comes second must not return before the first has synced what both had written.
    flushing: Mutex<()>,
    /// How many indexes have come. Held while something goes that none of them may name.
    indexes_put: Mutex<u64>,
    /// How many headers have come and gone.
    header_changes: AtomicU64,
    /// When children asked for what last.
    served: Mutex<HashMap<Key, Instant>>,
    /// What a child asked for stays this long after.
    served_kept: Duration,
    /// Folders whose names are known to be durable.
    folders: Mutex<HashSet<(StoreId, ObjectKind)>>,
}

impl Store {
    pub fn open(root: impl Into<PathBuf>) -> Result<Store, StoreError> {
        let root = root.into();
        atomic::sweep(&Disk, &root.join(UNFINISHED)).map_err(StoreError::io(&root))?;
        let store = Store {
            root,
            packs: Mutex::default(),
            frames_loaded: Arc::default(),
            unsynced: Mutex::default(),
            flushing: Mutex::default(),
            indexes_put: Mutex::default(),
            header_changes: AtomicU64::default(),
            served: Mutex::default(),
            served_kept: SERVED_KEPT,
            folders: Mutex::default(),
        };
        store.sync_names()?;
        Ok(store)
    }

    /// What is here counts as held from now on, also a file that a process before gave its name and did not live to sync.
    fn sync_names(&self) -> Result<(), StoreError> {
        for store in self.stores()? {
            let folder = self.root.join(store.to_string());
            let inner = ObjectKind::ALL.into_iter().map(|kind| folder.join(kind.folder())).filter(|path| path.is_dir());
            for path in inner.chain([folder.clone()]) {
                Disk.sync_directory(&path).map_err(StoreError::io(&path))?;
            }
        }
        Disk.sync_directory(&self.root).map_err(StoreError::io(&self.root))
    }

    /// What a child asked for stays this long after.
    pub fn keep_served(self, served_kept: Duration) -> Store {
        Store { served_kept, ..self }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Takes a frame that is what the index says, and nothing else. Durable after the next `flush`.
    pub fn put_frame(&self, store: StoreId, pack: Digest, frame: FrameRef, bytes: &[u8]) -> Result<(), StoreError> {
        if !frame.verifies(bytes) {
            let pack = Key::pack(store, pack);
            return Err(StoreError::DamagedFrame { pack, offset: frame.offset, bytes: bytes.len() });
        }
        loop {
            let frames = self.pack_to_write(store, pack)?;
            match frames.put(frame, bytes)? {
                frames::Put::Held => return Ok(()),
                frames::Put::Unsynced => return self.wait_for_flush(frames),
                frames::Put::Gone => {}
            }
        }
    }

    pub fn has_frame(&self, store: StoreId, pack: Digest, frame: FrameRef) -> Result<bool, StoreError> {
        match self.pack(store, pack)? {
            Some(frames) => frames.has(frame),
            None => Ok(false),
        }
    }

    /// Verified on every read: a frame that was damaged on disk is forgotten, as if it had never come.
    pub fn frame(&self, store: StoreId, pack: Digest, frame: FrameRef) -> Result<Option<Bytes>, StoreError> {
        match self.pack(store, pack)? {
            Some(frames) => frames.get(frame),
            None => Ok(None),
        }
    }

    /// Positions of the frames of `index` that are not held, ascending.
    pub fn missing(&self, store: StoreId, index: &Index) -> Result<Vec<u32>, StoreError> {
        let mut missing = Vec::new();
        let mut current: Option<(u32, Option<Arc<PackFrames>>)> = None;
        for (position, frame) in (0..).zip(&index.frames) {
            let pack = match current.take() {
                Some((pack, frames)) if pack == frame.pack => frames,
                _ => self.pack(store, index.packs[frame.pack as usize].digest)?,
            };
            let held = match &pack {
                Some(frames) => frames.has(frame.into())?,
                None => false,
            };
            if !held {
                missing.push(position);
            }
            current = Some((frame.pack, pack));
        }
        Ok(missing)
    }

    /// The held frames that cover `range` of a pack without a gap, in order; `None` if there is one.
    pub fn tiles(&self, store: StoreId, pack: Digest, range: &Range<u64>) -> Result<Option<Vec<FrameRef>>, StoreError> {
        match self.pack(store, pack)? {
            Some(frames) => frames.tiles(range),
            None => Ok(None),
        }
    }

    /// A part of an object; `None` if what is held does not cover it.
    pub fn read_range(&self, key: &Key, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        if key.kind != ObjectKind::Pack {
            let whole = self.object(key)?;
            let inside = |whole: &Bytes| range.start <= range.end && range.end <= whole.len() as u64;
            return Ok(whole.filter(inside).map(|whole| whole.slice(range.start as usize..range.end as usize)));
        }
        let Some(tiles) = self.tiles(key.store, key.digest, &range)? else { return Ok(None) };
        let mut bytes = BytesMut::with_capacity((range.end - range.start) as usize);
        for tile in tiles {
            let Some(frame) = self.frame(key.store, key.digest, tile)? else { return Ok(None) };
            bytes.extend_from_slice(&frame[part_of(&tile, &range)]);
        }
        Ok(Some(bytes.freeze()))
    }

    /// Makes everything that was put before durable. What cannot be made durable is forgotten: a sync that failed once
    /// says nothing true the second time.
    pub fn flush(&self) -> Result<(), StoreError> {
        let _alone = lock(&self.flushing);
        let waiting = std::mem::take(&mut *lock(&self.unsynced));
        let mut ended = Ok(());
        for frames in waiting {
            match frames.sync() {
                Ok(false) => {}
                Ok(true) => lock(&self.unsynced).push_back(frames),
                Err(fault) => {
                    self.drop_pack(&frames);
                    ended = Err(fault);
                }
            }
        }
        ended
    }

    /// Bytes on disk, of all kinds.
    pub fn bytes_held(&self, store: StoreId) -> Result<u64, StoreError> {
        Ok(self.files(store)?.into_values().sum())
    }

    pub fn stores(&self) -> Result<Vec<StoreId>, StoreError> {
        let names = objects::names_in(&self.root)?;
        let mut stores: Vec<StoreId> = names.iter().filter_map(|name| name.parse().ok()).collect();
        stores.sort_unstable();
        Ok(stores)
    }

    /// Removes what `keep` does not want (packs with all their frames) and says how many bytes that freed.
    pub fn retain(&self, store: StoreId, keep: impl Fn(&Key) -> bool) -> Result<u64, StoreError> {
        let mut freed = 0;
        for (key, bytes) in self.files(store)? {
            if keep(&key) {
                continue;
            }
            match key.kind {
                ObjectKind::Pack => self.remove_pack(&key)?,
                ObjectKind::Header => {
                    objects::remove_header(&self.path(&key))?;
                    self.header_changed();
                }
                _ => objects::remove(&self.path(&key))?,
            }
            freed += bytes;
        }
        Ok(freed)
    }

    /// Removes a whole distribution.
    pub fn forget(&self, store: StoreId) -> Result<u64, StoreError> {
        let freed = self.retain(store, |_| false)?;
        lock(&self.folders).retain(|(of, _)| *of != store);
        let folder = self.root.join(store.to_string());
        match fs::remove_dir_all(&folder) {
            Err(fault) if fault.kind() != ErrorKind::NotFound => Err(StoreError::Io { path: folder, source: fault }),
            _ => Ok(freed),
        }
    }

    fn make_folders(&self, key: &Key) -> Result<(), StoreError> {
        let mut folders = lock(&self.folders);
        let path = self.root.join(key.store.to_string()).join(key.kind.folder());
        if folders.contains(&(key.store, key.kind)) && path.is_dir() {
            return Ok(());
        }
        atomic::make_folders(&Disk, &self.root, &key.store.to_string(), key.kind.folder())
            .map_err(StoreError::io(&path))?;
        folders.insert((key.store, key.kind));
        Ok(())
    }

    fn path(&self, key: &Key) -> PathBuf {
        path_of(&self.root, key)
    }

    fn files(&self, store: StoreId) -> Result<BTreeMap<Key, u64>, StoreError> {
        let mut files = BTreeMap::new();
        for kind in ObjectKind::ALL {
            for name in objects::names_in(&self.root.join(store.to_string()).join(kind.folder()))? {
                let Ok(digest) = name.strip_suffix(".frames").unwrap_or(&name).parse() else { continue };
                let key = Key { store, kind, digest };
                if let Some(bytes) = objects::length(&self.path(&key))? {
                    files.insert(key, bytes);
                }
            }
        }
        Ok(files)
    }

    /// A pack that has a file; one without leaves no trace in memory.
    fn pack(&self, store: StoreId, pack: Digest) -> Result<Option<Arc<PackFrames>>, StoreError> {
        let mut packs = lock(&self.packs);
        if let Some(frames) = packs.get(&(store, pack)) {
            return Ok(Some(frames.clone()));
        }
        let key = Key::pack(store, pack);
        let path = self.path(&key);
        if objects::length(&path)?.is_none() {
            return Ok(None);
        }
        self.make_room(&mut packs);
        let frames = Arc::new(PackFrames::new(key, path, self.frames_loaded.clone()));
        packs.insert((store, pack), frames.clone());
        Ok(Some(frames))
    }

    fn pack_to_write(&self, store: StoreId, pack: Digest) -> Result<Arc<PackFrames>, StoreError> {
        if let Some(frames) = self.pack(store, pack)? {
            return Ok(frames);
        }
        let key = Key::pack(store, pack);
        self.make_folders(&key)?;
        let mut packs = lock(&self.packs);
        self.make_room(&mut packs);
        let made = || Arc::new(PackFrames::new(key, self.path(&key), self.frames_loaded.clone()));
        Ok(packs.entry((store, pack)).or_insert_with(made).clone())
    }

    /// Forgets the frames of packs that nobody uses; they are read again when they are asked for.
    fn make_room(&self, packs: &mut HashMap<(StoreId, Digest), Arc<PackFrames>>) {
        if self.frames_loaded.load(Ordering::Relaxed) > FRAMES_LOADED_MAX {
            packs.retain(|_, frames| Arc::strong_count(frames) > 1);
        }
    }

    fn wait_for_flush(&self, frames: Arc<PackFrames>) -> Result<(), StoreError> {
        let mut unsynced = lock(&self.unsynced);
        unsynced.push_back(frames);
        let surplus = unsynced.len() > UNSYNCED_PACKS_MAX;
        drop(unsynced);
        if surplus { self.flush() } else { Ok(()) }
    }

    fn remove_pack(&self, key: &Key) -> Result<(), StoreError> {
        match self.pack(key.store, key.digest)? {
            Some(frames) => self.drop_pack(&frames),
            None => return Ok(()),
        }
        match objects::length(&self.path(key))? {
            Some(_) => objects::remove(&self.path(key)),
            None => Ok(()),
        }
    }

    /// From the map first, so that whoever comes next starts a new file.
    fn drop_pack(&self, frames: &Arc<PackFrames>) {
        let mut packs = lock(&self.packs);
        packs.remove(&(frames.key().store, frames.key().digest));
        frames.give_up();
    }
}

fn path_of(root: &Path, key: &Key) -> PathBuf {
    match key.kind {
        ObjectKind::Pack => root.join(format!("{key}.frames")),
        _ => root.join(key.to_string()),
    }
}

/// Which bytes of a frame lie in `range`.
pub fn part_of(frame: &FrameRef, range: &Range<u64>) -> Range<usize> {
    let from = range.start.max(frame.offset) - frame.offset;
    let to = range.end.min(frame.range().end) - frame.offset;
    from as usize..to as usize
}

/// A panic of another thread leaves tables that are at worst behind the disk, never ahead of it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
