//! Answers for children that were let in: whole objects, one range, many ranges. What is not here, read-through brings.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode};
use blobs::wire::{self, RangesRequest};
use blobs::{Key, ObjectKind};
use bytes::Bytes;
use futures::{StreamExt, stream};
use schemas::SubscriberName;

use super::Served;
use super::Upstreams;
use super::in_hand::InHand;
use super::known::KnownPacks;
use super::read_through::ReadThrough;
use super::refusal::Refusal;
use crate::space::Floor;
use crate::store::{FrameRef, Store, StoreError, part_of};

/// Frames read ahead of what the child has taken.
const FRAMES_AHEAD: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    Size(Key),
    Whole(Key),
    Part(Key, Range<u64>),
    Parts(Key, Vec<Range<u64>>),
}

impl Route {
    fn key(&self) -> &Key {
        let (Route::Size(key) | Route::Whole(key) | Route::Part(key, _) | Route::Parts(key, _)) = self;
        key
    }

    pub fn of(head: &Parts, body: &[u8]) -> Result<Route, Refusal> {
        let path = head.uri.path().strip_prefix(wire::CONTENT_PATH).ok_or(Refusal::Absent)?;
        if head.uri.query().is_some() {
            return Err(Refusal::Malformed);
        }
        if let Some(path) = path.strip_suffix(wire::RANGES_SUFFIX) {
            let key = Key::parse(path).filter(|_| head.method == Method::POST).ok_or(Refusal::Malformed)?;
            let asked: RangesRequest = serde_json::from_slice(body).map_err(|_| Refusal::Malformed)?;
            let (ranges, _) = asked.checked().ok_or(Refusal::Malformed)?;
            return Ok(Route::Parts(key, ranges));
        }
        let key = Key::parse(path).filter(|_| body.is_empty()).ok_or(Refusal::Malformed)?;
        match (head.method.clone(), head.headers.get(RANGE)) {
            (Method::HEAD, None) => Ok(Route::Size(key)),
            (Method::GET, None) => Ok(Route::Whole(key)),
            (Method::GET, Some(range)) => {
                let range = range.to_str().ok().and_then(wire::parse_range_header);
                Ok(Route::Part(key, range.ok_or(Refusal::Malformed)?))
            }
            _ => Err(Refusal::Malformed),
        }
    }
}

#[derive(Debug)]
pub struct Content {
    store: Arc<Store>,
    known: Arc<KnownPacks>,
    in_hand: InHand,
    read_through: ReadThrough,
    served: Served,
}

/// Bytes of one frame that an answer holds.
#[derive(Debug, Clone)]
struct Piece {
    frame: FrameRef,
    part: Range<usize>,
}

impl Content {
    pub fn new(store: Arc<Store>, upstreams: Upstreams, served: Served, floor: Floor) -> Content {
        let read_through = ReadThrough::new(store.clone(), upstreams, floor);
        Content { store, known: Arc::default(), in_hand: InHand::default(), read_through, served }
    }

    pub async fn answer(&self, route: Route, child: SubscriberName) -> Result<Response<Body>, Refusal> {
        self.store.touch(route.key());
        match route {
            Route::Size(key) => Ok(response(StatusCode::OK, self.size(key).await?, Body::empty())),
            Route::Whole(key) if key.kind != ObjectKind::Pack => {
                let whole = self.object(key).await?;
                Ok(response(StatusCode::OK, whole.len() as u64, self.counted(whole, child)))
            }
            Route::Whole(key) => {
                let bytes = self.size(key).await?;
                let whole = 0..bytes;
                let body = self.pieces(key, vec![whole], child).await?;
                Ok(response(StatusCode::OK, bytes, body))
            }
            Route::Part(key, range) => self.part(key, range, child).await,
            Route::Parts(key, ranges) => {
                let bytes = ranges.iter().map(|range| range.end - range.start).sum();
                let body = match key.kind {
                    ObjectKind::Pack => self.pieces(key, ranges, child).await?,
                    _ => self.counted(cut(&self.object(key).await?, &ranges)?.concat().into(), child),
                };
                Ok(response(StatusCode::OK, bytes, body))
            }
        }
    }

    async fn part(&self, key: Key, range: Range<u64>, child: SubscriberName) -> Result<Response<Body>, Refusal> {
        let bytes = range.end - range.start;
        let (body, whole) = match key.kind {
            ObjectKind::Pack => (self.pieces(key, vec![range.clone()], child).await?, None),
            _ => {
                let whole = self.object(key).await?;
                let part = cut(&whole, std::slice::from_ref(&range))?.remove(0);
                (self.counted(part, child), Some(whole.len()))
            }
        };
        let mut response = response(StatusCode::PARTIAL_CONTENT, bytes, body);
        let whole = whole.map_or("*".to_owned(), |bytes| bytes.to_string());
        let answered = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
        response.headers_mut().insert(CONTENT_RANGE, HeaderValue::try_from(answered).map_err(|_| Refusal::Malformed)?);
        Ok(response)
    }

    async fn size(&self, key: Key) -> Result<u64, Refusal> {
        if key.kind != ObjectKind::Pack {
            return Ok(self.object(key).await?.len() as u64);
        }
        loop {
            let (store, known) = (self.store.clone(), self.known.clone());
            match blocking(move || known.pack(&store, key.store, key.digest)).await? {
                Some(pack) => return Ok(pack.bytes),
                None if self.learn(key).await? => {}
                None => return Err(Refusal::Absent),
            }
        }
    }

    async fn object(&self, key: Key) -> Result<Bytes, Refusal> {
        if let Some(held) = self.held(key).await? {
            return Ok(held);
        }
        match key.kind {
            ObjectKind::Patch => self.read_through.patch(key).await?,
            _ => self.read_through.object(key).await?,
        }
        self.held(key).await?.ok_or(Refusal::SourcesFailed)
    }

    async fn held(&self, key: Key) -> Result<Option<Bytes>, Refusal> {
        let store = self.store.clone();
        self.in_hand.get(key, blocking(move || store.object(&key))).await
    }

    /// The answer's body, once all that it is made of is in the store.
    async fn pieces(&self, key: Key, ranges: Vec<Range<u64>>, child: SubscriberName) -> Result<Body, Refusal> {
        let pieces = self.plan(key, ranges).await?;
        let mut frames: Vec<FrameRef> = pieces.iter().map(|piece| piece.frame).collect();
        frames.dedup();
        self.read_through.frames(key.store, key.digest, frames).await?;
        let (store, served) = (self.store.clone(), self.served.clone());
        let read = move |piece: Piece| {
            let (store, served, child) = (store.clone(), served.clone(), child.clone());
            async move {
                let part = read_piece(store, key, piece).await?;
                served.count(&child, part.len());
                Ok::<Bytes, io::Error>(part)
            }
        };
        Ok(Body::from_stream(stream::iter(pieces).map(read).buffered(FRAMES_AHEAD)))
    }

    async fn plan(&self, key: Key, ranges: Vec<Range<u64>>) -> Result<Vec<Piece>, Refusal> {
        let ranges: Arc<[Range<u64>]> = ranges.into();
        loop {
            let (store, known, ranges) = (self.store.clone(), self.known.clone(), ranges.clone());
            match blocking(move || Ok(plan(&store, &known, key, &ranges))).await? {
                Err(Refusal::Absent | Refusal::OutOfRange) if self.learn(key).await? => {}
                planned => return planned,
            }
        }
    }

    /// Brings one more index that may say where the pack's frames are; false if there is none. A child that got its index as a
    /// patch has asked for the header alone.
    async fn learn(&self, pack: Key) -> Result<bool, Refusal> {
        let store = self.store.clone();
        let lacking = blocking(move || lacking_index(&store, pack)).await?;
        match lacking {
            Some(index) => self.read_through.object(index).await.map(|()| true),
            None => Ok(false),
        }
    }

    fn counted(&self, bytes: Bytes, child: SubscriberName) -> Body {
        self.served.count(&child, bytes.len());
        Body::from(bytes)
    }
}

/// Held frames first: only what is not covered by them needs an index.
fn plan(store: &Store, known: &KnownPacks, key: Key, ranges: &[Range<u64>]) -> Result<Vec<Piece>, Refusal> {
    let mut pieces = Vec::with_capacity(ranges.len());
    for range in ranges {
        let frames = match store.tiles(key.store, key.digest, range)? {
            Some(tiles) => tiles,
            None => {
                let pack = known.pack(store, key.store, key.digest)?.ok_or(Refusal::Absent)?;
                pack.covering(range).ok_or(Refusal::OutOfRange)?.to_vec()
            }
        };
        pieces.extend(frames.into_iter().map(|frame| Piece { part: part_of(&frame, range), frame }));
    }
    Ok(pieces)
}

/// Of the newest revision whose header is here, but not its index, and that has frames in the pack.
fn lacking_index(store: &Store, pack: Key) -> Result<Option<Key>, StoreError> {
    let headers = store.headers(pack.store)?.into_iter().map(|(_, header)| header);
    let naming = headers.filter(|header| header.packs.iter().any(|named| named.digest == pack.digest));
    let lacking = naming.map(|header| (header.number, Key::index(pack.store, header.index.digest)));
    Ok(lacking.filter(|(_, index)| !store.holds(index)).max().map(|(_, index)| index))
}

/// A frame that is damaged or evicted meanwhile breaks the answer off: its child asks again, and it is read through.
async fn read_piece(store: Arc<Store>, key: Key, piece: Piece) -> io::Result<Bytes> {
    let frame = piece.frame;
    let read = blocking(move || store.frame(key.store, key.digest, frame)).await;
    match read {
        Ok(Some(bytes)) => Ok(bytes.slice(piece.part)),
        Ok(None) => Err(io::Error::other("a frame left the store while it was served")),
        Err(_) => Err(io::Error::other("the store failed")),
    }
}

fn cut(whole: &Bytes, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Refusal> {
    let inside = |range: &Range<u64>| range.end <= whole.len() as u64;
    let part = |range: &Range<u64>| inside(range).then(|| whole.slice(range.start as usize..range.end as usize));
    ranges.iter().map(|range| part(range).ok_or(Refusal::OutOfRange)).collect()
}

fn response(status: StatusCode, bytes: u64, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(fault) => {
            tracing::error!(%fault, "serving a child ended badly");
            Err(Refusal::StoreFailed("store-unusable"))
        }
    }
}
