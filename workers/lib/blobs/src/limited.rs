//! Reads at a pace that many readers may share: what is asked for is cut into parts, each paid for before it is read. It knows
//! no source; who is slow by itself is not slowed further.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::{BlobError, Extent, Key, Pace, Pieces, ReadBlobs, span};

pub struct Limited<B> {
    inner: B,
    pace: Arc<Pace>,
}

impl<B: ReadBlobs> Limited<B> {
    pub fn new(inner: B, pace: Arc<Pace>) -> Limited<B> {
        Limited { inner, pace }
    }

    async fn paid(&self, key: Key, ranges: Vec<Range<u64>>) -> Pieces<'_> {
        let extent = Extent::Ranges(ranges);
        self.pace.take(extent.bytes_max()).await;
        self.inner.read(&key, extent)
    }

    /// A whole object has no length before it is there: what came is paid for before more is taken.
    async fn paid_after(&self, key: Key, whole: Extent) -> Pieces<'_> {
        self.pace.take(0).await;
        let pay = async |piece: Bytes| {
            self.pace.take(piece.len() as u64).await;
            Ok(piece)
        };
        self.inner.read(&key, whole).and_then(pay).boxed()
    }
}

#[async_trait]
impl<B: ReadBlobs> ReadBlobs for Limited<B> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
        self.inner.size(key).await
    }

    fn read(&self, key: &Key, extent: Extent) -> Pieces<'_> {
        let key = *key;
        match (extent, self.pace.part_bytes()) {
            (Extent::Ranges(ranges), Some(part_bytes)) => {
                let batches = span::in_batches(&ranges, part_bytes);
                stream::iter(batches).then(move |batch| self.paid(key, batch)).flatten().boxed()
            }
            (extent @ Extent::Ranges(_), None) => self.inner.read(&key, extent),
            (whole, _) => stream::once(self.paid_after(key, whole)).flatten().boxed(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is what is meant")]
mod tests {
    use std::time::Duration;

    use schemas::{Digest, StoreId};
    use tokio::time::Instant;
    use uuid::Uuid;

    use super::*;

    /// Every byte is the low byte of its offset.
    struct Counting;

    #[async_trait]
    impl ReadBlobs for Counting {
        fn name(&self) -> &str {
            "counting"
        }

        async fn size(&self, _: &Key) -> Result<Option<u64>, BlobError> {
            Ok(None)
        }

        fn read(&self, _: &Key, extent: Extent) -> Pieces<'_> {
            let ranges = match extent {
                Extent::Whole { bytes_max } => vec![0..bytes_max],
                Extent::Ranges(ranges) => ranges,
            };
            stream::iter(ranges).map(|range| Ok(bytes(&range))).boxed()
        }
    }

    fn bytes(range: &Range<u64>) -> Bytes {
        range.clone().map(|at| at as u8).collect()
    }

    fn key() -> Key {
        Key::pack(StoreId(Uuid::nil()), Digest::of(b""))
    }

    #[tokio::test]
    async fn ranges_come_whole_and_in_order_however_they_were_cut() {
        let limited = Limited::new(Counting, Arc::new(Pace::new(Some(8 << 20))));
        let ranges = [0..5, 900_000..1_700_003, 7..8, 100..200];
        let read = limited.get_ranges(&key(), &ranges).await.unwrap();
        assert_eq!(read, ranges.iter().map(bytes).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn readers_of_several_sources_keep_one_rate_together() {
        let pace = Arc::new(Pace::new(Some(8 << 20)));
        let began = Instant::now();
        let reads = (0..4).map(|_| {
            let limited = Limited::new(Counting, pace.clone());
            tokio::spawn(async move { limited.get_ranges(&key(), &[0..1 << 20, 5..1 << 19]).await.unwrap().len() })
        });
        for read in reads.collect::<Vec<_>>() {
            read.await.unwrap();
        }
        let took = began.elapsed();
        assert!(took > Duration::from_millis(400), "6 MiB at 8 MiB/s took {took:?}");
    }

    #[tokio::test]
    async fn a_whole_object_is_paid_for_too() {
        let limited = Limited::new(Counting, Arc::new(Pace::new(Some(1_000_000))));
        let began = Instant::now();
        for _ in 0..4 {
            limited.get(&key(), 200_000).await.unwrap();
        }
        assert!(began.elapsed() >= Duration::from_millis(590), "{:?}", began.elapsed());
    }
}
