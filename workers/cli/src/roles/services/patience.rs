//! Trying until a service answers, the time is over, or a signal came.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::roles::error::RoleError;

/// Attempts are told of in the log no more often.
const TELL_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Patience {
    pub time: Duration,
    pub shutdown: CancellationToken,
}

/// What is waited for, and what to do if it does not come.
pub struct Awaited {
    pub service: &'static str,
    pub address: String,
    pub remedy: &'static str,
}

/// One attempt's failure.
pub enum Failed {
    /// Another attempt may do.
    Passing(String),
    /// No attempt ever will.
    Final(String),
}

impl Failed {
    pub fn of(error: &impl Display, passing: bool) -> Failed {
        if passing { Failed::Passing(error.to_string()) } else { Failed::Final(error.to_string()) }
    }
}

impl Patience {
    pub async fn until_it_answers<T>(
        &self,
        awaited: Awaited,
        mut attempt: impl AsyncFnMut() -> Result<T, Failed>,
    ) -> Result<T, RoleError> {
        let began = Instant::now();
        let mut told: Option<Instant> = None;
        let mut tries = 0;
        loop {
            let left = self.time.saturating_sub(began.elapsed());
            let ended = tokio::select! {
                () = self.shutdown.cancelled() => return Err(awaited.unreachable(began.elapsed(), "a signal came first".into())),
                ended = tokio::time::timeout(left, attempt()) => ended,
            };
            let reason = match ended {
                Ok(Ok(service)) => return Ok(service),
                Ok(Err(Failed::Final(reason))) => return Err(awaited.unreachable(began.elapsed(), reason)),
                Ok(Err(Failed::Passing(reason))) => reason,
                Err(_) => "no answer".to_owned(),
            };
            let pause = worker::backoff(tries, u64::from(std::process::id()));
            if began.elapsed() + pause >= self.time {
                return Err(awaited.unreachable(began.elapsed(), reason));
            }
            if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                told = Some(Instant::now());
                tracing::warn!(
                    service = awaited.service,
                    address = awaited.address,
                    reason,
                    "not there yet; trying on"
                );
            }
            tries += 1;
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

impl Awaited {
    fn unreachable(&self, waited: Duration, reason: String) -> RoleError {
        let (service, address, remedy) = (self.service, self.address.clone(), self.remedy);
        RoleError::Unreachable { service, address, waited, reason, remedy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awaited() -> Awaited {
        Awaited { service: "the broker", address: "amqp://mq/v".into(), remedy: "start it" }
    }

    fn patience(time: Duration) -> Patience {
        Patience { time, shutdown: CancellationToken::new() }
    }

    #[tokio::test]
    async fn a_service_that_starts_late_is_waited_for() {
        let mut tries = 0;
        let attempt = async || {
            tries += 1;
            if tries == 3 { Ok(7) } else { Err(Failed::Passing("refused".into())) }
        };
        let answer = patience(Duration::from_secs(30)).until_it_answers(awaited(), attempt).await;
        assert_eq!(answer.unwrap(), 7);
        assert_eq!(tries, 3);
    }

    #[tokio::test]
    async fn one_that_never_answers_is_named_with_its_remedy_and_exit_code_3() {
        for mut attempt in [Some(Failed::Passing("refused".into())), None] {
            let attempt = async || match attempt.take() {
                Some(failed) => Err::<(), _>(failed),
                None => std::future::pending().await,
            };
            let answer = patience(Duration::from_millis(50)).until_it_answers(awaited(), attempt).await;
            let error = answer.unwrap_err();
            assert_eq!(error.exit_code(), 3);
            let text = error.to_string();
            assert!(text.contains("the broker at amqp://mq/v") && text.contains("start it"), "{text}");
        }
    }

    #[tokio::test]
    async fn what_no_attempt_can_mend_is_not_tried_again() {
        let mut tries = 0;
        let attempt = async || {
            tries += 1;
            Err::<(), _>(Failed::Final("access refused".into()))
        };
        let answer = patience(Duration::from_secs(30)).until_it_answers(awaited(), attempt).await;
        assert!(answer.unwrap_err().to_string().contains("access refused"));
        assert_eq!(tries, 1);
    }
}
