//! When a key runs again, from how its run ended.

use std::time::Duration;

use orion_model::{Randomness, backoff::Backoff};
use tokio::time::Instant;

use crate::rate_limiter::TokenBucket;

use super::{
    Outcome,
    moment::Moment,
    slot::{Ending, Slot},
};

/// What stands for never where a time overflows: about thirty years.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// What decides delays: each key's backoff, and the rate of all retries where one is set.
#[derive(Debug)]
pub(super) struct Pace {
    backoff: Backoff,
    randomness: Randomness,
    bucket: Option<TokenBucket>,
}

impl Pace {
    pub(super) fn new(backoff: Backoff, randomness: Randomness, bucket: Option<TokenBucket>) -> Self {
        Self { backoff, randomness, bucket }
    }

    /// The outcome of the slot's current run, with its times.
    pub(super) fn ending(&mut self, slot: &Slot, outcome: Outcome, moment: &Moment) -> Ending {
        match outcome {
            Outcome::Forget => Ending::Forgotten,
            Outcome::After(delay) => Ending::Requeued { due: after(moment.now(), delay) },
            Outcome::Retry => Ending::Failed(slot.after_failure(|failures| self.retry_at(failures, moment.now()))),
            Outcome::Again => Ending::Again { now: moment.now() },
            Outcome::Terminal => Ending::Terminal,
        }
    }

    fn retry_at(&mut self, failures: u32, now: Instant) -> Instant {
        let due = after(now, self.backoff.delay(failures, &self.randomness));
        self.bucket.as_mut().map_or(due, |bucket| bucket.reserve(now).max(due))
    }
}

/// `delay` from `now`.
pub(super) fn after(now: Instant, delay: Duration) -> Instant {
    now + delay.min(FAR)
}
