//! A token bucket: how often something may happen over all keys, where backoff bounds it for each.

use std::time::Duration;

use tokio::time::Instant;

/// The longest time between two tokens.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Lets `burst` things happen at once and then one each interval; what comes too early is told when it may.
///
/// It keeps one instant, the time by which all that was let through would have been spread evenly (the generic cell
/// rate algorithm), so it needs no timer and no refill.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    interval: Duration,
    tolerance: Duration,
    spread_until: Option<Instant>,
}

impl TokenBucket {
    /// One token each `interval` (at most a day), `burst` (at least one) at first; the bucket starts full.
    pub fn new(interval: Duration, burst: u32) -> Self {
        let interval = interval.min(LONGEST);
        let tolerance = interval.saturating_mul(burst.max(1) - 1);
        Self { interval, tolerance, spread_until: None }
    }

    /// Takes a token and says from when it may be used: `now`, or as soon as the rate allows.
    ///
    /// Whoever reserves must use it or let it go to waste; reservations are served in the order they are made.
    pub fn reserve(&mut self, now: Instant) -> Instant {
        let spread = self.spread_until.map_or(now, |until| until.max(now));
        self.spread_until = Some(spread + self.interval);
        spread.checked_sub(self.tolerance).map_or(now, |at| at.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(bucket: &mut TokenBucket, now: Instant, count: usize) -> Vec<u128> {
        (0..count).map(|_| (bucket.reserve(now) - now).as_millis()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn q7_a_bucket_lets_the_burst_through_and_then_keeps_the_rate() {
        let mut bucket = TokenBucket::new(Duration::from_millis(100), 3);
        let start = Instant::now();
        assert_eq!(waits(&mut bucket, start, 6), [0, 0, 0, 100, 200, 300]);
        let later = start + Duration::from_millis(350);
        assert_eq!(waits(&mut bucket, later, 2), [50, 150]);
    }

    #[tokio::test(start_paused = true)]
    async fn q7_a_bucket_left_alone_fills_up_to_its_burst_and_no_further() {
        let mut bucket = TokenBucket::new(Duration::from_millis(100), 3);
        let start = Instant::now();
        waits(&mut bucket, start, 6);
        let rested = start + Duration::from_secs(3600);
        assert_eq!(waits(&mut bucket, rested, 4), [0, 0, 0, 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn q7_no_interval_overflows_a_bucket_or_opens_it() {
        let now = Instant::now();
        assert_eq!(waits(&mut TokenBucket::new(Duration::MAX, u32::MAX), now, 3), [0, 0, 0]);
        assert_eq!(waits(&mut TokenBucket::new(Duration::MAX, 1), now, 2), [0, LONGEST.as_millis()]);
        assert_eq!(waits(&mut TokenBucket::new(Duration::from_secs(1), 0), now, 2), [0, 1000]);
    }
}
