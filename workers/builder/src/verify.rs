//! Whether the origin has everything that its revisions need, and whether all of it is what its name says: every object is
//! read, every frame is opened. It changes nothing, and knows no database: which revisions there must be it is told.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use blobs::{BlobError, Blobs, Key, ObjectKind};
use bytes::Bytes;
use package::limits::{HEADER_BYTES_MAX, INDEX_BYTES_MAX, PACK_BYTES_MAX, PATCH_BYTES_MAX};
use package::patch::names_between;
use package::{FormatError, Frame, Index, decode_frame};
use schemas::job::PATCHED_REVISIONS_MAX;
use schemas::{Digest, Header, PackRef, StoreId};
use tokio::task::JoinSet;

/// Packs that are read at a time, each up to 64 MiB.
const PACKS_AT_ONCE: usize = 2;

/// What was found of one distribution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Whose headers are there and whole.
    pub revisions: BTreeSet<u64>,
    /// That the revisions lead to and that are there.
    pub objects: u64,
    /// That could be opened.
    pub frames: u64,
    /// That were read.
    pub bytes: u64,
    /// Sorted by object.
    pub damaged: Vec<Damaged>,
    /// What no revision leads to.
    pub orphans: Orphans,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damaged {
    /// `packs/<digest>` and the like.
    pub object: String,
    /// `object-absent`, `length-wrong`, `object-unreadable`, `wrong-store`, or a code of the package format.
    pub code: &'static str,
    pub reason: String,
    /// That cannot be delivered without it; of a patch none.
    pub revisions: Vec<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Orphans {
    pub objects: u64,
    pub bytes: u64,
}

/// Looks at the revisions with these headers; `None`: at every one that has a header there. An error is of the storage as a
/// whole. `seen` hears of bytes that were read.
pub async fn verify(
    blobs: &Arc<dyn Blobs>,
    store: StoreId,
    headers: Option<&[Digest]>,
    seen: &(dyn Fn(u64) + Send + Sync),
) -> Result<Checked, BlobError> {
    let listed: BTreeMap<Key, u64> = blobs.list(store).await?.into_iter().collect();
    let there = listed.keys().filter(|key| key.kind == ObjectKind::Header).map(|key| key.digest);
    let headers = headers.map_or_else(|| there.collect(), <[Digest]>::to_vec);
    let (found, led_to) = Default::default();
    let mut check = Check { blobs, store, listed, seen, found, led_to, packs: BTreeMap::new(), indexes: Vec::new() };
    for digest in headers {
        check.revision(digest).await?;
    }
    check.patches().await?;
    check.packs().await?;
    Ok(check.ended())
}

struct Check<'a> {
    blobs: &'a Arc<dyn Blobs>,
    store: StoreId,
    listed: BTreeMap<Key, u64>,
    seen: &'a (dyn Fn(u64) + Send + Sync),
    found: Checked,
    led_to: HashSet<Key>,
    packs: BTreeMap<Digest, Needed>,
    indexes: Vec<(u64, Digest)>,
}

/// What revisions need of a pack.
#[derive(Default)]
struct Needed {
    bytes: u64,
    frames: BTreeMap<u64, (Frame, BTreeSet<u64>)>,
    revisions: BTreeSet<u64>,
}

/// What is wrong with an object.
struct Wrong {
    code: &'static str,
    reason: String,
}

impl From<FormatError> for Wrong {
    fn from(error: FormatError) -> Wrong {
        Wrong { code: error.code(), reason: error.to_string() }
    }
}

impl Check<'_> {
    async fn revision(&mut self, digest: Digest) -> Result<(), BlobError> {
        let key = Key::header(self.store, digest);
        let read = self.read(&key, None, HEADER_BYTES_MAX).await?;
        match read.and_then(|bytes| self.open_header(&bytes, &digest)) {
            Ok(header) => self.manifest(header).await,
            Err(wrong) => {
                self.damaged(&key, wrong, []);
                Ok(())
            }
        }
    }

    fn open_header(&self, bytes: &[u8], digest: &Digest) -> Result<Header, Wrong> {
        let header = package::header::open(bytes, digest)?;
        if header.store == self.store {
            return Ok(header);
        }
        Err(Wrong { code: "wrong-store", reason: format!("it is of the store {}", header.store) })
    }

    async fn manifest(&mut self, header: Header) -> Result<(), BlobError> {
        let number = header.number;
        self.found.revisions.insert(number);
        self.indexes.push((number, header.index.digest));
        for PackRef { digest, bytes } in &header.packs {
            let needed = self.packs.entry(*digest).or_default();
            needed.bytes = *bytes;
            needed.revisions.insert(number);
        }
        let key = Key::index(self.store, header.index.digest);
        let bytes = match self.read(&key, Some(header.index.bytes), INDEX_BYTES_MAX).await? {
            Ok(bytes) => bytes,
            Err(wrong) => {
                self.damaged(&key, wrong, [number]);
                return Ok(());
            }
        };
        let opened = blocking(move || package::header::open_index(&header, &bytes)).await;
        match opened {
            Ok(index) => self.need(number, &index),
            Err(error) => self.damaged(&key, error.into(), [number]),
        }
        Ok(())
    }

    fn need(&mut self, number: u64, index: &Index) {
        for frame in &index.frames {
            let needed = self.packs.entry(index.packs[frame.pack as usize].digest).or_default();
            let (_, revisions) = needed.frames.entry(frame.offset).or_insert((*frame, BTreeSet::new()));
            revisions.insert(number);
        }
    }

    async fn patches(&mut self) -> Result<(), BlobError> {
        let mut names = HashSet::new();
        for &(to, new) in &self.indexes {
            let near = |base: &&(u64, Digest)| base.0 < to && to - base.0 <= PATCHED_REVISIONS_MAX;
            names.extend(self.indexes.iter().filter(near).flat_map(|&(_, base)| names_between(base, new)));
        }
        let keys = names.into_iter().map(|digest| Key::patch(self.store, digest));
        let mut there: Vec<Key> = keys.filter(|key| self.listed.contains_key(key)).collect();
        there.sort_unstable();
        for key in there {
            let read = self.read(&key, None, PATCH_BYTES_MAX).await?;
            if let Err(wrong) = read.and_then(|bytes| Ok(package::patch::verify(&key.digest, &bytes)?)) {
                self.damaged(&key, wrong, []);
            }
        }
        Ok(())
    }

    async fn packs(&mut self) -> Result<(), BlobError> {
        let mut waiting = std::mem::take(&mut self.packs).into_iter();
        let mut reading = JoinSet::new();
        loop {
            while reading.len() < PACKS_AT_ONCE
                && let Some((digest, needed)) = waiting.next()
            {
                let key = Key::pack(self.store, digest);
                match self.there(&key, Some(needed.bytes)) {
                    Ok(()) => drop(reading.spawn(open_pack(self.blobs.clone(), key, needed))),
                    Err(wrong) => self.damaged(&key, wrong, needed.revisions),
                }
            }
            let Some(ended) = reading.join_next().await else { return Ok(()) };
            let Opened { key, bytes, frames, wrong } = match ended {
                Ok(opened) => opened?,
                Err(fault) => std::panic::resume_unwind(fault.into_panic()),
            };
            self.count(bytes);
            self.found.frames += frames;
            if let Some((wrong, revisions)) = wrong {
                self.damaged(&key, wrong, revisions);
            }
        }
    }

    /// That it is listed, with this length.
    fn there(&mut self, key: &Key, bytes: Option<u64>) -> Result<(), Wrong> {
        self.led_to.insert(*key);
        let Some(&found) = self.listed.get(key) else {
            return Err(Wrong { code: "object-absent", reason: "it is not there".to_owned() });
        };
        self.found.objects += 1;
        match bytes {
            Some(bytes) if bytes != found => {
                Err(Wrong { code: "length-wrong", reason: format!("{found} bytes instead of {bytes}") })
            }
            _ => Ok(()),
        }
    }

    async fn read(&mut self, key: &Key, bytes: Option<u64>, bytes_max: u64) -> Result<Result<Bytes, Wrong>, BlobError> {
        if let Err(wrong) = self.there(key, bytes) {
            return Ok(Err(wrong));
        }
        let read = get(&**self.blobs, key, bytes_max).await?;
        self.count(read.as_ref().map_or(0, |bytes| bytes.len() as u64));
        Ok(read)
    }

    fn count(&mut self, bytes: u64) {
        self.found.bytes += bytes;
        (self.seen)(bytes);
    }

    fn damaged(&mut self, key: &Key, wrong: Wrong, revisions: impl IntoIterator<Item = u64>) {
        let object = format!("{}/{}", key.kind.folder(), key.digest);
        let Wrong { code, reason } = wrong;
        self.found.damaged.push(Damaged { object, code, reason, revisions: revisions.into_iter().collect() });
    }

    fn ended(mut self) -> Checked {
        for (_, bytes) in self.listed.iter().filter(|(key, _)| !self.led_to.contains(key)) {
            self.found.orphans.objects += 1;
            self.found.orphans.bytes += bytes;
        }
        // Revisions may share an index.
        self.found.damaged.sort_unstable();
        self.found.damaged.dedup();
        self.found
    }
}

/// What one object's fault is, apart from those of the storage as a whole.
async fn get(blobs: &dyn Blobs, key: &Key, bytes_max: u64) -> Result<Result<Bytes, Wrong>, BlobError> {
    match blobs.get(key, bytes_max).await {
        Ok(bytes) => Ok(Ok(bytes)),
        Err(error @ BlobError::Absent { .. }) => Ok(Err(Wrong { code: "object-absent", reason: error.to_string() })),
        Err(error @ BlobError::TooLarge { .. }) => Ok(Err(Wrong { code: "length-wrong", reason: error.to_string() })),
        Err(error @ (BlobError::Damaged { .. } | BlobError::Permanent { .. })) => {
            Ok(Err(Wrong { code: "object-unreadable", reason: error.to_string() }))
        }
        Err(error) => Err(error),
    }
}

struct Opened {
    key: Key,
    bytes: u64,
    /// That could be opened.
    frames: u64,
    /// With the revisions that it concerns.
    wrong: Option<(Wrong, BTreeSet<u64>)>,
}

async fn open_pack(blobs: Arc<dyn Blobs>, key: Key, needed: Needed) -> Result<Opened, BlobError> {
    let pack = match get(&*blobs, &key, PACK_BYTES_MAX).await? {
        Ok(pack) => pack,
        Err(wrong) => return Ok(Opened { key, bytes: 0, frames: 0, wrong: Some((wrong, needed.revisions)) }),
    };
    Ok(blocking(move || open_frames(key, &pack, needed)).await)
}

fn open_frames(key: Key, pack: &[u8], needed: Needed) -> Opened {
    let (mut frames, mut wrong, mut revisions) = (0, Vec::new(), BTreeSet::new());
    for (frame, of) in needed.frames.values() {
        let stored = pack.get(frame.offset as usize..).and_then(|rest| rest.get(..frame.stored_bytes as usize));
        match decode_frame(frame, stored.unwrap_or_default()) {
            Ok(_) => frames += 1,
            Err(error) => {
                wrong.push(error);
                revisions.extend(of);
            }
        }
    }
    let found = Digest::of(pack);
    let wrong = match (wrong.first(), found == key.digest) {
        (Some(first), _) => {
            let reason = format!("{} of {} frames: {first}", wrong.len(), needed.frames.len());
            Some((Wrong { code: first.code(), reason }, revisions))
        }
        (None, false) => {
            let reason = format!("its bytes have digest {found}; the frames that revisions need are whole");
            Some((Wrong { code: "digest-mismatch", reason }, BTreeSet::new()))
        }
        (None, true) => None,
    };
    Opened { key, bytes: pack.len() as u64, frames, wrong }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(fault) => std::panic::resume_unwind(fault.into_panic()),
    }
}
