//! Reads at a pace that many readers may share: what is asked for is cut into parts, each paid for before it is read. It knows
//! no source; who is slow by itself is not slowed further.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{BlobError, Key, Pace, ReadBlobs};

pub struct Limited<B> {
    inner: B,
    pace: Arc<Pace>,
}

/// Where a wanted range lies in the parts that were read.
type Cuts = Vec<(usize, Range<u64>)>;

impl<B: ReadBlobs> Limited<B> {
    pub fn new(inner: B, pace: Arc<Pace>) -> Limited<B> {
        Limited { inner, pace }
    }

    async fn get_parts(&self, key: &Key, ranges: &[Range<u64>], part_bytes: u64) -> Result<Vec<Bytes>, BlobError> {
        let mut whole: Vec<Vec<Bytes>> = vec![Vec::new(); ranges.len()];
        for batch in batches(ranges, part_bytes) {
            self.pace.take(batch.iter().map(|(_, part)| part.end - part.start).sum()).await;
            let asked: Vec<_> = batch.iter().map(|(_, part)| part.clone()).collect();
            let read = self.inner.get_ranges(key, &asked).await?;
            for ((of, _), part) in batch.into_iter().zip(read) {
                whole[of].push(part);
            }
        }
        Ok(whole.into_iter().map(joined).collect())
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

    /// A whole object has no length before it is there: it is paid for afterwards, by whoever comes next.
    async fn get(&self, key: &Key, bytes_max: u64) -> Result<Bytes, BlobError> {
        self.pace.take(0).await;
        let whole = self.inner.get(key, bytes_max).await?;
        self.pace.take(whole.len() as u64).await;
        Ok(whole)
    }

    async fn get_ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, BlobError> {
        match self.pace.part_bytes() {
            Some(part_bytes) => self.get_parts(key, ranges, part_bytes).await,
            None => self.inner.get_ranges(key, ranges).await,
        }
    }
}

/// Parts of at most `part_bytes` together, in order, each with the range that it belongs to. Small ranges stay whole and go
/// together, so that round trips do not multiply.
fn batches(ranges: &[Range<u64>], part_bytes: u64) -> Vec<Cuts> {
    let mut batches: Vec<Cuts> = Vec::new();
    let mut room = 0;
    for (of, range) in ranges.iter().enumerate() {
        let mut start = range.start;
        while start < range.end {
            if room == 0 {
                batches.push(Vec::new());
                room = part_bytes.max(1);
            }
            let end = range.end.min(start.saturating_add(room));
            room -= end - start;
            if let Some(batch) = batches.last_mut() {
                batch.push((of, start..end));
            }
            start = end;
        }
    }
    batches
}

fn joined(mut parts: Vec<Bytes>) -> Bytes {
    if parts.len() == 1 { parts.remove(0) } else { parts.concat().into() }
}

#[cfg(test)]
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

        async fn get(&self, _: &Key, bytes_max: u64) -> Result<Bytes, BlobError> {
            Ok(bytes(&(0..bytes_max)))
        }

        async fn get_ranges(&self, _: &Key, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, BlobError> {
            Ok(ranges.iter().map(bytes).collect())
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

    #[test]
    fn parts_keep_to_their_size_and_small_ranges_go_together() {
        let cut = batches(&[0..10, 20..22, 30..31], 4);
        assert_eq!(cut, [vec![(0, 0..4)], vec![(0, 4..8)], vec![(0, 8..10), (1, 20..22)], vec![(2, 30..31)]]);
    }
}
