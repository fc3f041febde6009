//! Ranges of one object: joined where they touch, so that many small reads become few large ones. It knows no source.

use std::ops::Range;

use bytes::Bytes;

/// One read, and how many of the asked ranges it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub range: Range<u64>,
    pub parts: usize,
}

/// Joins neighbours in the list that touch, up to `bytes_max` and `parts_max` a span. Order stays; gaps are never read.
pub fn join_touching(ranges: &[Range<u64>], bytes_max: u64, parts_max: usize) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for range in ranges {
        match spans.last_mut() {
            Some(last)
                if last.range.end == range.start
                    && range.end - last.range.start <= bytes_max
                    && last.parts < parts_max =>
            {
                last.range.end = range.end;
                last.parts += 1;
            }
            _ => spans.push(Span { range: range.clone(), parts: 1 }),
        }
    }
    spans
}

/// Total length of `ranges`; `None` if one is empty or reversed, or the sum overflows.
pub fn total_bytes(ranges: &[Range<u64>]) -> Option<u64> {
    ranges.iter().try_fold(0u64, |sum, range| {
        let bytes = range.end.checked_sub(range.start).filter(|&bytes| bytes > 0)?;
        sum.checked_add(bytes)
    })
}

/// Cuts a body, which holds `ranges` one after the other, into its parts without copying.
pub fn cut(mut body: Bytes, ranges: &[Range<u64>]) -> Vec<Bytes> {
    ranges.iter().map(|range| body.split_to((range.end - range.start) as usize)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_ranges_join_up_to_the_limits_and_gaps_stay() {
        let spans = join_touching(&[0..4, 4..8, 8..9, 20..22, 10..12], 8, 10);
        let want = [(0..8, 2), (8..9, 1), (20..22, 1), (10..12, 1)];
        assert_eq!(spans, want.map(|(range, parts)| Span { range, parts }));
        assert_eq!(join_touching(&[0..1, 1..2, 2..3], 8, 2).len(), 2);
    }

    #[test]
    fn a_total_refuses_empty_reversed_and_endless_ranges() {
        assert_eq!(total_bytes(&[0..4, 9..10]), Some(5));
        #[allow(clippy::reversed_empty_ranges)]
        let (reversed, empty) = (5..4, 3..3);
        for bad in [vec![empty], vec![reversed], vec![0..u64::MAX, 0..2]] {
            assert_eq!(total_bytes(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_body_is_cut_into_the_parts_asked_for() {
        let parts = cut(Bytes::from_static(b"abcdef"), &[10..13, 0..1, 7..9]);
        assert_eq!(parts, ["abc", "d", "ef"]);
    }
}
