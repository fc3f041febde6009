//! The held frames of one pack: its file, and where in it each frame is. It knows no other pack.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use blobs::calls::Calls;
use blobs::{Key, atomic};
use bytes::Bytes;
use package::write_back;
use schemas::Digest;

use super::calls::Disk;
use super::record::{self, HEAD_BYTES, Head, MAGIC};
use super::scan::Scan;
use super::{FrameRef, StoreError, lock, objects};

/// So much that was added goes to disk at once, so that the sync at the end of a download waits for little.
const WRITE_BACK_BYTES: u64 = 4 << 20;

#[derive(Debug)]
pub struct PackFrames {
    place: Place,
    table: Mutex<Table>,
    /// Of all packs together.
    frames_loaded: Arc<AtomicUsize>,
}

/// Which pack, and where its file is.
#[derive(Debug)]
struct Place {
    key: Key,
    path: PathBuf,
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
    /// Up to where the kernel was told to write to disk.
    begun: u64,
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
        PackFrames { place: Place { key, path }, table: Mutex::default(), frames_loaded }
    }

    pub fn key(&self) -> &Key {
        &self.place.key
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
            if table.unsynced.is_none() && table.end != objects::file_bytes(&self.place.path)? {
                self.read_anew(table)?;
            }
            if table.find(&frame).is_some() {
                return Ok(Put::Held);
            }
            let was_synced = table.unsynced.is_none();
            let at = table.append(&self.place, &record::frame_head(&self.place.key.digest, &frame), bytes)?;
            if table.frames.insert(frame.offset, (frame, at)).is_none() {
                self.frames_loaded.fetch_add(1, Ordering::Relaxed);
            }
            Ok(if was_synced { Put::Unsynced } else { Put::Held })
        })
    }

    pub fn get(&self, frame: FrameRef) -> Result<Option<Bytes>, StoreError> {
        let Some((at, file)) = self.place_of(frame)? else { return Ok(None) };
        let mut bytes = vec![0; frame.stored_bytes as usize];
        let read = match file.read_exact_at(&mut bytes, at) {
            Ok(()) if frame.verifies(&bytes) => return Ok(Some(bytes.into())),
            read => read,
        };
        tracing::warn!(pack = %self.place.key, offset = frame.offset, "a frame is damaged in the store; it will be fetched again");
        match read {
            Ok(()) => self.forget(frame, at)?,
            // The file was cut under the table: where the table would write next, nothing would find it again.
            Err(fault) if fault.kind() == ErrorKind::UnexpectedEof => self.with_table(|table| self.read_anew(table))?,
            Err(fault) => return Err(StoreError::io(&self.place.path)(fault)),
        }
        Ok(None)
    }

    fn place_of(&self, frame: FrameRef) -> Result<Option<(u64, Arc<File>)>, StoreError> {
        self.with_table(|table| {
            let Some(at) = table.find(&frame) else { return Ok(None) };
            match table.reader(&self.place) {
                Err(fault) if fault.kind() == ErrorKind::NotFound => self.read_anew(table).map(|()| None),
                opened => opened.map(|file| Some((at, file))),
            }
        })
    }

    pub fn tiles(&self, range: &Range<u64>) -> Result<Option<Vec<FrameRef>>, StoreError> {
        self.with_table(|table| Ok(table.tiles(range)))
    }

    /// Syncs what was put, and marks it as synced. True: more was put meanwhile, and waits for the next time.
    pub fn sync(&self) -> Result<bool, StoreError> {
        let waiting =
            self.with_table(|table| Ok(table.unsynced.clone().map(|file| (file, table.end, table.is_new))))?;
        let Some((file, end, is_new)) = waiting else { return Ok(false) };
        self.sync_file(&file, is_new).map_err(StoreError::io(&self.place.path))?;
        let mut table = lock(&self.table);
        // The file was written anew or removed meanwhile: what was put since waits for its own sync.
        if !table.unsynced.as_ref().is_some_and(|now| Arc::ptr_eq(now, &file)) {
            return Ok(table.unsynced.is_some());
        }
        table.is_new = false;
        if table.end > end {
            return Ok(true);
        }
        table.mark(&self.place).map_err(StoreError::io(&self.place.path))?;
        Ok(false)
    }

    fn sync_file(&self, file: &File, is_new: bool) -> io::Result<()> {
        Disk.sync(file)?;
        match self.place.path.parent() {
            Some(folder) if is_new => Disk.sync_directory(folder),
            _ => Ok(()),
        }
    }

    /// Removes the file; later puts into this object are refused.
    pub fn give_up(&self) {
        let mut table = lock(&self.table);
        self.replace(&mut table, Table { loaded: true, gone: true, ..Table::default() });
        if let Err(fault) = objects::remove(&self.place.path) {
            tracing::warn!(pack = %self.place.key, %fault, "a pack could not be removed from the store");
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
            let (body, frames) = table.copy_of(&self.place, &kept)?;
            let before = table.end;
            if let Err(fault) = atomic::write_whole(&Disk, unfinished, &self.place.path, &body) {
                // The new file may have its name already.
                self.read_anew(table)?;
                return Err(fault);
            }
            self.replace(table, Table { loaded: true, frames, end: body.len() as u64, ..Table::default() });
            Ok(before.saturating_sub(table.end))
        })
    }

    /// As if it had never come, also after a restart.
    fn forget(&self, frame: FrameRef, at: u64) -> Result<(), StoreError> {
        self.with_table(|table| {
            if table.frames.get(&frame.offset) != Some(&(frame, at)) {
                return Ok(());
            }
            if !table.void(&self.place, &frame, at)? {
                return self.read_anew(table);
            }
            table.frames.remove(&frame.offset);
            self.frames_loaded.fetch_sub(1, Ordering::Relaxed);
            Ok(())
        })
    }

    /// The file is not what the table says: it was cut, replaced or removed by somebody else.
    fn read_anew(&self, table: &mut Table) -> io::Result<()> {
        tracing::warn!(pack = %self.place.key, "a pack in the store is not what it was; it is read anew");
        self.replace(table, Table::default());
        let mut read = Table::default();
        read.load(&self.place)?;
        self.replace(table, read);
        Ok(())
    }

    fn replace(&self, table: &mut Table, by: Table) {
        self.frames_loaded.fetch_sub(table.frames.len(), Ordering::Relaxed);
        self.frames_loaded.fetch_add(by.frames.len(), Ordering::Relaxed);
        *table = by;
    }

    fn with_table<T>(&self, work: impl FnOnce(&mut Table) -> io::Result<T>) -> Result<T, StoreError> {
        let mut table = lock(&self.table);
        if !table.loaded {
            table.load(&self.place).map_err(StoreError::io(&self.place.path))?;
            self.frames_loaded.fetch_add(table.frames.len(), Ordering::Relaxed);
        }
        work(&mut table).map_err(StoreError::io(&self.place.path))
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
    fn append(&mut self, place: &Place, head: &[u8; HEAD_BYTES], bytes: &[u8]) -> io::Result<u64> {
        let file = self.writer(place)?;
        let mut record = Vec::with_capacity(MAGIC.len() + HEAD_BYTES + bytes.len());
        if self.end == 0 {
            record.extend_from_slice(MAGIC);
        }
        record.extend_from_slice(head);
        let at = self.end + record.len() as u64;
        record.extend_from_slice(bytes);
        if let Err(fault) = Disk.write_at(&file, &record, self.end) {
            let _ = Disk.set_length(&file, self.end);
            return Err(fault);
        }
        self.end += record.len() as u64;
        if self.end >= self.begun + WRITE_BACK_BYTES {
            write_back::begin(&*file, self.begun, self.end - self.begun);
            self.begun = self.end;
        }
        Ok(at)
    }

    /// A whole file with these frames, marked as synced, and where each is in it. What is damaged is left out.
    fn copy_of(&self, place: &Place, kept: &[(FrameRef, u64)]) -> io::Result<(Vec<u8>, Places)> {
        let file = self.reader(place)?;
        let mut body = MAGIC.to_vec();
        let mut frames = BTreeMap::new();
        for (frame, at) in kept {
            let mut bytes = vec![0; frame.stored_bytes as usize];
            match file.read_exact_at(&mut bytes, *at) {
                Err(fault) if fault.kind() == ErrorKind::UnexpectedEof => continue,
                read => read?,
            }
            if frame.verifies(&bytes) {
                body.extend_from_slice(&record::frame_head(&place.key.digest, frame));
                frames.insert(frame.offset, (*frame, body.len() as u64));
                body.extend_from_slice(&bytes);
            }
        }
        body.extend_from_slice(&record::mark(&place.key.digest));
        Ok((body, frames))
    }

    fn writer(&mut self, place: &Place) -> io::Result<Arc<File>> {
        if let Some(file) = &self.unsynced {
            return Ok(file.clone());
        }
        self.is_new |= self.end == 0;
        let file = Disk.open_or_create(&place.path)?;
        Ok(self.unsynced.insert(Arc::new(file)).clone())
    }

    /// Everything before the mark is synced: the caller has seen to it.
    fn mark(&mut self, place: &Place) -> io::Result<()> {
        self.append(place, &record::mark(&place.key.digest), &[])?;
        self.unsynced = None;
        Ok(())
    }

    /// Says on disk that a frame's bytes are others. False: its head does not stand there.
    fn void(&self, place: &Place, frame: &FrameRef, at: u64) -> io::Result<bool> {
        let opened = match &self.unsynced {
            Some(file) => Ok(file.clone()),
            None => OpenOptions::new().read(true).write(true).open(&place.path).map(Arc::new),
        };
        match opened {
            Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(false),
            opened => void_at(&place.key.digest, &*opened?, frame, at),
        }
    }

    fn reader(&self, place: &Place) -> io::Result<Arc<File>> {
        match &self.unsynced {
            Some(file) => Ok(file.clone()),
            None => File::open(&place.path).map(Arc::new),
        }
    }

    /// Reads the heads. What stands before the last mark was synced; what stands behind it is verified, the file is cut
    /// before the first record that is not whole, and what is left is synced: its writer did not come to it.
    fn load(&mut self, place: &Place) -> io::Result<()> {
        let file = match OpenOptions::new().read(true).write(true).open(&place.path) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => {
                self.loaded = true;
                return Ok(());
            }
            opened => opened?,
        };
        let length = file.metadata()?.len();
        let kept = Scan::of(&place.key.digest, &file, length)?.whole(&file)?;
        let unmarked = kept.marked < kept.frames.len();
        (self.end, self.begun) = (kept.end, kept.end);
        self.frames = kept.frames.into_iter().map(|(frame, at)| (frame.offset, (frame, at))).collect();
        if self.end < length {
            tracing::info!(path = %place.path.display(), bytes = length - self.end, "cut a torn tail");
            Disk.set_length(&file, self.end)?;
        }
        if unmarked {
            Disk.sync(&file)?;
            place.path.parent().map_or(Ok(()), |folder| Disk.sync_directory(folder))?;
            self.mark(place)?;
        }
        self.loaded = true;
        Ok(())
    }
}

/// Makes the record of a frame void whose bytes begin at `at`, if it is there.
pub(super) fn void_at(pack: &Digest, file: &File, frame: &FrameRef, at: u64) -> io::Result<bool> {
    let mut head = [0; HEAD_BYTES];
    match file.read_exact_at(&mut head, at - HEAD_BYTES as u64) {
        Err(fault) if fault.kind() == ErrorKind::UnexpectedEof => return Ok(false),
        read => read?,
    }
    if Head::decode(pack, &head) != Some(Head::Frame(*frame)) {
        return Ok(false);
    }
    Disk.write_at(file, &[record::void_byte(pack, frame)], at - 1)?;
    Ok(true)
}
