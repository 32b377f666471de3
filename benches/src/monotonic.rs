//! Instants that two processes can compare: nanoseconds of the machine's monotonic clock.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// An instant, in nanoseconds since some moment that is the same for all processes of this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Monotonic(u64);

impl Monotonic {
    /// Now.
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        Self(now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs())
    }

    /// As the sleeper wrote it.
    pub(crate) fn parse(nanoseconds: &str) -> Option<Self> {
        nanoseconds.parse().ok().map(Self)
    }

    /// From an earlier instant to this; zero if it was not earlier.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
