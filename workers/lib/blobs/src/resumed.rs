//! Goes on with a reading that broke off: what came is not asked for again. It knows no fault; who calls says after which another
//! request is worth its while, and when.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::pieces::{Extent, Pieces};
use crate::{BlobError, Key, ReadBlobs, span};

/// `again` gives the pause before the next request, or the fault with which it ends.
pub fn resumed<'a, B: ReadBlobs>(
    inner: &'a B,
    key: Key,
    extent: Extent,
    again: impl FnMut(BlobError) -> Result<Duration, BlobError> + Send + 'a,
) -> Pieces<'a> {
    let reading = Reading { inner, key, extent, given: 0, coming: None, again };
    stream::try_unfold(reading, |mut reading| async move {
        let piece = reading.next().await?;
        Ok(piece.map(|piece| (piece, reading)))
    })
    .boxed()
}

struct Reading<'a, B, F> {
    inner: &'a B,
    key: Key,
    extent: Extent,
    /// Bytes that came.
    given: u64,
    coming: Option<Pieces<'a>>,
    again: F,
}

impl<'a, B: ReadBlobs, F: FnMut(BlobError) -> Result<Duration, BlobError>> Reading<'a, B, F> {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        loop {
            let fault = match self.piece().await {
                Ok(piece) => {
                    self.given += piece.as_ref().map_or(0, |piece| piece.len() as u64);
                    return Ok(piece);
                }
                Err(fault) => fault,
            };
            self.coming = None;
            tokio::time::sleep((self.again)(fault)?).await;
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, BlobError> {
        if self.coming.is_none() {
            let Some(lacking) = self.lacking().await? else { return Ok(None) };
            self.coming = Some(self.inner.read(&self.key, lacking));
        }
        match &mut self.coming {
            Some(coming) => coming.next().await.transpose(),
            None => Ok(None),
        }
    }

    /// What has not come; `None` if all has.
    async fn lacking(&mut self) -> Result<Option<Extent>, BlobError> {
        let ranges = match &self.extent {
            extent if self.given == 0 => return Ok(Some(extent.clone())),
            Extent::Ranges(ranges) => span::rest(ranges, self.given),
            Extent::Whole { bytes_max } => {
                let whole = 0..self.length(*bytes_max).await?;
                span::rest(std::slice::from_ref(&whole), self.given)
            }
        };
        Ok((!ranges.is_empty()).then_some(Extent::Ranges(ranges)))
    }

    /// An object never changes, so what has begun to come can be gone on with.
    async fn length(&mut self, bytes_max: u64) -> Result<u64, BlobError> {
        let (key, source_name) = (self.key, self.inner.name().to_owned());
        match self.inner.size(&key).await? {
            None => Err(BlobError::Absent { key, source_name }),
            Some(bytes) if bytes > bytes_max => Err(BlobError::TooLarge { key, source_name, bytes, bytes_max }),
            Some(bytes) => Ok(bytes),
        }
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is what is meant")]
mod tests {
    use std::ops::Range;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use schemas::{Digest, StoreId};

    use super::*;
    use crate::pieces::joined;

    const OBJECT: &[u8] = b"what is read";

    /// Gives so many bytes of each request, then breaks off; it notes what it was asked for.
    struct Breaking {
        gives: u64,
        asked: Mutex<Vec<Extent>>,
    }

    #[async_trait]
    impl ReadBlobs for Breaking {
        fn name(&self) -> &str {
            "breaking"
        }

        async fn size(&self, _: &Key) -> Result<Option<u64>, BlobError> {
            Ok(Some(OBJECT.len() as u64))
        }

        fn read(&self, key: &Key, extent: Extent) -> Pieces<'_> {
            self.asked.lock().unwrap().push(extent.clone());
            let ranges: Vec<Range<u64>> = match extent {
                Extent::Ranges(ranges) => ranges,
                Extent::Whole { .. } => vec![0..OBJECT.len() as u64],
            };
            let all: Vec<u8> = ranges.iter().flat_map(|r| &OBJECT[r.start as usize..r.end as usize]).copied().collect();
            let given = Bytes::copy_from_slice(&all[..all.len().min(self.gives as usize)]);
            let broken = (given.len() < all.len()).then(|| Err(broken(key)));
            stream::iter([Ok(given)].into_iter().chain(broken)).boxed()
        }
    }

    fn broken(key: &Key) -> BlobError {
        BlobError::Transient { key: *key, source_name: "breaking".to_owned(), reason: "test".to_owned() }
    }

    fn key() -> Key {
        Key::pack(StoreId(Default::default()), Digest::of(OBJECT))
    }

    async fn read(gives: u64, extent: Extent) -> (Result<Bytes, BlobError>, Vec<Extent>) {
        let source = Breaking { gives, asked: Mutex::default() };
        let mut tries = 0;
        let again = |fault| {
            tries += 1;
            if tries < 9 { Ok(Duration::ZERO) } else { Err(fault) }
        };
        let read = joined(resumed(&source, key(), extent, again)).await;
        (read, source.asked.into_inner().unwrap())
    }

    #[tokio::test]
    async fn ranges_go_on_at_the_byte_at_which_they_broke_off() {
        let (read, asked) = read(3, Extent::Ranges(vec![8..12, 0..4])).await;
        assert_eq!(read.unwrap(), "readwhat");
        assert_eq!(asked, [vec![8..12, 0..4], vec![11..12, 0..4], vec![2..4]].map(Extent::Ranges));
    }

    #[tokio::test]
    async fn a_whole_object_goes_on_as_the_range_that_is_lacking() {
        let whole = Extent::Whole { bytes_max: 100 };
        let (read, asked) = read(7, whole.clone()).await;
        assert_eq!(read.unwrap(), OBJECT);
        assert_eq!(asked[..], [whole, Extent::Ranges(std::iter::once(7..12).collect())]);
    }

    #[tokio::test]
    async fn what_gives_nothing_more_ends_with_its_fault() {
        let (read, asked) = read(0, Extent::Whole { bytes_max: 100 }).await;
        assert_eq!((read, asked.len()), (Err(broken(&key())), 9));
    }
}
