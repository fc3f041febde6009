//! Tries again what failed for the moment, with growing pauses. It knows no cause: the error says if another try helps.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use schemas::StoreId;

use crate::resumed::resumed;
use crate::{BlobError, Blobs, Extent, Key, Pieces, ReadBlobs};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The first included.
    pub tries: u32,
    /// The pause before the second try; it doubles from there.
    pub first_ms: u64,
    pub max_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy { tries: 4, first_ms: 100, max_ms: 5_000 }
    }
}

impl RetryPolicy {
    /// The pause after try number `tried` (from 1), between half and the whole of its step; `chance` picks where.
    pub fn pause_ms(&self, tried: u32, chance: u64) -> u64 {
        let step = self.first_ms.saturating_mul(1 << (tried.max(1) - 1).min(32)).min(self.max_ms);
        step / 2 + chance % (step / 2 + 1)
    }
}

pub struct Retrying<B> {
    inner: B,
    policy: RetryPolicy,
}

impl<B: ReadBlobs> Retrying<B> {
    pub fn new(inner: B, policy: RetryPolicy) -> Retrying<B> {
        Retrying { inner, policy }
    }

    async fn attempt<T, F>(&self, call: impl Fn() -> F) -> Result<T, BlobError>
    where
        F: Future<Output = Result<T, BlobError>>,
    {
        let mut tries = Tries { policy: self.policy, made: 1 };
        loop {
            match call().await {
                Err(fault) => tokio::time::sleep(tries.pause_after(fault)?).await,
                answered => return answered,
            }
        }
    }
}

struct Tries {
    policy: RetryPolicy,
    made: u32,
}

impl Tries {
    /// The pause before the next one, or the fault if there is to be none.
    fn pause_after(&mut self, fault: BlobError) -> Result<Duration, BlobError> {
        if !fault.is_transient() || self.made >= self.policy.tries {
            return Err(fault);
        }
        let pause_ms = self.policy.pause_ms(self.made, getrandom::u64().unwrap_or(0));
        tracing::debug!(%fault, tried = self.made, pause_ms, "trying again");
        self.made += 1;
        Ok(Duration::from_millis(pause_ms))
    }
}

#[async_trait]
impl<B: ReadBlobs> ReadBlobs for Retrying<B> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
        self.attempt(|| self.inner.size(key)).await
    }

    fn read(&self, key: &Key, extent: Extent) -> Pieces<'_> {
        let mut tries = Tries { policy: self.policy, made: 1 };
        resumed(&self.inner, *key, extent, move |fault| tries.pause_after(fault))
    }
}

#[async_trait]
impl<B: Blobs> Blobs for Retrying<B> {
    async fn put(&self, key: &Key, body: Bytes) -> Result<(), BlobError> {
        self.attempt(|| self.inner.put(key, body.clone())).await
    }

    async fn delete(&self, key: &Key) -> Result<(), BlobError> {
        self.attempt(|| self.inner.delete(key)).await
    }

    async fn list(&self, store: StoreId) -> Result<Vec<(Key, u64)>, BlobError> {
        self.attempt(|| self.inner.list(store)).await
    }

    async fn stores(&self) -> Result<Vec<StoreId>, BlobError> {
        self.attempt(|| self.inner.stores()).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use schemas::Digest;
    use uuid::Uuid;

    use super::*;

    /// Fails `failures` times, then answers.
    struct Failing {
        failures: u32,
        transient: bool,
        calls: AtomicU32,
    }

    #[async_trait]
    impl ReadBlobs for Failing {
        fn name(&self) -> &str {
            "failing"
        }

        async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
            let (source_name, reason) = (self.name().to_owned(), "test".to_owned());
            match self.calls.fetch_add(1, Ordering::SeqCst) < self.failures {
                false => Ok(Some(7)),
                true if self.transient => Err(BlobError::Transient { key: *key, source_name, reason }),
                true => Err(BlobError::Refused { key: *key, source_name, reason }),
            }
        }

        fn read(&self, _: &Key, _: Extent) -> Pieces<'_> {
            unreachable!("only sizes are asked for")
        }
    }

    async fn calls_made(failures: u32, transient: bool) -> (bool, u32) {
        let inner = Failing { failures, transient, calls: AtomicU32::new(0) };
        let retrying = Retrying::new(inner, RetryPolicy { first_ms: 1, ..RetryPolicy::default() });
        let key = Key::pack(StoreId(Uuid::nil()), Digest::of(b""));
        let answered = retrying.size(&key).await.is_ok();
        (answered, retrying.inner.calls.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn transient_faults_are_tried_again_up_to_the_limit_and_others_never() {
        assert_eq!(calls_made(3, true).await, (true, 4));
        assert_eq!(calls_made(9, true).await, (false, 4));
        assert_eq!(calls_made(1, false).await, (false, 1));
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_jitter_by_half() {
        let policy = RetryPolicy { tries: 9, first_ms: 100, max_ms: 1_000 };
        for (tried, low, high) in [(1, 50, 100), (2, 100, 200), (4, 400, 800), (9, 500, 1_000), (u32::MAX, 500, 1_000)]
        {
            for chance in [0, 1, 777, u64::MAX] {
                assert!((low..=high).contains(&policy.pause_ms(tried, chance)), "{tried} {chance}");
            }
        }
    }
}
