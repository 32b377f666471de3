//! When a process that ended is started again: a pure rule.

use std::time::Duration;

use orion_types::process::RestartPolicy;

/// A process that was up for so long is started again at once.
const UP_LONG: Duration = Duration::from_secs(10);
/// After being up for so long, earlier failures are forgotten.
const UP_WELL: Duration = Duration::from_secs(60);
/// How much of a delay is left to chance, both ways.
const JITTER: f64 = 0.2;

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures(u32);

impl Failures {
    /// How long to wait after a process that had been up for `up` has ended. `chance` is 0 to 1.
    pub(crate) fn next_delay(&mut self, up: Duration, policy: &RestartPolicy, chance: f64) -> Duration {
        if up >= UP_WELL {
            self.0 = 0;
        }
        if up >= UP_LONG {
            return Duration::ZERO;
        }
        let doubled = policy.initial_delay.get().saturating_mul(1 << self.0.min(30));
        self.0 = self.0.saturating_add(1);
        let delay = doubled.min(policy.max_delay.get());
        delay.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance.clamp(0.0, 1.0))
    }

    /// How long to wait after a start that no retry can mend: the longest delay, since only the world can mend it.
    pub(crate) fn after_permanent(policy: &RestartPolicy) -> Duration {
        policy.max_delay.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_ends_back_off_to_the_cap_and_long_runs_start_at_once() {
        let policy = RestartPolicy::default();
        let mut failures = Failures::default();
        let delays: Vec<_> = (0..8).map(|_| failures.next_delay(Duration::ZERO, &policy, 0.5).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(failures.next_delay(UP_LONG, &policy, 0.5), Duration::ZERO);
        assert_eq!(failures.next_delay(Duration::ZERO, &policy, 0.5).as_secs(), 60, "10 s up do not forget failures");
        assert_eq!(failures.next_delay(UP_WELL, &policy, 0.5), Duration::ZERO);
        assert_eq!(failures.next_delay(Duration::ZERO, &policy, 0.5).as_secs(), 1, "60 s up do");
    }

    #[test]
    fn a_fifth_of_a_delay_is_left_to_chance() {
        let policy = RestartPolicy::default();
        let delay = |chance| Failures::default().next_delay(Duration::ZERO, &policy, chance).as_millis();
        assert_eq!((delay(0.0), delay(1.0)), (800, 1200));
    }
}
