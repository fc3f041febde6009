//! Room in the store: what no index here names goes. Nothing of it is lost for good, so it is careful rather than thorough: an
//! index that is newer than what it looked at makes it look again, and what a child asked for lately stays.
//!
//! Each step alone leaves a store that is right. A header goes before its index, durably: from then on the revision is not held. A pack
//! of which nothing is named goes as a file; one of which too little is named is written anew without the rest, synced, and
//! takes the old one's place by one rename.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use blobs::{Key, ObjectKind};
use package::Index;
use package::patch::names_between;
use schemas::{Digest, Header, StoreId};

use super::{Store, StoreError, UNFINISHED, lock, objects};

/// An index without a header, or a patch without its indexes, belongs to a download that did not end; it is kept this long, so
/// that the download can go on.
const UNFINISHED_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// Keys that children asked for and that are remembered; above it those that are too old are forgotten.
const SERVED_MAX: usize = 50_000;
/// A pack is written anew once at least one part of so many of it is named by nobody.
const WASTE_PARTS: u64 = 4;
/// New indexes that come while it looks make it begin again so often; then it is the next one's turn.
const LOOKS_MAX: u32 = 8;

/// What a sweep came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub bytes_freed: u64,
    /// It ended before it was through.
    pub unfinished: bool,
}

impl Store {
    /// The headers held of a distribution.
    pub fn headers(&self, store: StoreId) -> Result<Vec<(Digest, Header)>, StoreError> {
        let mut found = Vec::new();
        for name in objects::names_in(&self.root.join(store.to_string()).join(ObjectKind::Header.folder()))? {
            let Ok(digest) = name.parse() else { continue };
            let Some(bytes) = self.header(store, digest)? else { continue };
            match package::header::decode(&bytes) {
                Ok(header) if header.store == store => found.push((digest, header)),
                _ => tracing::warn!(%store, header = %digest, "a header in the store is none"),
            }
        }
        found.sort_unstable_by_key(|(digest, header)| (header.number, *digest));
        Ok(found)
    }

    /// The revision is not held any more; what only it named goes with the next sweep.
    pub fn drop_header(&self, store: StoreId, digest: Digest) -> Result<(), StoreError> {
        objects::remove_header(&self.path(&Key::header(store, digest)))?;
        self.header_changed();
        Ok(())
    }

    /// Grows with every header that comes or goes, of any distribution.
    pub fn header_changes(&self) -> u64 {
        self.header_changes.load(Ordering::Acquire)
    }

    pub(super) fn header_changed(&self) {
        self.header_changes.fetch_add(1, Ordering::Release);
    }

    /// A child has just asked for it.
    pub fn touch(&self, key: &Key) {
        let mut served = lock(&self.served);
        if served.len() >= SERVED_MAX {
            served.retain(|_, at| at.elapsed() < self.served_kept);
        }
        served.insert(*key, Instant::now());
    }

    pub fn is_being_served(&self, key: &Key) -> bool {
        lock(&self.served).get(key).is_some_and(|at| at.elapsed() < self.served_kept)
    }

    /// Removes what no index names. `downloading`: a download of this distribution is under way, so every index counts,
    /// whatever its age.
    pub fn sweep(&self, store: StoreId, downloading: bool, stop: &AtomicBool) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        for _ in 0..LOOKS_MAX {
            let seen = *lock(&self.indexes_put);
            let sweep = Sweep { held: self, store, downloading, seen, stop };
            match sweep.run(&mut swept.bytes_freed)? {
                Ended::Through => return Ok(swept),
                Ended::Stopped => break,
                Ended::Overtaken => {}
            }
        }
        swept.unfinished = true;
        Ok(swept)
    }

    /// Does `work` unless an index has come since `seen`; none comes meanwhile.
    fn unless_overtaken<T>(
        &self,
        seen: u64,
        work: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let indexes_put = lock(&self.indexes_put);
        if *indexes_put == seen { work().map(Some) } else { Ok(None) }
    }

    /// An index is there: what it names is named from now on.
    pub(super) fn index_was_put(&self) {
        *lock(&self.indexes_put) += 1;
    }
}

enum Ended {
    Through,
    Stopped,
    Overtaken,
}

struct Sweep<'a> {
    held: &'a Store,
    store: StoreId,
    downloading: bool,
    /// How many indexes had come when this look began.
    seen: u64,
    stop: &'a AtomicBool,
}

/// The indexes that count, and what the headers say without opening them.
struct Named {
    indexes: Vec<Digest>,
    packs: HashSet<Digest>,
    /// Of the largest revision: no sweep leaves less.
    stored_bytes_min: u64,
}

impl Sweep<'_> {
    fn run(&self, freed: &mut u64) -> Result<Ended, StoreError> {
        let Some(named) = self.indexes(freed)? else { return Ok(Ended::Overtaken) };
        if !self.patches(&named.indexes, freed)? {
            return Ok(Ended::Overtaken);
        }
        let mut packs = self.held.files(self.store)?;
        packs.retain(|key, _| key.kind == ObjectKind::Pack);
        let (staying, going): (BTreeMap<Key, u64>, BTreeMap<Key, u64>) =
            packs.into_iter().partition(|(key, _)| named.packs.contains(&key.digest));
        for (key, bytes) in going {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Ended::Stopped);
            }
            if self.held.is_being_served(&key) {
                continue;
            }
            if self.held.unless_overtaken(self.seen, || self.held.remove_pack(&key))?.is_none() {
                return Ok(Ended::Overtaken);
            }
            *freed += bytes;
        }
        // Without opening an index it is certain that less than the allowed part is waste.
        let bytes: u64 = staying.values().sum();
        if (bytes.saturating_sub(named.stored_bytes_min)) * WASTE_PARTS < bytes {
            return Ok(Ended::Through);
        }
        self.compact(&named, staying.keys(), freed)
    }

    /// Removes indexes that belong to no header and to no download. None: another index came meanwhile.
    fn indexes(&self, freed: &mut u64) -> Result<Option<Named>, StoreError> {
        let headers = self.held.headers(self.store)?;
        let mut named = Named {
            indexes: Vec::new(),
            packs: headers.iter().flat_map(|(_, header)| header.packs.iter().map(|pack| pack.digest)).collect(),
            stored_bytes_min: headers.iter().map(|(_, header)| header.stored_bytes).max().unwrap_or(0),
        };
        let of_headers: HashSet<Digest> = headers.iter().map(|(_, header)| header.index.digest).collect();
        for digest in self.held.indexes(self.store)? {
            let key = Key::index(self.store, digest);
            if of_headers.contains(&digest) {
                named.indexes.push(digest);
                continue;
            }
            let path = self.held.path(&key);
            if !self.downloading && !is_young(&path) && !self.held.is_being_served(&key) {
                let bytes = objects::length(&path)?.unwrap_or(0);
                if self.held.unless_overtaken(self.seen, || objects::remove(&path))?.is_none() {
                    return Ok(None);
                }
                *freed += bytes;
            } else if let Some(index) = self.open(digest)? {
                named.packs.extend(index.packs.iter().map(|pack| pack.digest));
                named.indexes.push(digest);
            }
        }
        Ok(Some(named))
    }

    /// Removes patches that do not lead from one held revision to another. False: another index came meanwhile.
    fn patches(&self, indexes: &[Digest], freed: &mut u64) -> Result<bool, StoreError> {
        let leads_on = |&base: &Digest| indexes.iter().flat_map(move |&new| names_between(base, new));
        let named: HashSet<Digest> = indexes.iter().flat_map(leads_on).collect();
        let mut files = self.held.files(self.store)?;
        files.retain(|key, _| key.kind == ObjectKind::Patch && !named.contains(&key.digest));
        for (key, bytes) in files {
            let path = self.held.path(&key);
            // Of a download that has not put its index yet.
            if self.downloading || is_young(&path) || self.held.is_being_served(&key) {
                continue;
            }
            if self.held.unless_overtaken(self.seen, || objects::remove(&path))?.is_none() {
                return Ok(false);
            }
            *freed += bytes;
        }
        Ok(true)
    }

    fn open(&self, digest: Digest) -> Result<Option<Index>, StoreError> {
        let Some(bytes) = self.held.index(self.store, digest)? else { return Ok(None) };
        Ok(Index::decode(&bytes)
            .map_err(|fault| tracing::warn!(index = %digest, %fault, "an index cannot be read"))
            .ok())
    }

    fn compact<'k>(
        &self,
        named: &Named,
        packs: impl Iterator<Item = &'k Key>,
        freed: &mut u64,
    ) -> Result<Ended, StoreError> {
        let mut offsets: HashMap<Digest, HashSet<u64>> = HashMap::new();
        for digest in &named.indexes {
            let Some(index) = self.open(*digest)? else { continue };
            for frame in &index.frames {
                offsets.entry(index.packs[frame.pack as usize].digest).or_default().insert(frame.offset);
            }
        }
        for key in packs {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Ended::Stopped);
            }
            if self.held.is_being_served(key) {
                continue;
            }
            let Some(frames) = self.held.pack(key.store, key.digest)? else { continue };
            let none = HashSet::new();
            let wanted = offsets.get(&key.digest).unwrap_or(&none);
            let unfinished = self.held.root.join(UNFINISHED);
            let rewrite = || frames.keep_only(|frame| wanted.contains(&frame.offset), WASTE_PARTS, &unfinished);
            match self.held.unless_overtaken(self.seen, rewrite)? {
                Some(bytes) => *freed += bytes,
                None => return Ok(Ended::Overtaken),
            }
        }
        Ok(Ended::Through)
    }
}

fn is_young(path: &std::path::Path) -> bool {
    let written = fs::metadata(path).and_then(|about| about.modified());
    let age = written.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
    age.is_ok_and(|age| age < UNFINISHED_KEPT)
}
