//! The states of a job and the one function that says which moves are legal. It knows no row and no queue.
//!
//! ```text
//!             promote            started
//!   waiting ──────────► queued ──────────► running
//!      ▲  ▲               │ │                │
//!      │  └── yielded ────┘ │                │
//!      └──── failed, tries left ─────────────┤
//!                           ▼                ▼
//!                 succeeded · failed · cancelled      (never left again)
//! ```

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Planned; also while it backs off before another attempt, so that it holds no place in its lane.
    Waiting,
    /// Has a place in its lane: published, or about to be.
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl State {
    pub const ALL: [State; 6] =
        [State::Waiting, State::Queued, State::Running, State::Succeeded, State::Failed, State::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Queued => "queued",
            State::Running => "running",
            State::Succeeded => "succeeded",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        }
    }

    pub fn parse(text: &str) -> Option<State> {
        State::ALL.into_iter().find(|s| s.as_str() == text)
    }

    pub fn is_terminal(self) -> bool {
        matches!(self, State::Succeeded | State::Failed | State::Cancelled)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub state: State,
    /// The current attempt, from 1.
    pub attempt: u32,
    pub attempts_max: u32,
    pub cancel_requested: bool,
}

/// What happened to it. An attempt is named where only the current one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// It got a place in its lane.
    Promoted,
    Started {
        attempt: u32,
    },
    /// Counts from any attempt: the work is done, whoever did it.
    Succeeded,
    Failed {
        attempt: u32,
        permanent: bool,
    },
    /// A worker drained and gave it back; no attempt is counted.
    Yielded {
        attempt: u32,
    },
    /// Its worker has been silent past its lease.
    Lost {
        attempt: u32,
    },
    /// A worker stopped it on request.
    Cancelled,
    /// What it waits for ended badly, its subscriber was given up, or it was superseded: the control side ends it.
    Ended(State),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Nothing changes: late, doubled or of an older attempt.
    Ignore,
    To(State),
    /// Back to `waiting` under the next attempt, after a backoff.
    Retry {
        attempt: u32,
    },
    /// Back to `waiting` under the same attempt, at once.
    Return,
}

impl Standing {
    pub fn after(self, happening: Happening) -> Move {
        if self.state.is_terminal() {
            return Move::Ignore;
        }
        match happening {
            Happening::Promoted if self.state == State::Waiting => Move::To(State::Queued),
            Happening::Started { attempt } if attempt == self.attempt && self.state == State::Queued => {
                Move::To(State::Running)
            }
            Happening::Succeeded => Move::To(State::Succeeded),
            Happening::Cancelled => Move::To(State::Cancelled),
            Happening::Ended(state) if state.is_terminal() => Move::To(state),
            Happening::Failed { attempt, permanent } if attempt == self.attempt => self.after_failure(permanent),
            Happening::Lost { attempt } if attempt == self.attempt && self.state != State::Waiting => {
                self.after_failure(false)
            }
            Happening::Yielded { attempt } if attempt == self.attempt && self.state != State::Waiting => {
                if self.cancel_requested { Move::To(State::Cancelled) } else { Move::Return }
            }
            Happening::Promoted
            | Happening::Started { .. }
            | Happening::Failed { .. }
            | Happening::Lost { .. }
            | Happening::Yielded { .. }
            | Happening::Ended(_) => Move::Ignore,
        }
    }

    fn after_failure(self, permanent: bool) -> Move {
        if self.cancel_requested {
            Move::To(State::Cancelled)
        } else if permanent || self.attempt >= self.attempts_max {
            Move::To(State::Failed)
        } else {
            Move::Retry { attempt: self.attempt + 1 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(state: State) -> Standing {
        Standing { state, attempt: 2, attempts_max: 3, cancel_requested: false }
    }

    fn happenings() -> Vec<Happening> {
        let mut all = vec![Happening::Promoted, Happening::Succeeded, Happening::Cancelled];
        for attempt in 1..4 {
            all.push(Happening::Started { attempt });
            all.push(Happening::Failed { attempt, permanent: false });
            all.push(Happening::Failed { attempt, permanent: true });
            all.push(Happening::Yielded { attempt });
            all.push(Happening::Lost { attempt });
        }
        all.extend(State::ALL.map(Happening::Ended));
        all
    }

    #[test]
    fn a_terminal_state_is_never_left() {
        for state in State::ALL.into_iter().filter(|s| s.is_terminal()) {
            for happening in happenings() {
                assert_eq!(standing(state).after(happening), Move::Ignore, "{state} {happening:?}");
            }
        }
    }

    #[test]
    fn success_counts_from_any_attempt_and_failure_only_from_the_current_one() {
        let running = standing(State::Running);
        assert_eq!(running.after(Happening::Succeeded), Move::To(State::Succeeded));
        assert_eq!(running.after(Happening::Failed { attempt: 1, permanent: true }), Move::Ignore);
        assert_eq!(running.after(Happening::Failed { attempt: 2, permanent: true }), Move::To(State::Failed));
        assert_eq!(standing(State::Waiting).after(Happening::Succeeded), Move::To(State::Succeeded));
    }

    #[test]
    fn a_transient_failure_is_retried_until_the_attempts_are_used_up() {
        let failed = Happening::Failed { attempt: 2, permanent: false };
        assert_eq!(standing(State::Running).after(failed), Move::Retry { attempt: 3 });
        let last = Standing { attempts_max: 2, ..standing(State::Running) };
        assert_eq!(last.after(failed), Move::To(State::Failed));
    }

    #[test]
    fn a_yielded_job_goes_back_without_counting_an_attempt() {
        assert_eq!(standing(State::Running).after(Happening::Yielded { attempt: 2 }), Move::Return);
        assert_eq!(standing(State::Waiting).after(Happening::Yielded { attempt: 2 }), Move::Ignore);
    }

    #[test]
    fn a_job_whose_cancel_was_requested_is_not_tried_again() {
        let asked = Standing { cancel_requested: true, ..standing(State::Running) };
        assert_eq!(asked.after(Happening::Failed { attempt: 2, permanent: false }), Move::To(State::Cancelled));
        assert_eq!(asked.after(Happening::Lost { attempt: 2 }), Move::To(State::Cancelled));
        assert_eq!(asked.after(Happening::Succeeded), Move::To(State::Succeeded));
    }

    #[test]
    fn every_move_ends_in_a_legal_state() {
        for state in State::ALL {
            for happening in happenings() {
                match standing(state).after(happening) {
                    Move::Ignore => {}
                    Move::To(next) => assert_ne!(next, State::Waiting),
                    Move::Retry { attempt } => assert_eq!(attempt, 3),
                    Move::Return => assert!(matches!(state, State::Queued | State::Running)),
                }
            }
        }
    }
}
