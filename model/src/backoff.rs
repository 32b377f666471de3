//! How long to wait after a failure: [`Backoff`], a pure rule, and [`Retry`], which counts for loops that connect again.
//!
//! This is the only module that uses the crate `backoff`, which is no longer developed: it gives the doubling steps,
//! once, when a policy is made. Chance is not left to it, so that delays repeat under a seed.

use std::{sync::Arc, time::Duration};

use backoff::{ExponentialBackoff, backoff::Backoff as _};

use crate::Randomness;

/// No delay after a failure is shorter, so that no policy makes a hot loop.
const SHORTEST: Duration = Duration::from_millis(1);

const MULTIPLIER: f64 = 2.0;

/// Delays that double with each failure up to a cap, each shortened by a random part so that many do not retry at once.
///
/// Jitter only shortens: the cap is the longest delay there is.
#[derive(Clone, Debug)]
pub struct Backoff {
    /// The delay after each failure before jitter; the last stands for all that follow.
    steps: Arc<[Duration]>,
    jitter: f64,
}

impl Backoff {
    /// Delays from `initial` (at least 1 ms) doubling to `max` (at least `initial`), each shortened by up to the
    /// fraction `jitter` (0 to 1) of itself.
    pub fn new(initial: Duration, max: Duration, jitter: f64) -> Self {
        let initial = initial.max(SHORTEST);
        let jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(0.0, 1.0) };
        Self { steps: doubling(initial, max.max(initial)), jitter }
    }

    /// For connecting again: 0.2 s doubling to 5 s, each halved at most, so that a fleet does not come back as one.
    pub fn reconnecting() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(5), 0.5)
    }

    /// How long to wait after this many failures in a row; nothing after none.
    pub fn delay(&self, failures: u32, randomness: &Randomness) -> Duration {
        let Some(index) = failures.checked_sub(1) else { return Duration::ZERO };
        let step = self.steps[(index as usize).min(self.steps.len() - 1)];
        if self.jitter == 0.0 {
            return step;
        }
        (step - step.mul_f64(self.jitter * randomness.fraction()).min(step)).max(SHORTEST)
    }
}

impl Default for Backoff {
    /// A work queue's: 5 ms doubling to 1000 s, as client-go has it, with a fifth of jitter.
    fn default() -> Self {
        Self::new(Duration::from_millis(5), Duration::from_secs(1000), 0.2)
    }
}

/// The steps from `initial` to `max`, both included: at most 75, for u64 seconds have no more doublings of 1 ms.
fn doubling(initial: Duration, max: Duration) -> Arc<[Duration]> {
    let mut policy = ExponentialBackoff {
        current_interval: initial,
        initial_interval: initial,
        max_interval: max,
        multiplier: MULTIPLIER,
        randomization_factor: 0.0,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    let mut steps = Vec::new();
    while policy.current_interval < max {
        steps.push(policy.current_interval);
        // Its answer is the interval with up to a nanosecond of chance; the interval itself is exact.
        policy.next_backoff();
    }
    steps.push(max);
    steps.into()
}

/// A [`Backoff`] that counts its failures, for a loop that tries one thing until it works.
#[derive(Clone, Debug)]
pub struct Retry {
    backoff: Backoff,
    randomness: Randomness,
    failures: u32,
}

impl Retry {
    /// No failure yet.
    pub fn new(backoff: Backoff, randomness: Randomness) -> Self {
        Self { backoff, randomness, failures: 0 }
    }

    /// Counts one more failure and says how long to wait before the next try.
    pub fn next_delay(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.backoff.delay(self.failures, &self.randomness)
    }

    /// It worked: the next failure is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since it last worked.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(delays: impl IntoIterator<Item = Duration>) -> Vec<u128> {
        delays.into_iter().map(|delay| delay.as_millis()).collect()
    }

    fn unjittered(initial: u64, max: u64) -> Backoff {
        Backoff::new(Duration::from_millis(initial), Duration::from_millis(max), 0.0)
    }

    #[test]
    fn q7_delays_double_from_5_ms_to_1000_s() {
        let random = Randomness::seeded(0);
        let backoff = Backoff { jitter: 0.0, ..Backoff::default() };
        assert_eq!(backoff.delay(0, &random), Duration::ZERO);
        let mut expected: Vec<u128> = (0..18).map(|n| 5 << n).collect();
        assert_eq!(expected.pop(), Some(655_360));
        expected.extend([655_360, 1_000_000, 1_000_000]);
        assert_eq!(millis((1..=20).map(|failures| backoff.delay(failures, &random))), expected);
    }

    #[test]
    fn q7_no_count_of_failures_and_no_length_overflows() {
        let random = Randomness::seeded(0);
        assert_eq!(Backoff::default().steps.last(), Some(&Duration::from_secs(1000)));
        let longest = Backoff::new(Duration::from_nanos(1), Duration::MAX, 1.0);
        assert!(longest.steps.len() <= 75, "{}", longest.steps.len());
        assert!(longest.steps.is_sorted());
        assert_eq!(longest.steps.last(), Some(&Duration::MAX));
        for backoff in [Backoff::default(), longest, Backoff::new(Duration::MAX, Duration::ZERO, 0.3)] {
            for failures in [1, 2, 74, 75, 76, 1000, u32::MAX - 1, u32::MAX] {
                assert!(backoff.delay(failures, &random) <= *backoff.steps.last().expect("never empty"));
            }
        }
    }

    #[test]
    fn q7_jitter_shortens_within_its_fraction_and_repeats_under_a_seed() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(4), 0.25);
        let draw = |seed| {
            let random = Randomness::seeded(seed);
            (1..200).map(|failures| backoff.delay(failures, &random)).collect::<Vec<_>>()
        };
        let delays = draw(1);
        assert_eq!(delays, draw(1));
        assert_ne!(delays, draw(2));
        let capped = &delays[2..];
        assert!(capped.iter().all(|delay| (3.0..=4.0).contains(&delay.as_secs_f64())), "{capped:?}");
        assert!(capped.iter().any(|delay| delay.as_secs_f64() < 3.1) && capped.iter().any(|d| d.as_secs_f64() > 3.9));
    }

    #[test]
    fn c10_no_policy_makes_a_hot_loop() {
        let random = Randomness::seeded(0);
        let nothing = Backoff::new(Duration::ZERO, Duration::ZERO, f64::NAN);
        assert_eq!(millis((1..4).map(|failures| nothing.delay(failures, &random))), [1, 1, 1]);
        let all_jitter = Backoff::new(Duration::ZERO, Duration::from_millis(2), 1.0);
        assert!((1..100).all(|failures| all_jitter.delay(failures, &random) >= SHORTEST));
    }

    #[test]
    fn a_cap_off_the_doubling_ends_it_exactly() {
        let random = Randomness::seeded(0);
        let backoff = unjittered(200, 5000);
        let delays = (1..8).map(|failures| backoff.delay(failures, &random));
        assert_eq!(millis(delays), [200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn a_retry_counts_up_and_starts_over_when_it_worked() {
        let mut retry = Retry::new(unjittered(200, 5000), Randomness::seeded(0));
        assert_eq!(millis([retry.next_delay(), retry.next_delay(), retry.next_delay()]), [200, 400, 800]);
        assert_eq!(retry.failures(), 3);
        retry.reset();
        assert_eq!(millis([retry.next_delay()]), [200]);
    }

    #[test]
    fn reconnecting_stays_between_a_tenth_and_5_seconds() {
        let mut retry = Retry::new(Backoff::reconnecting(), Randomness::seeded(4));
        for _ in 0..100 {
            let delay = retry.next_delay().as_secs_f64();
            assert!((0.1..=5.0).contains(&delay), "{delay}");
        }
    }
}
