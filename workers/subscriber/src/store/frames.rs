//! The held frames of one pack: its file, and where in it each frame is. It knows no other pack.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use blobs::{Key, atomic};
use bytes::Bytes;

use super::record::{HEAD_BYTES, Head, MAGIC};
use super::{FrameRef, StoreError, lock, objects};

#[derive(Debug)]
pub struct PackFrames {
    key: Key,
    path: PathBuf,
    table: Mutex<Table>,
    /// Of all packs together.
    frames_loaded: Arc<AtomicUsize>,
}

/// By offset in the pack: the frame, and where its bytes begin in the file.
type Places = BTreeMap<u64, (FrameRef, u64)>;

#[derive(Debug, Default)]
struct Table {
    loaded: bool,
    gone: bool,
    frames: Places,
    end: u64,
    /// Open while something in it is not synced: a sync by another descriptor could miss an error.
    unsynced: Option<Arc<File>>,
    /// The file's name is not synced yet.
    is_new: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Put {
    /// Nothing to do for the caller: it was there, or its pack waits for a flush already.
    Held,
    /// The pack now waits for a flush.
    Unsynced,
    /// The pack was removed under the caller.
    Gone,
}

impl PackFrames {
    pub fn new(key: Key, path: PathBuf, frames_loaded: Arc<AtomicUsize>) -> PackFrames {
        PackFrames { key, path, table: Mutex::default(), frames_loaded }
    }

    pub fn key(&self) -> &Key {
        &self.key
    }

    pub fn has(&self, frame: FrameRef) -> Result<bool, StoreError> {
        self.with_table(|table| Ok(table.find(&frame).is_some()))
    }

    /// The caller has verified `bytes`.
    pub fn put(&self, frame: FrameRef, bytes: &[u8]) -> Result<Put, StoreError> {
        self.with_table(|table| {
            if table.gone {
                return Ok(Put::Gone);
            }
            if table.find(&frame).is_some() {
                return Ok(Put::Held);
            }
            let was_synced = table.unsynced.is_none();
            let at = table.append(&self.path, &Head::Frame(frame), bytes)?;
            if table.frames.insert(frame.offset, (frame, at)).is_none() {
                self.frames_loaded.fetch_add(1, Ordering::Relaxed);
            }
            Ok(if was_synced { Put::Unsynced } else { Put::Held })
        })
    }

    pub fn get(&self, frame: FrameRef) -> Result<Option<Bytes>, StoreError> {
        let found = self.with_table(|table| match table.find(&frame) {
            Some(at) => Ok(Some((at, table.reader(&self.path)?))),
            None => Ok(None),
        });
        let (at, file) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let mut bytes = vec![0; frame.stored_bytes as usize];
        match file.read_exact_at(&mut bytes, at) {
            Err(fault) if fault.kind() != ErrorKind::UnexpectedEof => return Err(StoreError::io(&self.path)(fault)),
            Ok(()) if frame.verifies(&bytes) => return Ok(Some(bytes.into())),
            _ => {}
        }
        tracing::warn!(pack = %self.key, offset = frame.offset, "a frame is damaged in the store; it will be fetched again");
        self.forget(frame, at);
        Ok(None)
    }

    pub fn tiles(&self, range: &Range<u64>) -> Result<Option<Vec<FrameRef>>, StoreError> {
        self.with_table(|table| Ok(table.tiles(range)))
    }

    /// Syncs what was put, and marks it as synced. True: more was put meanwhile, and waits for the next time.
    pub fn sync(&self) -> Result<bool, StoreError> {
        let (file, end, is_new) = {
            let table = lock(&self.table);
            let Some(file) = table.unsynced.clone() else { return Ok(false) };
            (file, table.end, table.is_new)
        };
        self.sync_file(&file, is_new).map_err(StoreError::io(&self.path))?;
        let mut table = lock(&self.table);
        // The file was written anew or removed meanwhile: what was put since waits for its own sync.
        if !table.unsynced.as_ref().is_some_and(|now| Arc::ptr_eq(now, &file)) {
            return Ok(table.unsynced.is_some());
        }
        table.is_new = false;
        if table.end > end {
            return Ok(true);
        }
        table.mark(&self.path).map_err(StoreError::io(&self.path))?;
        Ok(false)
    }

    fn sync_file(&self, file: &File, is_new: bool) -> io::Result<()> {
        file.sync_data()?;
        match self.path.parent() {
            Some(folder) if is_new => atomic::sync_directory(folder),
            _ => Ok(()),
        }
    }

    /// Removes the file; later puts into this object are refused.
    pub fn give_up(&self) {
        let mut table = lock(&self.table);
        self.frames_loaded.fetch_sub(table.frames.len(), Ordering::Relaxed);
        *table = Table { loaded: true, gone: true, ..Table::default() };
        if let Err(fault) = objects::remove(&self.path) {
            tracing::warn!(pack = %self.key, %fault, "a pack could not be removed from the store");
        }
    }

    /// Writes the file anew with only the frames that are `wanted`, if at least one of `waste_parts` parts of it is not; whoever
    /// reads the old one meanwhile reads on. Returns the bytes that this freed.
    pub fn keep_only(
        &self,
        wanted: impl Fn(&FrameRef) -> bool,
        waste_parts: u64,
        unfinished: &Path,
    ) -> Result<u64, StoreError> {
        self.with_table(|table| {
            let kept: Vec<(FrameRef, u64)> =
                table.frames.values().filter(|(frame, _)| wanted(frame)).copied().collect();
            let record_bytes = |frame: &FrameRef| HEAD_BYTES as u64 + u64::from(frame.stored_bytes);
            let new_bytes: u64 = kept.iter().map(|(frame, _)| record_bytes(frame)).sum();
            if table.gone || table.end.saturating_sub(new_bytes) * waste_parts < table.end {
                return Ok(0);
            }
            let (body, frames) = table.copy_of(&self.path, &kept)?;
            let (before, held_before) = (table.end, table.frames.len());
            atomic::write_whole(unfinished, &self.path, &body)?;
            *table = Table { loaded: true, frames, end: body.len() as u64, ..Table::default() };
            self.frames_loaded.fetch_sub(held_before, Ordering::Relaxed);
            self.frames_loaded.fetch_add(table.frames.len(), Ordering::Relaxed);
            Ok(before.saturating_sub(table.end))
        })
    }

    fn forget(&self, frame: FrameRef, at: u64) {
        let mut table = lock(&self.table);
        if table.frames.get(&frame.offset) == Some(&(frame, at)) {
            table.frames.remove(&frame.offset);
            self.frames_loaded.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn with_table<T>(&self, work: impl FnOnce(&mut Table) -> io::Result<T>) -> Result<T, StoreError> {
        let mut table = lock(&self.table);
        if !table.loaded {
            table.load(&self.path).map_err(StoreError::io(&self.path))?;
            self.frames_loaded.fetch_add(table.frames.len(), Ordering::Relaxed);
        }
        work(&mut table).map_err(StoreError::io(&self.path))
    }
}

impl Drop for PackFrames {
    fn drop(&mut self) {
        let frames = lock(&self.table).frames.len();
        self.frames_loaded.fetch_sub(frames, Ordering::Relaxed);
    }
}

impl Table {
    fn find(&self, frame: &FrameRef) -> Option<u64> {
        self.frames.get(&frame.offset).filter(|(held, _)| held == frame).map(|(_, at)| *at)
    }

    fn tiles(&self, range: &Range<u64>) -> Option<Vec<FrameRef>> {
        let (first, _) = self.frames.range(..=range.start).next_back()?;
        let mut tiles = Vec::new();
        let mut reached = *first;
        for (&offset, (frame, _)) in self.frames.range(*first..) {
            if reached >= range.end || offset != reached {
                break;
            }
            reached = frame.range().end;
            if reached > range.start {
                tiles.push(*frame);
            }
        }
        (range.start < range.end && reached >= range.end).then_some(tiles)
    }

    /// Returns where `bytes` begin. A write that fails leaves the file as it was.
    fn append(&mut self, path: &Path, head: &Head, bytes: &[u8]) -> io::Result<u64> {
        let file = self.writer(path)?;
        let mut record = Vec::with_capacity(MAGIC.len() + HEAD_BYTES + bytes.len());
        if self.end == 0 {
            record.extend_from_slice(MAGIC);
        }
        record.extend_from_slice(&head.encode());
        let at = self.end + record.len() as u64;
        record.extend_from_slice(bytes);
        if let Err(fault) = file.write_all_at(&record, self.end) {
            let _ = file.set_len(self.end);
            return Err(fault);
        }
        self.end += record.len() as u64;
        Ok(at)
    }

    /// A whole file with these frames, marked as synced, and where each is in it. What is damaged is left out.
    fn copy_of(&self, path: &Path, kept: &[(FrameRef, u64)]) -> io::Result<(Vec<u8>, Places)> {
        let file = self.reader(path)?;
        let mut body = MAGIC.to_vec();
        let mut frames = BTreeMap::new();
        for (frame, at) in kept {
            let mut bytes = vec![0; frame.stored_bytes as usize];
            file.read_exact_at(&mut bytes, *at)?;
            if frame.verifies(&bytes) {
                body.extend_from_slice(&Head::Frame(*frame).encode());
                frames.insert(frame.offset, (*frame, body.len() as u64));
                body.extend_from_slice(&bytes);
            }
        }
        body.extend_from_slice(&Head::Mark.encode());
        Ok((body, frames))
    }

    fn writer(&mut self, path: &Path) -> io::Result<Arc<File>> {
        if let Some(file) = &self.unsynced {
            return Ok(file.clone());
        }
        self.is_new |= self.end == 0;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(self.unsynced.insert(Arc::new(file)).clone())
    }

    /// Everything before the mark is synced: the caller has seen to it.
    fn mark(&mut self, path: &Path) -> io::Result<()> {
        self.append(path, &Head::Mark, &[])?;
        self.unsynced = None;
        Ok(())
    }

    fn reader(&self, path: &Path) -> io::Result<Arc<File>> {
        match &self.unsynced {
            Some(file) => Ok(file.clone()),
            None => File::open(path).map(Arc::new),
        }
    }

    /// Reads the heads. What stands before the last mark was synced; what stands behind it is verified, the file is cut
    /// before the first record that is not whole, and what is left is synced: its writer did not come to it.
    fn load(&mut self, path: &Path) -> io::Result<()> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => {
                self.loaded = true;
                return Ok(());
            }
            opened => opened?,
        };
        let length = file.metadata()?.len();
        let scan = Scan::of(&file, length)?;
        let kept = scan.whole(&file)?;
        let unmarked = kept.marked < kept.frames.len();
        self.end = kept.end;
        self.frames = kept.frames.into_iter().map(|(frame, at)| (frame.offset, (frame, at))).collect();
        if self.end < length {
            tracing::info!(path = %path.display(), bytes = length - self.end, "cut a torn tail");
            file.set_len(self.end)?;
        }
        if unmarked {
            file.sync_all()?;
            path.parent().map_or(Ok(()), atomic::sync_directory)?;
            self.mark(path)?;
        }
        self.loaded = true;
        Ok(())
    }
}

/// What the heads of a file say.
struct Scan {
    frames: Vec<(FrameRef, u64)>,
    /// How many of them the last mark covers.
    marked: usize,
    end: u64,
}

impl Scan {
    fn of(file: &File, length: u64) -> io::Result<Scan> {
        let mut scan = Scan { frames: Vec::new(), marked: 0, end: 0 };
        let mut magic = [0; MAGIC.len()];
        if length < MAGIC.len() as u64 {
            return Ok(scan);
        }
        file.read_exact_at(&mut magic, 0)?;
        if &magic != MAGIC {
            return Ok(scan);
        }
        scan.end = MAGIC.len() as u64;
        let mut head = [0; HEAD_BYTES];
        while scan.end + HEAD_BYTES as u64 <= length {
            file.read_exact_at(&mut head, scan.end)?;
            let at = scan.end + HEAD_BYTES as u64;
            match Head::decode(&head) {
                Some(Head::Mark) => (scan.marked, scan.end) = (scan.frames.len(), at),
                Some(Head::Frame(frame)) if at + u64::from(frame.stored_bytes) <= length => {
                    scan.frames.push((frame, at));
                    scan.end = at + u64::from(frame.stored_bytes);
                }
                _ => break,
            }
        }
        Ok(scan)
    }

    /// Without the first record behind the last mark that is not what it says, and all behind that.
    fn whole(mut self, file: &File) -> io::Result<Scan> {
        for position in self.marked..self.frames.len() {
            let (frame, at) = self.frames[position];
            let mut bytes = vec![0; frame.stored_bytes as usize];
            file.read_exact_at(&mut bytes, at)?;
            if !frame.verifies(&bytes) {
                self.frames.truncate(position);
                self.end = at - HEAD_BYTES as u64;
                break;
            }
        }
        Ok(self)
    }
}
