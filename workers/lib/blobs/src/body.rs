//! Reads a body off the network within bounds: its length, silence, and a minimum rate. It knows no protocol.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, timeout};

/// How long a source may take. A rate is judged per window, so that a source that starts fast cannot then drip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferLimits {
    pub connect: Duration,
    /// Longest time without a single byte.
    pub silence: Duration,
    pub rate_min_bytes_per_s: u64,
    pub rate_window: Duration,
}

impl Default for TransferLimits {
    fn default() -> TransferLimits {
        TransferLimits {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            rate_min_bytes_per_s: 1024,
            rate_window: Duration::from_secs(30),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Length {
    Exactly(u64),
    AtMost(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    #[error("no byte for {0:?}")]
    Silent(Duration),
    #[error("slower than {0} bytes/s")]
    Slow(u64),
    #[error("the body is longer than {0} bytes")]
    Longer(u64),
    #[error("the body ended after {got} of {want} bytes")]
    Shorter { got: u64, want: u64 },
    #[error("{0}")]
    Broken(String),
}

impl BodyFault {
    /// The way failed, not the object.
    pub fn is_transient(&self) -> bool {
        matches!(self, BodyFault::Silent(_) | BodyFault::Slow(_) | BodyFault::Broken(_))
    }
}

/// The body in pieces as they come.
pub fn pieces<'a, S, E>(
    stream: S,
    length: Length,
    limits: &TransferLimits,
) -> impl Stream<Item = Result<Bytes, BodyFault>> + Send + use<'a, S, E>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'a,
    E: Display,
{
    let body = Body { stream, length, limits: *limits, got: 0, window: Window::default() };
    stream::try_unfold(body, |mut body| async move { Ok(body.next().await?.map(|piece| (piece, body))) })
}

pub async fn read<S, E>(stream: S, length: Length, limits: &TransferLimits) -> Result<Bytes, BodyFault>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    E: Display,
{
    let pieces: Vec<Bytes> = pieces(stream, length, limits).try_collect().await?;
    Ok(pieces.concat().into())
}

struct Body<S> {
    stream: S,
    length: Length,
    limits: TransferLimits,
    got: u64,
    window: Window,
}

impl<S, E> Body<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Display,
{
    async fn next(&mut self) -> Result<Option<Bytes>, BodyFault> {
        self.window.judge(&self.limits)?;
        let (silence, asked) = (self.limits.silence, Instant::now());
        let next = timeout(silence, self.stream.next()).await.map_err(|_| BodyFault::Silent(silence))?;
        let Some(piece) = next else { return self.end() };
        let piece = piece.map_err(|fault| BodyFault::Broken(fault.to_string()))?;
        self.got += piece.len() as u64;
        let (Length::Exactly(bytes_max) | Length::AtMost(bytes_max)) = self.length;
        if self.got > bytes_max {
            return Err(BodyFault::Longer(bytes_max));
        }
        self.window.count(piece.len() as u64, asked.elapsed());
        Ok(Some(piece))
    }

    fn end(&self) -> Result<Option<Bytes>, BodyFault> {
        match self.length {
            Length::Exactly(want) if self.got < want => Err(BodyFault::Shorter { got: self.got, want }),
            _ => Ok(None),
        }
    }
}

/// What came in how long: whoever takes the pieces slowly does not make the source slow.
#[derive(Default)]
struct Window {
    waited: Duration,
    bytes: u64,
}

impl Window {
    fn count(&mut self, bytes: u64, waited: Duration) {
        self.bytes += bytes;
        self.waited += waited;
    }

    fn judge(&mut self, limits: &TransferLimits) -> Result<(), BodyFault> {
        if self.waited < limits.rate_window {
            return Ok(());
        }
        if (self.bytes as f64) < limits.rate_min_bytes_per_s as f64 * self.waited.as_secs_f64() {
            return Err(BodyFault::Slow(limits.rate_min_bytes_per_s));
        }
        *self = Window::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::*;

    fn parts(texts: &[&'static str]) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin + use<> {
        stream::iter(texts.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect::<Vec<_>>())
    }

    #[tokio::test]
    async fn a_body_of_another_length_is_refused() {
        let limits = TransferLimits::default();
        assert_eq!(read(parts(&["ab", "c"]), Length::Exactly(3), &limits).await.unwrap(), "abc");
        assert_eq!(read(parts(&["ab", "c"]), Length::AtMost(9), &limits).await.unwrap(), "abc");
        let longer = read(parts(&["ab", "cd"]), Length::Exactly(3), &limits).await.unwrap_err();
        assert_eq!(longer, BodyFault::Longer(3));
        let shorter = read(parts(&["ab"]), Length::Exactly(3), &limits).await.unwrap_err();
        assert_eq!(shorter, BodyFault::Shorter { got: 2, want: 3 });
        assert!(!longer.is_transient() && !shorter.is_transient());
    }

    fn short() -> TransferLimits {
        let (silence, rate_window) = (Duration::from_millis(500), Duration::from_millis(50));
        TransferLimits { silence, rate_window, rate_min_bytes_per_s: 1 << 20, ..TransferLimits::default() }
    }

    #[tokio::test]
    async fn a_drip_is_cut_off_though_it_is_never_silent() {
        let drip = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b".")), ()))
        });
        let fault = read(Box::pin(drip), Length::Exactly(1 << 20), &short()).await.unwrap_err();
        assert_eq!(fault, BodyFault::Slow(1 << 20));
        assert!(fault.is_transient());
    }

    #[tokio::test]
    async fn silence_ends_the_reading() {
        let silent = stream::pending::<Result<Bytes, Infallible>>();
        let fault = read(silent, Length::Exactly(1), &short()).await.unwrap_err();
        assert_eq!(fault, BodyFault::Silent(short().silence));
        assert!(fault.is_transient());
    }
}
