//! Gives a reader up that does not answer in time: its silence, and the time that the bytes take at the slowest rate that
//! counts as life. It is the last resort behind clients that notice silence themselves.

use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{BlobError, Key, ReadBlobs, TransferLimits};

pub struct Patient<B> {
    inner: B,
    silence: Duration,
}

impl<B: ReadBlobs> Patient<B> {
    pub fn new(inner: B, silence: Duration) -> Patient<B> {
        Patient { inner, silence }
    }

    async fn within<T>(
        &self,
        key: &Key,
        bytes: u64,
        asked: impl Future<Output = Result<T, BlobError>>,
    ) -> Result<T, BlobError> {
        let allowed = allowance(self.silence, bytes);
        match tokio::time::timeout(allowed, asked).await {
            Ok(answer) => answer,
            Err(_) => {
                let reason = format!("no answer within {} s", allowed.as_secs());
                Err(BlobError::Transient { key: *key, source_name: self.name().to_owned(), reason })
            }
        }
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
        self.within(key, 0, self.inner.size(key)).await
    }

    async fn get(&self, key: &Key, bytes_max: u64) -> Result<Bytes, BlobError> {
        self.within(key, bytes_max, self.inner.get(key, bytes_max)).await
    }

    async fn get_ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, BlobError> {
        let bytes = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        self.within(key, bytes, self.inner.get_ranges(key, ranges)).await
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

        async fn get(&self, _: &Key, _: u64) -> Result<Bytes, BlobError> {
            std::future::pending().await
        }

        async fn get_ranges(&self, _: &Key, _: &[Range<u64>]) -> Result<Vec<Bytes>, BlobError> {
            std::future::pending().await
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
