//! Stays with a source that is busy: waits as long as it was told and asks again, up to a bound. It knows no other fault; what
//! a busy source is at last is a source that failed for the moment.

use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::{BlobError, Key, ReadBlobs};

/// How long a busy source is asked again and again before the next one is.
pub const BUSY_MAX: Duration = Duration::from_secs(30 * 60);

pub struct Queueing<B> {
    inner: B,
    busy_max: Duration,
}

impl<B: ReadBlobs> Queueing<B> {
    pub fn new(inner: B, busy_max: Duration) -> Queueing<B> {
        Queueing { inner, busy_max }
    }

    async fn stay<T, F>(&self, call: impl Fn() -> F) -> Result<T, BlobError>
    where
        F: Future<Output = Result<T, BlobError>>,
    {
        let began = Instant::now();
        loop {
            let (key, source_name, again_after) = match call().await {
                Err(BlobError::Busy { key, source_name, again_after }) => (key, source_name, again_after),
                ended => return ended,
            };
            if began.elapsed() + again_after > self.busy_max {
                let reason = format!("busy for {} s", began.elapsed().as_secs());
                return Err(BlobError::Transient { key, source_name, reason });
            }
            tracing::debug!(source = source_name, ?again_after, "busy; it is asked again");
            tokio::time::sleep(again_after).await;
        }
    }
}

#[async_trait]
impl<B: ReadBlobs> ReadBlobs for Queueing<B> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
        self.stay(|| self.inner.size(key)).await
    }

    async fn get(&self, key: &Key, bytes_max: u64) -> Result<Bytes, BlobError> {
        self.stay(|| self.inner.get(key, bytes_max)).await
    }

    async fn get_ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, BlobError> {
        self.stay(|| self.inner.get_ranges(key, ranges)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use schemas::{Digest, StoreId};
    use uuid::Uuid;

    use super::*;

    /// Busy so many times, then it has nothing.
    struct Busy(AtomicU32);

    #[async_trait]
    impl ReadBlobs for Busy {
        fn name(&self) -> &str {
            "busy"
        }

        async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
            match self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
                Ok(_) => {
                    let again_after = Duration::from_millis(5);
                    Err(BlobError::Busy { key: *key, source_name: self.name().to_owned(), again_after })
                }
                Err(_) => Ok(None),
            }
        }

        async fn get(&self, _: &Key, _: u64) -> Result<Bytes, BlobError> {
            unreachable!("only sizes are asked for")
        }

        async fn get_ranges(&self, _: &Key, _: &[Range<u64>]) -> Result<Vec<Bytes>, BlobError> {
            unreachable!("only sizes are asked for")
        }
    }

    #[tokio::test]
    async fn a_busy_source_is_asked_again_until_it_answers_or_the_time_is_up() {
        let key = Key::pack(StoreId(Uuid::nil()), Digest::of(b""));
        let staying = Queueing::new(Busy(AtomicU32::new(3)), Duration::from_secs(60));
        assert_eq!(staying.size(&key).await, Ok(None));
        let staying = Queueing::new(Busy(AtomicU32::new(1_000)), Duration::from_millis(20));
        let fault = staying.size(&key).await.unwrap_err();
        assert!(fault.is_transient() && fault.to_string().contains("busy for"), "{fault}");
        assert!(staying.inner.0.load(Ordering::SeqCst) > 900, "it went on asking");
    }
}
