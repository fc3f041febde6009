//! Whether everything in a store is what its name says, read from the files alone. The site may run meanwhile: whatever is
//! dropped, its store notices by itself. It knows no job and no source.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use blobs::calls::Calls;
use blobs::{Key, ObjectKind};
use package::Index;
use schemas::{Digest, Header, StoreId};

use super::calls::Disk;
use super::frames::void_at;
use super::scan::Scan;
use super::{FrameRef, StoreError, objects};

/// A record that a running site is just writing is whole after this; what is not then is damaged, or was cut off by a crash.
const WRITE_PATIENCE: Duration = Duration::from_millis(200);

/// What was found of one distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub store: StoreId,
    /// Whose headers are here and whole.
    pub revisions: Vec<u64>,
    pub objects: u64,
    /// Whole frames.
    pub frames: u64,
    pub bytes: u64,
    /// Frames that revisions here name and that are not here. That is no damage: their content stands in a target, or they
    /// are fetched when they are needed.
    pub frames_absent: u64,
    /// Sorted by object and place.
    pub damaged: Vec<Damaged>,
    /// Frames, and patches, that no index here leads to: they go with a sweep.
    pub orphans: Orphans,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damaged {
    /// `packs/<digest>` and the like.
    pub object: String,
    /// Of a frame: where it begins in its pack. Of a tail: where it begins in the file.
    pub offset: Option<u64>,
    pub bytes: u64,
    /// `object-corrupt`, `chunk-corrupt`, `tail-unreadable`, `wrong-store`, or a code of the package format.
    pub code: &'static str,
    pub reason: String,
    pub dropped: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Orphans {
    pub objects: u64,
    pub bytes: u64,
}

impl Orphans {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

pub fn check(root: &Path, drop_damaged: bool, seen: &dyn Fn(u64)) -> Result<Vec<Checked>, StoreError> {
    let names = objects::names_in(root)?;
    let mut stores: Vec<StoreId> = names.iter().filter_map(|name| name.parse().ok()).collect();
    stores.sort_unstable();
    stores.into_iter().map(|store| Check::new(root, store, drop_damaged, seen).run()).collect()
}

struct Check<'a> {
    root: &'a Path,
    drop_damaged: bool,
    seen: &'a dyn Fn(u64),
    found: Checked,
    /// Indexes by digest: packs, and offsets of frames in them.
    named: HashMap<Digest, Vec<(Digest, u64)>>,
    of_headers: HashSet<Digest>,
    held: HashSet<(Digest, u64)>,
}

impl<'a> Check<'a> {
    fn new(root: &'a Path, store: StoreId, drop_damaged: bool, seen: &'a dyn Fn(u64)) -> Check<'a> {
        let found = Checked {
            store,
            revisions: Vec::new(),
            objects: 0,
            frames: 0,
            bytes: 0,
            frames_absent: 0,
            damaged: Vec::new(),
            orphans: Orphans::default(),
        };
        let (named, of_headers, held) = Default::default();
        Check { root, drop_damaged, seen, found, named, of_headers, held }
    }

    fn run(mut self) -> Result<Checked, StoreError> {
        for key in self.keys(ObjectKind::Header)? {
            self.header(&key)?;
        }
        for key in self.keys(ObjectKind::Index)? {
            self.index(&key)?;
        }
        let patches: HashSet<Digest> = self.patches_between().collect();
        for key in self.keys(ObjectKind::Patch)? {
            let Some(bytes) = self.object(&key)? else { continue };
            if !patches.contains(&key.digest) {
                self.found.orphans.add(bytes.len() as u64);
            }
        }
        let named: HashSet<(Digest, u64)> = self.named.values().flatten().copied().collect();
        for key in self.keys(ObjectKind::Pack)? {
            self.pack(&key, &named)?;
        }
        let needed = self.named.iter().filter(|(index, _)| self.of_headers.contains(index));
        let needed: HashSet<_> = needed.flat_map(|(_, frames)| frames).collect();
        self.found.frames_absent = needed.iter().filter(|frame| !self.held.contains(**frame)).count() as u64;
        self.found.revisions.sort_unstable();
        self.found.damaged.sort_unstable();
        Ok(self.found)
    }

    fn keys(&self, kind: ObjectKind) -> Result<Vec<Key>, StoreError> {
        let store = self.found.store;
        let names = objects::names_in(&self.root.join(store.to_string()).join(kind.folder()))?;
        let digests = names.iter().filter_map(|name| name.strip_suffix(".frames").unwrap_or(name).parse().ok());
        let mut keys: Vec<Key> = digests.map(|digest| Key { store, kind, digest }).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    fn path(&self, key: &Key) -> PathBuf {
        super::path_of(self.root, key)
    }

    /// The bytes of a whole file, if they are what its name says. One that has gone meanwhile is passed by.
    fn object(&mut self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(key);
        let bytes = match fs::read(&path) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(StoreError::io(&path))?,
        };
        self.count(bytes.len() as u64);
        self.found.objects += 1;
        if objects::is_what_its_name_says(key, &bytes) {
            return Ok(Some(bytes));
        }
        let reason = "its bytes are not what its name says".to_owned();
        self.damaged(key, "object-corrupt", reason, bytes.len() as u64)?;
        Ok(None)
    }

    fn count(&mut self, bytes: u64) {
        self.found.bytes += bytes;
        (self.seen)(bytes);
    }

    fn header(&mut self, key: &Key) -> Result<(), StoreError> {
        let Some(bytes) = self.object(key)? else { return Ok(()) };
        match package::header::decode(&bytes) {
            Ok(Header { store, number, index, .. }) if store == self.found.store => {
                self.of_headers.insert(index.digest);
                self.found.revisions.push(number);
                Ok(())
            }
            Ok(header) => self.damaged(key, "wrong-store", format!("it is of {}", header.store), bytes.len() as u64),
            Err(fault) => self.damaged(key, fault.code(), fault.to_string(), bytes.len() as u64),
        }
    }

    fn index(&mut self, key: &Key) -> Result<(), StoreError> {
        let Some(bytes) = self.object(key)? else { return Ok(()) };
        match Index::decode(&bytes) {
            Ok(index) => {
                let place = |frame: &package::Frame| (index.packs[frame.pack as usize].digest, frame.offset);
                self.named.insert(key.digest, index.frames.iter().map(place).collect());
                Ok(())
            }
            Err(fault) => self.damaged(key, fault.code(), fault.to_string(), bytes.len() as u64),
        }
    }

    fn patches_between(&self) -> impl Iterator<Item = Digest> {
        let from = |&base: &Digest| self.named.keys().flat_map(move |&new| package::patch::names_between(base, new));
        self.named.keys().flat_map(from)
    }

    fn pack(&mut self, key: &Key, named: &HashSet<(Digest, u64)>) -> Result<(), StoreError> {
        let path = self.path(key);
        let file = match OpenOptions::new().read(true).write(self.drop_damaged).open(&path) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(StoreError::io(&path))?,
        };
        let (scan, length) = read_to_the_end(&key.digest, &file).map_err(StoreError::io(&path))?;
        self.count(length);
        self.found.objects += 1;
        // Of several records of one frame the last counts.
        let places: BTreeMap<u64, (FrameRef, u64)> =
            scan.frames.iter().map(|(frame, at)| (frame.offset, (*frame, *at))).collect();
        for (frame, at) in places.into_values() {
            if !holds(&file, &frame, at).map_err(StoreError::io(&path))? {
                self.damaged_frame(key, &file, &frame, at)?;
                continue;
            }
            self.found.frames += 1;
            self.held.insert((key.digest, frame.offset));
            if !named.contains(&(key.digest, frame.offset)) {
                self.found.orphans.add(frame.stored_bytes.into());
            }
        }
        if scan.end < length { self.tail(key, &file, scan.end, length) } else { Ok(()) }
    }

    fn damaged_frame(&mut self, key: &Key, file: &File, frame: &FrameRef, at: u64) -> Result<(), StoreError> {
        let path = self.path(key);
        let dropped = self.drop_damaged && void_at(&key.digest, file, frame, at).map_err(StoreError::io(&path))?;
        self.found.damaged.push(Damaged {
            object: name(key),
            offset: Some(frame.offset),
            bytes: frame.stored_bytes.into(),
            code: "chunk-corrupt",
            reason: format!("the frame {} has another digest", frame.digest),
            dropped,
        });
        Ok(())
    }

    /// What a crash left behind the last whole record, or what stands behind a damaged head: nobody can tell.
    fn tail(&mut self, key: &Key, file: &File, end: u64, length: u64) -> Result<(), StoreError> {
        let path = self.path(key);
        // A site at work has come to write behind it: it has seen to it itself.
        let is_as_read = file.metadata().map_err(StoreError::io(&path))?.len() == length;
        let dropped = self.drop_damaged && is_as_read;
        if dropped {
            Disk.set_length(file, end).map_err(StoreError::io(&path))?;
        }
        self.found.damaged.push(Damaged {
            object: name(key),
            offset: Some(end),
            bytes: length - end,
            code: "tail-unreadable",
            reason: format!("from byte {end} of the file on nothing whole can be read"),
            dropped,
        });
        Ok(())
    }

    fn damaged(&mut self, key: &Key, code: &'static str, reason: String, bytes: u64) -> Result<(), StoreError> {
        if self.drop_damaged {
            let path = self.path(key);
            match key.kind {
                ObjectKind::Header => objects::remove_header(&path)?,
                _ => objects::remove(&path)?,
            }
        }
        let dropped = self.drop_damaged;
        self.found.damaged.push(Damaged { object: name(key), offset: None, bytes, code, reason, dropped });
        Ok(())
    }
}

fn name(key: &Key) -> String {
    format!("{}/{}", key.kind.folder(), key.digest)
}

fn holds(file: &File, frame: &FrameRef, at: u64) -> io::Result<bool> {
    let mut bytes = vec![0; frame.stored_bytes as usize];
    match file.read_exact_at(&mut bytes, at) {
        Err(fault) if fault.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| frame.verifies(&bytes)),
    }
}

/// Behind the last mark only what is whole counts, as for the store itself.
fn read_to_the_end(pack: &Digest, file: &File) -> io::Result<(Scan, u64)> {
    let read = || {
        let length = file.metadata()?.len();
        Ok::<_, io::Error>((Scan::of(pack, file, length)?.whole(file)?, length))
    };
    let (scan, length) = read()?;
    if scan.end == length {
        return Ok((scan, length));
    }
    std::thread::sleep(WRITE_PATIENCE);
    read()
}
