//! Durations measured many times, and the lines in which they are shown.

use std::time::Duration;

/// The columns of a line.
const PERCENTILES: [(&str, usize); 4] = [("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)];

/// Durations in rising order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Distribution(Vec<Duration>);

impl Distribution {
    /// The smallest sample that `percent` of all do not exceed; zero where there is none.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// Its median.
    pub(crate) fn median(&self) -> Duration {
        self.percentile(50)
    }
}

impl FromIterator<Duration> for Distribution {
    fn from_iter<I: IntoIterator<Item = Duration>>(samples: I) -> Self {
        let mut samples: Vec<_> = samples.into_iter().collect();
        samples.sort_unstable();
        Self(samples)
    }
}

/// A table of distributions in milliseconds, each beside a floor where one is known.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<(String, Distribution)>,
    floor: Option<Duration>,
}

impl Table {
    /// Shows medians as multiples of this too.
    pub(crate) fn with_floor(mut self, floor: Duration) -> Self {
        self.floor = Some(floor);
        self
    }

    /// Adds a line.
    pub(crate) fn row(mut self, name: impl Into<String>, distribution: Distribution) -> Self {
        self.rows.push((name.into(), distribution));
        self
    }

    /// Prints it on stdout.
    pub(crate) fn print(&self, title: &str) {
        println!("\n{title}");
        print!("{:44}{:>6}", "", "n");
        PERCENTILES.iter().for_each(|(name, _)| print!("{name:>9}"));
        println!("{}", if self.floor.is_some() { "  p50/floor" } else { "" });
        for (name, distribution) in &self.rows {
            print!("{name:44}{:>6}", distribution.0.len());
            PERCENTILES.iter().for_each(|(_, percent)| print!("{:>9.3}", millis(distribution.percentile(*percent))));
            let ratio = self.floor.map(|floor| distribution.median().as_secs_f64() / floor.as_secs_f64());
            println!("{}", ratio.map(|ratio| format!("{ratio:>11.2}")).unwrap_or_default());
        }
    }
}

/// Milliseconds, as they are shown.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_sample_that_so_many_do_not_exceed() {
        let hundred: Distribution = (1..=100).rev().map(Duration::from_millis).collect();
        let of = |percent| hundred.percentile(percent).as_millis();
        assert_eq!((of(50), of(90), of(99), of(100)), (50, 90, 99, 100));
        let one: Distribution = [Duration::from_millis(7)].into_iter().collect();
        assert_eq!((one.percentile(50), one.percentile(99)), (Duration::from_millis(7), Duration::from_millis(7)));
        assert_eq!(Distribution::default().median(), Duration::ZERO);
    }
}
