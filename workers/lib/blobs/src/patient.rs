//! Gives a reader up that does not answer in time: its silence, and the time that the bytes take at the slowest rate that
//! counts as life. It is the last resort behind clients that notice silence themselves.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use crate::{BlobError, Extent, Key, Pieces, ReadBlobs, TransferLimits};

pub struct Patient<B> {
    inner: B,
    silence: Duration,
}

impl<B: ReadBlobs> Patient<B> {
    pub fn new(inner: B, silence: Duration) -> Patient<B> {
        Patient { inner, silence }
    }

    async fn within<T>(&self, key: &Key, allowed: Duration, asked: impl Future<Output = T>) -> Result<T, BlobError> {
        tokio::time::timeout(allowed, asked).await.map_err(|_| {
            let reason = format!("no answer within {} s", allowed.as_secs());
            BlobError::Transient { key: *key, source_name: self.name().to_owned(), reason }
        })
    }
}

fn allowance(silence: Duration, bytes: u64) -> Duration {
    silence + Duration::from_secs(bytes / TransferLimits::default().rate_min_bytes_per_s)
}

#[async_trait]
impl<B: ReadBlobs> ReadBlobs for Patient<B> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
        self.within(key, allowance(self.silence, 0), self.inner.size(key)).await?
    }

    /// Only the time counts that the reader takes, not that of whoever takes the pieces.
    fn read(&self, key: &Key, extent: Extent) -> Pieces<'_> {
        let (key, allowed) = (*key, allowance(self.silence, extent.bytes_max()));
        let coming = self.inner.read(&key, extent);
        stream::try_unfold((coming, allowed), move |(mut coming, left)| async move {
            let asked = Instant::now();
            let piece = self.within(&key, left, coming.try_next()).await??;
            Ok(piece.map(|piece| (piece, (coming, left.saturating_sub(asked.elapsed())))))
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Digest, StoreId};
    use uuid::Uuid;

    use super::*;

    struct Mute;

    #[async_trait]
    impl ReadBlobs for Mute {
        fn name(&self) -> &str {
            "mute"
        }

        async fn size(&self, _: &Key) -> Result<Option<u64>, BlobError> {
            std::future::pending().await
        }

        fn read(&self, _: &Key, _: Extent) -> Pieces<'_> {
            stream::pending().boxed()
        }
    }

    #[tokio::test]
    async fn a_mute_reader_is_given_up() {
        let patient = Patient::new(Mute, Duration::from_millis(20));
        let key = Key::pack(StoreId(Uuid::nil()), Digest::of(b""));
        for fault in [patient.size(&key).await.unwrap_err(), patient.get(&key, 9).await.unwrap_err()] {
            assert!(fault.is_transient(), "{fault}");
        }
        assert!(patient.get_ranges(&key, std::slice::from_ref(&(0..9))).await.unwrap_err().is_transient());
    }

    #[test]
    fn the_more_was_asked_for_the_longer_it_may_take() {
        let silence = Duration::from_secs(5);
        assert_eq!(allowance(silence, 0), silence);
        assert_eq!(allowance(silence, 10 << 10), silence + Duration::from_secs(10));
    }
}
