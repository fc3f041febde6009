//! Another subscriber's server as a source: every request is signed by this site's key. It trusts no byte of an answer
//! but its length, and knows no digest: the caller checks.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode, redirect};
use schemas::{Priority, SubscriberName};

use crate::body::{self, BodyFault, Length, TransferLimits};
use crate::signed::{Ask, Stamp};
use crate::site_key::SiteKey;
use crate::wire::{self, RangesRequest};
use crate::{BlobError, Extent, Key, Pieces, ReadBlobs, pieces, span};

/// Shorter than the time after which a server closes an idle connection, so that no request meets a closing one.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Characters of a refusal's reason that are kept.
const REASON_BYTES_MAX: u64 = 100;
/// A busy server is not asked more often, whatever it says.
const AGAIN_AFTER_MIN: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// `http://host:port`, as its server listens.
    pub url: String,
    /// Who serves there.
    pub relay: SubscriberName,
    /// Who asks.
    pub subscriber: SubscriberName,
    pub key: SiteKey,
    pub limits: TransferLimits,
}

#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("`{url}` is no address of a relay: http://HOST:PORT expected")]
    Address { url: String },
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// Connections are pooled: keep it, share it.
#[derive(Debug, Clone)]
pub struct RelayBlobs {
    config: RelayConfig,
    client: Client,
    priority: Priority,
}

impl RelayBlobs {
    pub fn new(mut config: RelayConfig) -> Result<RelayBlobs, RelayError> {
        config.url.truncate(config.url.trim_end_matches('/').len());
        let address = reqwest::Url::parse(&config.url).ok().filter(|url| {
            url.scheme() == "http"
                && url.has_host()
                && url.path() == "/"
                && url.query().is_none()
                && url.username().is_empty()
        });
        if address.is_none() {
            return Err(RelayError::Address { url: config.url });
        }
        let client = Client::builder()
            .http1_only()
            .tcp_nodelay(true)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(config.limits.connect)
            .pool_idle_timeout(IDLE_MAX)
            .build()?;
        Ok(RelayBlobs { config, client, priority: Priority::default() })
    }

    /// What is read from now on is for content of this priority: the server may have a rate for each.
    pub fn for_priority(self, priority: Priority) -> RelayBlobs {
        RelayBlobs { priority, ..self }
    }

    async fn send(&self, key: &Key, request: Unstamped) -> Result<Response, BlobError> {
        let Unstamped { method, path, range, body } = request;
        let ask = Ask {
            audience: &self.config.relay,
            method: method.as_str(),
            path: &path,
            range: range.as_deref(),
            body: &body,
        };
        let headers = self.stamp(&ask).map_err(|reason| self.transient(key, reason))?;
        let mut request = self.client.request(method, format!("{}{path}", self.config.url)).headers(headers);
        request = request.header(wire::PRIORITY_HEADER, wire::priority_word(self.priority));
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        if !body.is_empty() {
            request = request.body(body);
        }
        let silence = self.config.limits.silence;
        match tokio::time::timeout(self.config.limits.connect + silence, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(fault)) => Err(self.transient(key, chain(&fault))),
            Err(_) => Err(self.transient(key, format!("no answer within {silence:?}"))),
        }
    }

    fn stamp(&self, ask: &Ask<'_>) -> Result<HeaderMap, String> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|fault| fault.to_string())?;
        let now_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).map_err(|fault| fault.to_string())?.as_millis() as u64;
        let stamp = Stamp::sign(&self.config.key, &self.config.subscriber, ask, now_ms, nonce);
        let headers = stamp.headers().map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)));
        headers
            .into_iter()
            .map(|header| header.ok_or_else(|| "a header cannot be written".to_owned()))
            .map(|header| header.map(|(name, value)| (reqwest::header::HeaderName::from_static(name), value)))
            .collect()
    }

    /// The body of an answer that says it is as long as it must be.
    fn body(&self, key: Key, response: Response, length: Length) -> Result<Pieces<'_>, BlobError> {
        let source_name = self.name().to_owned();
        match (content_length(&response), length) {
            (Some(bytes), Length::Exactly(want)) if bytes != want => {
                let reason = format!("{bytes} bytes for {want} asked for");
                return Err(BlobError::Damaged { key, source_name, reason });
            }
            (Some(bytes), Length::AtMost(bytes_max)) if bytes > bytes_max => {
                return Err(BlobError::TooLarge { key, source_name, bytes, bytes_max });
            }
            _ => {}
        }
        let pieces = body::pieces(Box::pin(response.bytes_stream()), length, &self.config.limits);
        Ok(pieces.map_err(move |fault| self.body_fault(&key, fault, length)).boxed())
    }

    fn body_fault(&self, key: &Key, fault: BodyFault, length: Length) -> BlobError {
        let (source_name, reason, key) = (self.name().to_owned(), fault.to_string(), *key);
        match (fault, length) {
            (fault, _) if fault.is_transient() => BlobError::Transient { key, source_name, reason },
            (BodyFault::Longer(bytes_max), Length::AtMost(_)) => {
                BlobError::TooLarge { key, source_name, bytes: bytes_max + 1, bytes_max }
            }
            _ => BlobError::Damaged { key, source_name, reason },
        }
    }

    /// What any other answer than the expected one means.
    async fn refusal(&self, key: &Key, response: Response) -> BlobError {
        let (status, source_name, key) = (response.status(), self.name().to_owned(), *key);
        if let (StatusCode::SERVICE_UNAVAILABLE, Some(again_after)) = (status, again_after(&response)) {
            return BlobError::Busy { key, source_name, again_after };
        }
        let reason = format!("{} {}", status.as_u16(), self.reason_of(response).await);
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => BlobError::Absent { key, source_name },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => BlobError::Refused { key, source_name, reason },
            StatusCode::RANGE_NOT_SATISFIABLE => BlobError::Damaged { key, source_name, reason },
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                BlobError::Transient { key, source_name, reason }
            }
            // It has no room for what it would have to fetch itself; what it holds it gives.
            StatusCode::INSUFFICIENT_STORAGE => BlobError::Permanent { key, source_name, reason },
            status if status.is_server_error() => BlobError::Transient { key, source_name, reason },
            _ => BlobError::Permanent { key, source_name, reason },
        }
    }

    /// A refusal's code; only what can do no harm in a log.
    async fn reason_of(&self, response: Response) -> String {
        let read =
            body::read(Box::pin(response.bytes_stream()), Length::AtMost(REASON_BYTES_MAX), &self.config.limits).await;
        let text = String::from_utf8_lossy(&read.unwrap_or_default()).into_owned();
        text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
    }

    fn transient(&self, key: &Key, reason: impl Into<String>) -> BlobError {
        BlobError::Transient { key: *key, source_name: self.name().to_owned(), reason: reason.into() }
    }

    async fn whole(&self, key: Key, bytes_max: u64) -> Result<Pieces<'_>, BlobError> {
        let response = self.send(&key, Unstamped::whole(Method::GET, &key)).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(&key, response).await);
        }
        self.body(key, response, Length::AtMost(bytes_max))
    }

    async fn ranges(&self, key: Key, ranges: Vec<Range<u64>>) -> Result<Pieces<'_>, BlobError> {
        match &ranges[..] {
            [one] => self.get_range(key, one).await,
            many => self.post_ranges(key, many).await,
        }
    }

    async fn get_range(&self, key: Key, range: &Range<u64>) -> Result<Pieces<'_>, BlobError> {
        let response = self.send(&key, Unstamped::range(&key, range)).await?;
        if response.status() == StatusCode::OK {
            let reason = "it answered a range with the whole object".to_owned();
            return Err(BlobError::Permanent { key, source_name: self.name().to_owned(), reason });
        }
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(self.refusal(&key, response).await);
        }
        let want = format!("bytes {}-{}/", range.start, range.end - 1);
        let got = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !got.starts_with(&want) {
            let reason = format!("another range than {want} was answered");
            return Err(BlobError::Damaged { key, source_name: self.name().to_owned(), reason });
        }
        self.body(key, response, Length::Exactly(range.end - range.start))
    }

    /// One round trip for many ranges; `ranges` keep the limits of one request.
    async fn post_ranges(&self, key: Key, ranges: &[Range<u64>]) -> Result<Pieces<'_>, BlobError> {
        let bytes = span::total_bytes(ranges).expect("batches hold whole ranges");
        let response = self.send(&key, Unstamped::ranges(&key, ranges)).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(&key, response).await);
        }
        self.body(key, response, Length::Exactly(bytes))
    }
}

#[async_trait]
impl ReadBlobs for RelayBlobs {
    fn name(&self) -> &str {
        self.config.relay.as_str()
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
        let response = self.send(key, Unstamped::whole(Method::HEAD, key)).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => {
                content_length(&response).map(Some).ok_or_else(|| self.transient(key, "no length in its answer"))
            }
            _ => Err(self.refusal(key, response).await),
        }
    }

    fn read(&self, key: &Key, extent: Extent) -> Pieces<'_> {
        let key = *key;
        match extent {
            Extent::Whole { bytes_max } => pieces::of_answer(self.whole(key, bytes_max)),
            Extent::Ranges(ranges) if span::total_bytes(&ranges).is_none() => pieces::empty_range(key, self.name()),
            Extent::Ranges(ranges) => {
                let batches: Vec<_> = batches(&ranges).into_iter().map(<[_]>::to_vec).collect();
                stream::iter(batches).then(move |batch| self.ranges(key, batch)).try_flatten().boxed()
            }
        }
    }
}

/// Splits a list into requests that keep the limits; a range larger than a request's answer goes alone, by GET.
fn batches(ranges: &[Range<u64>]) -> Vec<&[Range<u64>]> {
    let mut batches = Vec::new();
    let (mut first, mut bytes) = (0, 0);
    for (i, range) in ranges.iter().enumerate() {
        let more = range.end - range.start;
        if i > first && (bytes + more > wire::ANSWER_BYTES_MAX || i - first == wire::RANGES_MAX) {
            batches.push(&ranges[first..i]);
            (first, bytes) = (i, 0);
        }
        bytes += more;
    }
    if first < ranges.len() {
        batches.push(&ranges[first..]);
    }
    batches
}

/// A request before it is signed.
struct Unstamped {
    method: Method,
    path: String,
    range: Option<String>,
    body: Vec<u8>,
}

impl Unstamped {
    fn whole(method: Method, key: &Key) -> Unstamped {
        Unstamped { method, path: wire::content_path(key), range: None, body: Vec::new() }
    }

    fn range(key: &Key, range: &Range<u64>) -> Unstamped {
        Unstamped { range: Some(wire::range_header(range)), ..Unstamped::whole(Method::GET, key) }
    }

    fn ranges(key: &Key, ranges: &[Range<u64>]) -> Unstamped {
        let body = serde_json::to_vec(&RangesRequest::of(ranges)).expect("numbers are JSON");
        Unstamped { method: Method::POST, path: wire::ranges_path(key), range: None, body }
    }
}

fn content_length(response: &Response) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// When a busy server wants to be asked again: whole seconds, within bounds.
fn again_after(response: &Response) -> Option<Duration> {
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).clamp(AGAIN_AFTER_MIN, wire::AGAIN_AFTER_MAX))
}

/// An error and its causes in one line: reqwest's own text says only "error sending request".
fn chain(fault: &reqwest::Error) -> String {
    let mut text = fault.to_string();
    let mut cause = std::error::Error::source(fault);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
