//! The nearest known word to a mistyped one.

/// One of `known` that differs in at most a third of its letters.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let scored = known.into_iter().map(|candidate| (distance(&word, candidate), candidate));
    let (distance, candidate) = scored.min()?;
    (distance <= candidate.len().div_ceil(3).min(3)).then_some(candidate)
}

/// Letters to insert, drop, replace or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["channels", "subscribers", "send", "time_zone"];
        assert_eq!(nearest("chanels", known), Some("channels"));
        assert_eq!(nearest("timezone", known), Some("time_zone"));
        assert_eq!(nearest("sned", known), Some("send"));
        assert_eq!(nearest("owner", known), None);
    }
}
