//! Ranges of one object: joined where they touch, so that many small reads become few large ones. It knows no source.

use std::ops::Range;

/// Joins neighbours in the list that touch, up to `bytes_max`. Order stays; gaps are never read.
pub fn join_touching(ranges: &[Range<u64>], bytes_max: u64) -> Vec<Range<u64>> {
    let mut spans: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match spans.last_mut() {
            Some(last) if last.end == range.start && range.end - last.start <= bytes_max => last.end = range.end,
            _ => spans.push(range.clone()),
        }
    }
    spans
}

/// Lists of at most `bytes_max` together, in order. Small ranges stay whole and go together, so that reads do not multiply.
pub fn in_batches(ranges: &[Range<u64>], bytes_max: u64) -> Vec<Vec<Range<u64>>> {
    let mut batches: Vec<Vec<Range<u64>>> = Vec::new();
    let mut room = 0;
    for range in ranges {
        let mut start = range.start;
        while start < range.end {
            if room == 0 {
                batches.push(Vec::new());
                room = bytes_max.max(1);
            }
            let end = range.end.min(start.saturating_add(room));
            room -= end - start;
            if let Some(batch) = batches.last_mut() {
                batch.push(start..end);
            }
            start = end;
        }
    }
    batches
}

/// What is left of `ranges` when so many bytes of them came.
pub fn rest(ranges: &[Range<u64>], mut given: u64) -> Vec<Range<u64>> {
    let mut left = Vec::new();
    for range in ranges {
        let came = given.min(range.end.saturating_sub(range.start));
        given -= came;
        if range.start + came < range.end {
            left.push(range.start + came..range.end);
        }
    }
    left
}

/// Total length of `ranges`; `None` if one is empty or reversed, or the sum overflows.
pub fn total_bytes(ranges: &[Range<u64>]) -> Option<u64> {
    ranges.iter().try_fold(0u64, |sum, range| {
        let bytes = range.end.checked_sub(range.start).filter(|&bytes| bytes > 0)?;
        sum.checked_add(bytes)
    })
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is what is meant")]
mod tests {
    use super::*;

    #[test]
    fn touching_ranges_join_up_to_the_limit_and_gaps_stay() {
        let spans = join_touching(&[0..4, 4..8, 8..9, 20..22, 10..12], 8);
        assert_eq!(spans, [0..8, 8..9, 20..22, 10..12]);
    }

    #[test]
    fn batches_keep_to_their_size_and_small_ranges_go_together() {
        let batches = in_batches(&[0..10, 20..22, 30..31], 4);
        assert_eq!(batches, [vec![0..4], vec![4..8], vec![8..10, 20..22], vec![30..31]]);
    }

    #[test]
    fn what_came_is_not_in_the_rest() {
        let ranges = [10..13, 0..1, 7..9];
        assert_eq!(rest(&ranges, 0), ranges);
        assert_eq!(rest(&ranges, 2), [12..13, 0..1, 7..9]);
        assert_eq!(rest(&ranges, 4), [7..9]);
        assert_eq!(rest(&ranges, 6), []);
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
}
