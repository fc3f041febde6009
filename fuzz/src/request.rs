//! What a child asks the chunk service.

use blobs::wire::{ANSWER_BYTES_MAX, RANGES_MAX};
use subscriber::serve::read_request;

/// `METHOD PATH`, lines of headers, an empty line, a body.
pub fn request(bytes: &[u8]) {
    let (head, body) = match bytes.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&bytes[..at], &bytes[at + 2..]),
        None => (bytes, &[][..]),
    };
    let Ok(head) = std::str::from_utf8(head) else { return };
    let mut lines = head.lines();
    let Some((method, path)) = lines.next().and_then(|line| line.split_once(' ')) else { return };
    let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
    let Ok(ranges) = read_request(method, path, &headers, body) else { return };
    assert!(ranges.iter().all(|range| range.start < range.end), "an empty range");
    let wanted: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    assert!(ranges.len() <= 1 || (wanted <= ANSWER_BYTES_MAX && ranges.len() <= RANGES_MAX));
}
