//! Brings what the store lacks from the sources, once for all who ask at the same time, and keeps it. A fetch goes on
//! when the child that began it is gone: others may wait for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blobs::{BlobError, Key, ObjectKind};
use bytes::Bytes;
use package::limits::{HEADER_BYTES_MAX, INDEX_BYTES_MAX, PATCH_BYTES_MAX};
use package::room;
use schemas::{Digest, StoreId};
use tokio::sync::{Semaphore, watch};

use super::Upstreams;
use super::content::blocking;
use super::refusal::Refusal;
use crate::space::Floor;
use crate::store::{FrameRef, Store, StoreError};

/// Bytes that one fetch asks a source for.
const FETCH_BYTES_MAX: u64 = 8 << 20;
/// Fetches under way at once, for all children.
const FETCHES_AT_ONCE: usize = 8;
/// How long a child waits for a patch that is read through: it does without one, and what it takes instead is here.
pub(super) const PATCH_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a patch that could not be had counts as absent without asking again.
const PATCH_ABSENT_FOR: Duration = Duration::from_secs(15);
/// Such patches remembered at once; beyond that all are forgotten.
const PATCHES_ABSENT_MAX: usize = 1_024;

#[derive(Debug, Clone)]
pub struct ReadThrough {
    store: Arc<Store>,
    upstreams: Upstreams,
    flights: Arc<Mutex<HashMap<Wanted, Flight>>>,
    places: Arc<Semaphore>,
    /// Patches that no source gave, and until when they are not asked for.
    absent: Arc<Mutex<HashMap<Key, Instant>>>,
    floor: Floor,
    /// Bytes that are being fetched.
    coming_bytes: Arc<AtomicU64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wanted {
    Object(Key),
    Frame { pack: Key, offset: u64 },
}

/// How a fetch ended, once it has.
type Flight = watch::Receiver<Option<Result<(), Refusal>>>;

/// What this caller is to fetch, with what tells the others.
struct Claim<T> {
    mine: Vec<T>,
    landed: watch::Sender<Option<Result<(), Refusal>>>,
}

impl ReadThrough {
    pub fn new(store: Arc<Store>, upstreams: Upstreams, floor: Floor) -> ReadThrough {
        let places = Arc::new(Semaphore::new(FETCHES_AT_ONCE));
        let (flights, absent, coming_bytes) = (Arc::default(), Arc::default(), Arc::default());
        ReadThrough { store, upstreams, flights, places, absent, floor, coming_bytes }
    }

    /// Room in the store's file system for so much more, beside what is being fetched already.
    fn room(&self, bytes: u64) -> Result<Coming, Refusal> {
        let coming = Coming::new(&self.coming_bytes, bytes);
        let folder = self.store.root();
        let free = room::free_bytes(folder).map_err(|source| StoreError::Io { path: folder.to_owned(), source })?;
        let needed = self.coming_bytes.load(Relaxed);
        match room::judge(&folder.to_string_lossy(), free, needed, self.floor.bytes()) {
            Ok(()) => Ok(coming),
            Err(error) => {
                tracing::warn!(%error, "nothing more is read through for children");
                Err(Refusal::NoRoom(error.code()))
            }
        }
    }

    /// The object is in the store when this returns.
    pub async fn object(&self, key: Key) -> Result<(), Refusal> {
        let (flights, claims) = self.claim(vec![key], |key| Wanted::Object(*key), |_| 1);
        for claim in claims {
            let this = self.clone();
            self.launch(claim, |key| Wanted::Object(*key), move |_| async move { this.fetch_object(key).await });
        }
        landed(flights).await
    }

    /// The same for what nobody needs: whatever goes wrong, it is absent, and soon.
    pub async fn patch(&self, key: Key) -> Result<(), Refusal> {
        let now = Instant::now();
        if lock(&self.absent).get(&key).is_some_and(|until| now < *until) {
            return Err(Refusal::Absent);
        }
        let ended = tokio::time::timeout(PATCH_WAIT_MAX, self.object(key)).await;
        if matches!(ended, Ok(Ok(()))) {
            return Ok(());
        }
        let mut absent = lock(&self.absent);
        if absent.len() >= PATCHES_ABSENT_MAX {
            absent.clear();
        }
        absent.insert(key, Instant::now() + PATCH_ABSENT_FOR);
        Err(Refusal::Absent)
    }

    /// The frames are in the store when this returns.
    pub async fn frames(&self, store: StoreId, pack: Digest, frames: Vec<FrameRef>) -> Result<(), Refusal> {
        let missing = self.missing(store, pack, frames).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let pack = Key::pack(store, pack);
        let name = move |frame: &FrameRef| Wanted::Frame { pack, offset: frame.offset };
        let (flights, claims) = self.claim(missing, name, |frame| frame.stored_bytes.into());
        for claim in claims {
            let this = self.clone();
            self.launch(claim, name, move |mine| async move { this.fetch_frames(pack, mine).await });
        }
        landed(flights).await
    }

    async fn missing(&self, store: StoreId, pack: Digest, frames: Vec<FrameRef>) -> Result<Vec<FrameRef>, Refusal> {
        let held = self.store.clone();
        blocking(move || lacking(&held, store, pack, frames)).await
    }

    /// Joins the fetches that are under way, and claims the rest in batches.
    fn claim<T>(
        &self,
        wanted: Vec<T>,
        name: impl Fn(&T) -> Wanted,
        bytes: impl Fn(&T) -> u64,
    ) -> (Vec<Flight>, Vec<Claim<T>>) {
        let mut under_way = lock(&self.flights);
        let (mut flights, mut claims) = (Vec::new(), Vec::<Claim<T>>::new());
        let mut room = 0;
        for one in wanted {
            if let Some(flight) = under_way.get(&name(&one)) {
                flights.push(flight.clone());
                continue;
            }
            if bytes(&one) > room {
                let (landed, flight) = watch::channel(None);
                claims.push(Claim { mine: Vec::new(), landed });
                flights.push(flight);
                room = FETCH_BYTES_MAX;
            }
            room = room.saturating_sub(bytes(&one));
            let claim = claims.last_mut().expect("a claim was begun");
            under_way.insert(name(&one), claim.landed.subscribe());
            claim.mine.push(one);
        }
        (flights, claims)
    }

    fn launch<T, F>(
        &self,
        claim: Claim<T>,
        name: impl Fn(&T) -> Wanted,
        fetch: impl FnOnce(Vec<T>) -> F + Send + 'static,
    ) where
        T: Send + 'static,
        F: Future<Output = Result<(), Refusal>> + Send,
    {
        let names: Vec<Wanted> = claim.mine.iter().map(name).collect();
        let landing = Landing { names, flights: self.flights.clone(), landed: claim.landed, ended: None };
        let places = self.places.clone();
        tokio::spawn(async move {
            let mut landing = landing;
            let _place = places.acquire_owned().await;
            landing.ended = Some(fetch(claim.mine).await);
        });
    }

    async fn fetch_object(&self, key: Key) -> Result<(), Refusal> {
        let store = self.store.clone();
        if blocking(move || store.object(&key)).await?.is_some() {
            return Ok(());
        }
        let bytes_max = match key.kind {
            ObjectKind::Header => HEADER_BYTES_MAX,
            ObjectKind::Patch => PATCH_BYTES_MAX,
            ObjectKind::Index | ObjectKind::Pack => INDEX_BYTES_MAX,
        };
        // How long it is nobody knows yet.
        drop(self.room(1)?);
        let mut worst = Refusal::Absent;
        for source in self.upstreams.of(key.store) {
            match source.get(&key, bytes_max).await {
                Ok(bytes) => match self.keep_object(key, bytes).await? {
                    true => return Ok(()),
                    false => {
                        tracing::warn!(%key, source = source.name(), "corrupt at the source");
                        worst = Refusal::SourcesFailed;
                    }
                },
                Err(fault) => worst = worse(worst, &fault),
            }
        }
        Err(worst)
    }

    async fn keep_object(&self, key: Key, bytes: Bytes) -> Result<bool, Refusal> {
        let _coming = self.room(bytes.len() as u64)?;
        let store = self.store.clone();
        blocking(move || match store.put_object(&key, &bytes) {
            Err(StoreError::Damaged { .. }) => Ok(false),
            put => put.map(|()| true),
        })
        .await
    }

    /// Whole frames, from the first source that gives them as the index says.
    async fn fetch_frames(&self, pack: Key, frames: Vec<FrameRef>) -> Result<(), Refusal> {
        let mut missing = self.missing(pack.store, pack.digest, frames).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let _coming = self.room(missing.iter().map(|frame| u64::from(frame.stored_bytes)).sum())?;
        let mut worst = Refusal::Absent;
        for source in self.upstreams.of(pack.store) {
            if missing.is_empty() {
                break;
            }
            let ranges: Vec<_> = missing.iter().map(FrameRef::range).collect();
            let (parts, fault) = source.get_parts(&pack, &ranges).await;
            missing = self.keep_frames(pack, missing, parts).await?;
            match fault {
                Some(fault) => worst = worse(worst, &fault),
                None if missing.is_empty() => {}
                None => {
                    tracing::warn!(%pack, source = source.name(), frames = missing.len(), "corrupt at the source");
                    worst = Refusal::SourcesFailed;
                }
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(worst) }
    }

    /// Gives back the frames that did not come or are not what the index says.
    async fn keep_frames(&self, pack: Key, frames: Vec<FrameRef>, parts: Vec<Bytes>) -> Result<Vec<FrameRef>, Refusal> {
        let store = self.store.clone();
        blocking(move || {
            let mut corrupt = frames[parts.len().min(frames.len())..].to_vec();
            for (frame, bytes) in frames.into_iter().zip(parts) {
                match store.put_frame(pack.store, pack.digest, frame, &bytes) {
                    Err(StoreError::DamagedFrame { .. }) => corrupt.push(frame),
                    put => put?,
                }
            }
            Ok(corrupt)
        })
        .await
    }
}

/// Bytes for which room was found, until they are there.
struct Coming {
    all: Arc<AtomicU64>,
    bytes: u64,
}

impl Coming {
    fn new(all: &Arc<AtomicU64>, bytes: u64) -> Coming {
        all.fetch_add(bytes, Relaxed);
        Coming { all: all.clone(), bytes }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Relaxed);
    }
}

/// Ends a fetch for all who wait, on every way out: a panic counts as failed.
struct Landing {
    names: Vec<Wanted>,
    flights: Arc<Mutex<HashMap<Wanted, Flight>>>,
    landed: watch::Sender<Option<Result<(), Refusal>>>,
    ended: Option<Result<(), Refusal>>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = lock(&self.flights);
        self.names.iter().for_each(|name| drop(flights.remove(name)));
        drop(flights);
        self.landed.send_replace(Some(self.ended.take().unwrap_or(Err(Refusal::SourcesFailed))));
    }
}

async fn landed(flights: Vec<Flight>) -> Result<(), Refusal> {
    for mut flight in flights {
        match flight.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().unwrap_or(Err(Refusal::SourcesFailed))?,
            Err(_) => return Err(Refusal::SourcesFailed),
        }
    }
    Ok(())
}

fn lacking(store: &Store, id: StoreId, pack: Digest, frames: Vec<FrameRef>) -> Result<Vec<FrameRef>, StoreError> {
    let mut missing = Vec::new();
    for frame in frames {
        if !store.has_frame(id, pack, frame)? {
            missing.push(frame);
        }
    }
    Ok(missing)
}

/// Absent counts only if every source says so.
fn worse(so_far: Refusal, fault: &BlobError) -> Refusal {
    tracing::warn!(%fault, "a source failed while reading through");
    match fault {
        BlobError::Absent { .. } => so_far,
        _ => Refusal::SourcesFailed,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
