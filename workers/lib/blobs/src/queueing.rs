//! Stays with a source that is busy: waits as long as it was told and asks again, up to a bound. It knows no other fault; what
//! a busy source is at last is a source that failed for the moment.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::resumed::resumed;
use crate::{BlobError, Extent, Key, Pieces, ReadBlobs};

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

    fn stay(&self) -> Stay {
        Stay { began: Instant::now(), busy_max: self.busy_max }
    }
}

struct Stay {
    began: Instant,
    busy_max: Duration,
}

impl Stay {
    /// The wait until a busy source is asked again, or the fault if it is not.
    fn pause_after(&self, fault: BlobError) -> Result<Duration, BlobError> {
        let BlobError::Busy { key, source_name, again_after } = fault else { return Err(fault) };
        if self.began.elapsed() + again_after > self.busy_max {
            let reason = format!("busy for {} s", self.began.elapsed().as_secs());
            return Err(BlobError::Transient { key, source_name, reason });
        }
        tracing::debug!(source = source_name, ?again_after, "busy; it is asked again");
        Ok(again_after)
    }
}

#[async_trait]
impl<B: ReadBlobs> ReadBlobs for Queueing<B> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
        let stay = self.stay();
        loop {
            match self.inner.size(key).await {
                Err(fault) => tokio::time::sleep(stay.pause_after(fault)?).await,
                answered => return answered,
            }
        }
    }

    fn read(&self, key: &Key, extent: Extent) -> Pieces<'_> {
        let stay = self.stay();
        resumed(&self.inner, *key, extent, move |fault| stay.pause_after(fault))
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

        fn read(&self, _: &Key, _: Extent) -> Pieces<'_> {
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
