//! What a parent's server and its children agree on: paths, the body that asks for many ranges, limits.
//! It knows neither side's library.
//!
//! `GET|HEAD /v1/content/<key>` with an optional `Range: bytes=a-b`, and `POST /v1/content/<key>/ranges` whose answer is
//! the bytes of all ranges, one after the other, in the order asked for.

use std::ops::Range;
use std::time::Duration;

use schemas::Priority;
use serde::{Deserialize, Serialize};

use crate::{Key, span};

pub const CONTENT_PATH: &str = "/v1/content/";
pub const RANGES_SUFFIX: &str = "/ranges";
/// `high`, `medium` or `low`: what the answer is for, and so at which of the server's rates it goes. It lets nobody in, and
/// stands outside the signature; without it, `medium`.
pub const PRIORITY_HEADER: &str = "tidegate-priority";
/// Longest wait that a busy server may ask for.
pub const AGAIN_AFTER_MAX: Duration = Duration::from_secs(60);
/// Most ranges in one request.
pub const RANGES_MAX: usize = 4_096;
/// Most bytes that one request for ranges may ask for.
pub const ANSWER_BYTES_MAX: u64 = 32 << 20;
/// Longest body of a request: `RANGES_MAX` ranges of 16-digit numbers fit.
pub const REQUEST_BYTES_MAX: usize = 256 << 10;

pub fn content_path(key: &Key) -> String {
    format!("{CONTENT_PATH}{key}")
}

pub fn ranges_path(key: &Key) -> String {
    format!("{CONTENT_PATH}{key}{RANGES_SUFFIX}")
}

/// Start and end (exclusive) of each range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangesRequest {
    pub ranges: Vec<(u64, u64)>,
}

impl RangesRequest {
    pub fn of(ranges: &[Range<u64>]) -> RangesRequest {
        RangesRequest { ranges: ranges.iter().map(|range| (range.start, range.end)).collect() }
    }

    /// The ranges and their total, if they keep the limits.
    pub fn checked(&self) -> Option<(Vec<Range<u64>>, u64)> {
        let ranges: Vec<_> = self.ranges.iter().map(|&(start, end)| start..end).collect();
        let total = span::total_bytes(&ranges)?;
        let kept = !ranges.is_empty() && ranges.len() <= RANGES_MAX && total <= ANSWER_BYTES_MAX;
        kept.then_some((ranges, total))
    }
}

pub fn priority_word(priority: Priority) -> &'static str {
    match priority {
        Priority::High => "high",
        Priority::Medium => "medium",
        Priority::Low => "low",
    }
}

pub fn parse_priority(word: &str) -> Option<Priority> {
    [Priority::High, Priority::Medium, Priority::Low].into_iter().find(|p| priority_word(*p) == word)
}

/// `bytes=a-b`, the only form of the Range header that is used and accepted.
pub fn range_header(range: &Range<u64>) -> String {
    format!("bytes={}-{}", range.start, range.end - 1)
}

pub fn parse_range_header(text: &str) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let range = first..last.checked_add(1)?;
    (first <= last && range_header(&range) == text).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_header_reads_back_and_every_other_form_is_refused() {
        assert_eq!(parse_range_header(&range_header(&(3..9))), Some(3..9));
        for bad in [
            "",
            "bytes=",
            "bytes=5-",
            "bytes=-5",
            "bytes=5-4",
            "bytes=0-1,3-4",
            "bytes= 0-1",
            "bytes=+0-1",
            "bytes=0-18446744073709551615",
        ] {
            assert_eq!(parse_range_header(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_request_for_ranges_keeps_its_limits() {
        let (ranges, total) = RangesRequest::of(&[0..4, 100..101]).checked().unwrap();
        assert_eq!((ranges, total), (vec![0..4, 100..101], 5));
        let far_ends = vec![u64::MAX / 2..u64::MAX / 2 + 1; RANGES_MAX];
        assert!(serde_json::to_vec(&RangesRequest::of(&far_ends)).unwrap().len() <= REQUEST_BYTES_MAX);
        for bad in [vec![], vec![(1, 1)], vec![(2, 1)], vec![(0, ANSWER_BYTES_MAX + 1)], vec![(0, 1); RANGES_MAX + 1]] {
            assert_eq!(RangesRequest { ranges: bad }.checked(), None);
        }
    }
}
