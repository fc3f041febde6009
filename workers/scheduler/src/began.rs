//! Whether a scheduler that begins to lead starts the control side, or takes over one that runs. It reads no clock and no lease:
//! what others saw is given.

use records::Lease;

/// What this process has seen of the lease before it leads for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Began {
    /// Nothing yet.
    Alone,
    /// Somebody holds it, and has not been seen to live: it may have died just before.
    Behind(Lease),
    /// Somebody else leads, or this process has led: the control side runs.
    Beside,
}

impl Began {
    /// Another one holds the lease. Whoever renews it, or passes it on, lives.
    pub fn saw(self, lease: Option<Lease>) -> Began {
        match (self, lease) {
            (Began::Alone, Some(lease)) => Began::Behind(lease),
            (Began::Behind(before), Some(lease)) if before != lease => Began::Beside,
            (unchanged, _) => unchanged,
        }
    }

    /// Leads now, with the lease as it stood right before. True if that is the control side's start.
    pub fn leads(&mut self, before: Option<Lease>) -> bool {
        !matches!(std::mem::replace(self, Began::Beside).saw(before), Began::Beside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, until_ms: i64) -> Option<Lease> {
        Some(Lease { holder: holder.to_owned(), term: 1, until_ms })
    }

    #[test]
    fn the_first_lead_after_a_start_is_the_control_sides_start() {
        let mut began = Began::Alone;
        assert!(began.leads(None), "a new database");
        assert!(!began.leads(None), "only the first one");
        assert!(Began::Alone.leads(lease("stopped-in-order", 0)));
    }

    #[test]
    fn a_leader_that_died_before_does_not_hide_the_start() {
        let mut began = Began::Alone.saw(lease("dead", 10_000)).saw(lease("dead", 10_000));
        assert!(began.leads(lease("dead", 10_000)));
    }

    #[test]
    fn who_takes_over_from_one_that_lived_beside_it_starts_nothing() {
        let mut began = Began::Alone.saw(lease("alive", 10_000)).saw(lease("alive", 13_000));
        assert!(!began.leads(lease("alive", 13_000)));
        let mut handed_over = Began::Alone.saw(lease("alive", 10_000));
        assert!(!handed_over.leads(lease("alive", 0)), "it gave the lease up in order");
    }
}
