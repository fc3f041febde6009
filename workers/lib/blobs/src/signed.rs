//! Signed requests between a child and its parent's server: what is signed, how it travels, and how it is checked.
//! It knows no HTTP library and no clock: headers and time are arguments.

use std::time::Duration;

use schemas::{Digest, SubscriberName};

use crate::hex;
use crate::site_key::{PublicKey, SiteKey};

/// How far the clocks of two sites may be apart.
pub const SKEW_MAX: Duration = Duration::from_secs(5 * 60);

pub const SUBSCRIBER_HEADER: &str = "tidegate-subscriber";
pub const TIMESTAMP_HEADER: &str = "tidegate-timestamp";
pub const NONCE_HEADER: &str = "tidegate-nonce";
pub const SIGNATURE_HEADER: &str = "tidegate-signature";

pub type Nonce = [u8; 16];

/// All of a request that its signature covers, beside the stamp itself.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Who is asked: a signature for one server is worth nothing at another.
    pub audience: &'a SubscriberName,
    pub method: &'a str,
    /// With the query, if any.
    pub path: &'a str,
    /// The Range header as sent.
    pub range: Option<&'a str>,
    pub body: &'a [u8],
}

/// Who asks, when, and the proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    pub subscriber: SubscriberName,
    /// Milliseconds since 1970.
    pub timestamp_ms: u64,
    pub nonce: Nonce,
    pub signature: [u8; 64],
}

/// Its text is a stable code, and all that a refused caller learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    #[error("signature-missing")]
    Missing,
    #[error("signature-malformed")]
    Malformed,
    #[error("clock-skew")]
    Skewed,
    #[error("unknown-child")]
    UnknownChild,
    #[error("signature-wrong")]
    Wrong,
    #[error("request-replayed")]
    Replayed,
}

impl Stamp {
    pub fn sign(key: &SiteKey, subscriber: &SubscriberName, ask: &Ask<'_>, timestamp_ms: u64, nonce: Nonce) -> Stamp {
        let signature = key.sign(&ask.text(subscriber, timestamp_ms, &nonce));
        Stamp { subscriber: subscriber.clone(), timestamp_ms, nonce, signature }
    }

    pub fn headers(&self) -> [(&'static str, String); 4] {
        [
            (SUBSCRIBER_HEADER, self.subscriber.to_string()),
            (TIMESTAMP_HEADER, self.timestamp_ms.to_string()),
            (NONCE_HEADER, hex::encode(&self.nonce)),
            (SIGNATURE_HEADER, hex::encode(&self.signature)),
        ]
    }

    pub fn read<'h>(header: impl Fn(&'static str) -> Option<&'h str>) -> Result<Stamp, Unsigned> {
        let field = |name| header(name).ok_or(Unsigned::Missing);
        Ok(Stamp {
            subscriber: field(SUBSCRIBER_HEADER)?.parse().map_err(|_| Unsigned::Malformed)?,
            timestamp_ms: read_decimal(field(TIMESTAMP_HEADER)?).ok_or(Unsigned::Malformed)?,
            nonce: hex::decode(field(NONCE_HEADER)?).ok_or(Unsigned::Malformed)?,
            signature: hex::decode(field(SIGNATURE_HEADER)?).ok_or(Unsigned::Malformed)?,
        })
    }

    pub fn check_time(&self, now_ms: u64) -> Result<(), Unsigned> {
        let apart_ms = u128::from(now_ms.abs_diff(self.timestamp_ms));
        if apart_ms <= SKEW_MAX.as_millis() { Ok(()) } else { Err(Unsigned::Skewed) }
    }

    pub fn check_signature(&self, key: &PublicKey, ask: &Ask<'_>) -> Result<(), Unsigned> {
        let text = ask.text(&self.subscriber, self.timestamp_ms, &self.nonce);
        if key.verifies(&text, &self.signature) { Ok(()) } else { Err(Unsigned::Wrong) }
    }
}

impl Ask<'_> {
    /// One line a field: no field can hold a line end (names, numbers, digests, and what an HTTP parser let through).
    fn text(&self, subscriber: &SubscriberName, timestamp_ms: u64, nonce: &Nonce) -> Vec<u8> {
        format!(
            "tidegate-request-1\n{}\n{subscriber}\n{}\n{}\n{}\n{}\n{timestamp_ms}\n{}\n",
            self.audience,
            self.method,
            self.path,
            self.range.unwrap_or("-"),
            Digest::of(self.body),
            hex::encode(nonce),
        )
        .into_bytes()
    }
}

fn read_decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SubscriberName {
        text.parse().unwrap()
    }

    #[test]
    fn a_stamp_travels_by_headers_and_verifies() {
        let (key, region) = (SiteKey::generate().unwrap(), name("region"));
        let ask = Ask { audience: &region, method: "GET", path: "/x", range: Some("bytes=0-1"), body: b"" };
        let stamp = Stamp::sign(&key, &name("paris"), &ask, 1_000, [7; 16]);
        let headers = stamp.headers();
        let read = Stamp::read(|name| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())).unwrap();
        assert_eq!(read, stamp);
        assert_eq!(read.check_signature(&key.public(), &ask), Ok(()));
    }

    #[test]
    fn a_change_of_anything_signed_is_noticed() {
        let (key, region, other) = (SiteKey::generate().unwrap(), name("region"), name("other"));
        let ask = Ask { audience: &region, method: "POST", path: "/x", range: None, body: b"[]" };
        let stamp = Stamp::sign(&key, &name("paris"), &ask, 1_000, [7; 16]);
        let altered_asks = [
            Ask { audience: &other, ..ask },
            Ask { method: "GET", ..ask },
            Ask { path: "/y", ..ask },
            Ask { range: Some("bytes=0-9"), ..ask },
            Ask { body: b"[1]", ..ask },
        ];
        for altered in altered_asks {
            assert_eq!(stamp.check_signature(&key.public(), &altered), Err(Unsigned::Wrong), "{altered:?}");
        }
        let altered_stamps = [
            Stamp { subscriber: other.clone(), ..stamp.clone() },
            Stamp { timestamp_ms: 1_001, ..stamp.clone() },
            Stamp { nonce: [8; 16], ..stamp.clone() },
            Stamp { signature: [0; 64], ..stamp.clone() },
        ];
        for altered in altered_stamps {
            assert_eq!(altered.check_signature(&key.public(), &ask), Err(Unsigned::Wrong), "{altered:?}");
        }
        assert_eq!(stamp.check_signature(&SiteKey::generate().unwrap().public(), &ask), Err(Unsigned::Wrong));
    }

    #[test]
    fn a_stamp_is_good_for_five_minutes_before_and_after() {
        let stamp = Stamp { subscriber: name("paris"), timestamp_ms: 1_000_000, nonce: [0; 16], signature: [0; 64] };
        for (now_ms, good) in [(700_000, true), (1_300_000, true), (699_999, false), (1_300_001, false), (0, false)] {
            assert_eq!(stamp.check_time(now_ms).is_ok(), good, "{now_ms}");
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        let good = |name: &str| match name {
            SUBSCRIBER_HEADER => "paris",
            TIMESTAMP_HEADER => "1000",
            NONCE_HEADER => "00000000000000000000000000000000",
            _ => "",
        };
        for (header, bad) in
            [(SUBSCRIBER_HEADER, "../x"), (TIMESTAMP_HEADER, "+5"), (TIMESTAMP_HEADER, "007"), (NONCE_HEADER, "zz")]
        {
            let read = Stamp::read(|name| Some(if name == header { bad } else { good(name) }));
            assert_eq!(read, Err(Unsigned::Malformed), "{header}: {bad}");
        }
        assert_eq!(Stamp::read(|_| None), Err(Unsigned::Missing));
    }
}
