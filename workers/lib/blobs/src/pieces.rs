//! What is read, as it comes: bytes in pieces of any length, and the parts that pieces are put together to. It knows no source.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, ready};
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::{BlobError, Key};

/// Ends after its first fault: who reads on gets nothing of use.
pub type Pieces<'a> = BoxStream<'a, Result<Bytes, BlobError>>;

/// Longest part for which room is made before its bytes arrive: a length that lies must not cost memory.
const RESERVE_BYTES_MAX: u64 = 32 << 20;

/// What of an object is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// An object above `bytes_max` is refused.
    Whole { bytes_max: u64 },
    /// These ranges, one after the other. None is empty.
    Ranges(Vec<Range<u64>>),
}

impl Extent {
    /// Most bytes that this may come to.
    pub fn bytes_max(&self) -> u64 {
        match self {
            Extent::Whole { bytes_max } => *bytes_max,
            Extent::Ranges(ranges) => ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum(),
        }
    }
}

/// Pieces of an answer that has yet to begin.
pub fn of_answer<'a>(answer: impl Future<Output = Result<Pieces<'a>, BlobError>> + Send + 'a) -> Pieces<'a> {
    stream::once(answer).try_flatten().boxed()
}

pub fn fault<'a>(fault: BlobError) -> Pieces<'a> {
    stream::once(ready(Err(fault))).boxed()
}

/// No source answers for an empty range.
pub(crate) fn empty_range<'a>(key: Key, source_name: &str) -> Pieces<'a> {
    let (source_name, reason) = (source_name.to_owned(), "an empty range was asked for".to_owned());
    fault(BlobError::Permanent { key, source_name, reason })
}

/// All of it as one.
pub async fn joined(mut pieces: Pieces<'_>) -> Result<Bytes, BlobError> {
    let Some(first) = pieces.try_next().await? else { return Ok(Bytes::new()) };
    let Some(second) = pieces.try_next().await? else { return Ok(first) };
    let mut whole = BytesMut::from(first);
    whole.extend_from_slice(&second);
    while let Some(piece) = pieces.try_next().await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// What the readers give one after the other, though `at_once` of them read at a time: what comes too early waits here.
pub fn in_order<'a>(readers: Vec<Pieces<'a>>, at_once: usize) -> Pieces<'a> {
    let marked = |(reader, pieces): (usize, Pieces<'a>)| {
        pieces.map(Some).chain(stream::once(ready(None))).map(move |piece| (reader, piece)).boxed()
    };
    let coming = stream::iter(readers).enumerate().map(marked).flatten_unordered(at_once);
    let line = Line { coming: coming.boxed(), turn: 0, early: BTreeMap::new() };
    stream::unfold(line, |mut line| async move { line.next().await.map(|piece| (piece, line)) }).boxed()
}

/// A reader's piece; `None` at its end.
type Marked = Option<Result<Bytes, BlobError>>;

struct Line<'a> {
    coming: BoxStream<'a, (usize, Marked)>,
    /// Whose pieces are given now.
    turn: usize,
    early: BTreeMap<usize, VecDeque<Marked>>,
}

impl Line<'_> {
    async fn next(&mut self) -> Option<Result<Bytes, BlobError>> {
        loop {
            match self.early.get_mut(&self.turn).and_then(VecDeque::pop_front) {
                Some(Some(piece)) => return Some(piece),
                Some(None) => {
                    self.early.remove(&self.turn);
                    self.turn += 1;
                }
                None => {
                    let (reader, piece) = self.coming.next().await?;
                    self.early.entry(reader).or_default().push_back(piece);
                }
            }
        }
    }
}

/// Puts parts of known lengths together from pieces. What lies within one piece is not copied.
#[derive(Debug)]
pub struct Cutter {
    lengths: VecDeque<u64>,
    begun: BytesMut,
}

impl Cutter {
    pub fn new(lengths: impl IntoIterator<Item = u64>) -> Cutter {
        Cutter { lengths: lengths.into_iter().collect(), begun: BytesMut::new() }
    }

    /// The parts that are whole with this piece, in order.
    pub fn take(&mut self, mut piece: Bytes) -> Vec<Bytes> {
        let mut whole = Vec::new();
        while let Some(&length) = self.lengths.front() {
            let lacking = length - self.begun.len() as u64;
            if lacking > piece.len() as u64 {
                self.begin(length, &piece);
                break;
            }
            let end = piece.split_to(lacking as usize);
            whole.push(if self.begun.is_empty() { end } else { self.end(&end) });
            self.lengths.pop_front();
        }
        whole
    }

    fn begin(&mut self, length: u64, piece: &[u8]) {
        if self.begun.is_empty() {
            self.begun.reserve(length.min(RESERVE_BYTES_MAX) as usize);
        }
        self.begun.extend_from_slice(piece);
    }

    fn end(&mut self, piece: &[u8]) -> Bytes {
        self.begun.extend_from_slice(piece);
        self.begun.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use schemas::{Digest, StoreId};

    use super::*;
    use crate::Key;

    fn broken() -> BlobError {
        let key = Key::pack(StoreId(Default::default()), Digest::of(b""));
        BlobError::Transient { key, source_name: "test".to_owned(), reason: "broken".to_owned() }
    }

    fn pieces(given: Vec<Result<&'static str, BlobError>>) -> Pieces<'static> {
        stream::iter(given).map_ok(|text| Bytes::from_static(text.as_bytes())).boxed()
    }

    #[test]
    fn parts_come_out_as_soon_as_they_are_whole_however_the_pieces_fall() {
        let mut cutter = Cutter::new([3, 1, 2, 4]);
        let mut take = |piece: &'static str| cutter.take(Bytes::from_static(piece.as_bytes()));
        assert!(take("ab").is_empty());
        assert_eq!(take("cde"), ["abc", "d"]);
        assert_eq!(take("f"), ["ef"]);
        assert_eq!(take("ghij"), ["ghij"]);
        assert!(take("more than was asked for").is_empty());
    }

    #[tokio::test]
    async fn readers_read_side_by_side_and_their_pieces_stay_in_order() {
        let (sender, read) = tokio::sync::oneshot::channel();
        let first = stream::once(async move { read.await.map(|()| Bytes::from_static(b"a")).map_err(|_| broken()) });
        let second =
            stream::once(async move { sender.send(()).map(|()| Bytes::from_static(b"b")).map_err(|()| broken()) });
        let readers = vec![first.boxed(), pieces(vec![Ok("c")]), second.boxed(), pieces(vec![Ok("d"), Ok("e")])];
        let all = tokio::time::timeout(Duration::from_secs(5), joined(in_order(readers, 3))).await;
        assert_eq!(all.expect("the first waits for the third").unwrap(), "acbde");
    }

    #[tokio::test]
    async fn what_comes_before_a_fault_is_given() {
        let readers = vec![pieces(vec![Ok("a"), Err(broken())]), pieces(vec![Ok("b")])];
        let mut given = in_order(readers, 8);
        assert_eq!(given.next().await, Some(Ok(Bytes::from_static(b"a"))));
        assert_eq!(given.next().await, Some(Err(broken())));
    }
}
