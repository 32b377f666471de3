//! Lengths of time as people write them: `90s`, `5m`, `1h30m`, `250ms`.

use std::{fmt, str::FromStr, time};

use serde_json::Value;

use crate::scalar::{Scalar, impl_scalar, kind_of};

/// A length of time, to the millisecond, at most [`Duration::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(time::Duration);

/// Units from the largest to the smallest, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(time::Duration::ZERO);
    /// The longest that can be written: 100 years of 365 days.
    pub const MAX: Self = Self::from_secs(100 * 365 * 86_400);

    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(time::Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(time::Duration::from_millis(millis))
    }

    /// So many minutes.
    pub const fn from_mins(minutes: u64) -> Self {
        Self::from_secs(minutes * 60)
    }

    /// So many hours.
    pub const fn from_hours(hours: u64) -> Self {
        Self::from_secs(hours * 3600)
    }

    /// The standard library's duration.
    pub const fn get(self) -> time::Duration {
        self.0
    }
}

impl From<Duration> for time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "0" {
            return Ok(Self::ZERO);
        }
        if text.starts_with('-') {
            return Err(format!("{text:?} is negative; a duration is 0 or more"));
        }
        let millis = parse_millis(text)?;
        let duration = Self::from_millis(millis.ok_or_else(|| too_long(text))?);
        if duration > Self::MAX { Err(too_long(text)) } else { Ok(duration) }
    }
}

/// The sum of the parts in milliseconds; `None` when it overflows.
fn parse_millis(text: &str) -> Result<Option<u64>, String> {
    let wrong = || format!("{text:?} is no duration; write one like \"90s\", \"5m\" or \"1h30m\"");
    let (mut rest, mut total) = (text, Some(0_u64));
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(|| unit_missing(text))?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        if number.is_empty() {
            return Err(wrong());
        }
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
        total = total.zip(part).and_then(|(total, part)| total.checked_add(part));
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

fn unit_missing(text: &str) -> String {
    format!("{text:?} has no unit; write \"{}s\" for seconds", text.trim_start_matches(|c: char| !c.is_ascii_digit()))
}

fn too_long(text: &str) -> String {
    format!("{text:?} is too long; the longest duration is 36500d")
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        // Days are read but not written: `24h` says the same to more people.
        for (unit, factor) in &UNITS[1..] {
            let count = rest / factor;
            rest %= factor;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

impl Scalar for Duration {
    const FORMAT: &'static str = "duration";
    const TYPES: &'static [&'static str] = &["string"];

    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => text.parse(),
            Value::Number(number) if number.as_u64() == Some(0) => Ok(Self::ZERO),
            Value::Number(number) if number.as_f64().is_some_and(|n| n < 0.0) => {
                Err(format!("{number} is negative; a duration is 0 or more"))
            }
            Value::Number(number) => Err(format!("is a duration and needs a unit; write \"{number}s\" for seconds")),
            other => Err(format!("must be a duration like \"90s\", not {}", kind_of(other))),
        }
    }

    fn write(&self) -> Value {
        Value::String(self.to_string())
    }
}

impl_scalar!(Duration);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_read_as_people_write_them_and_print_in_one_form() {
        let table = [
            (json!("90s"), 90_000, "1m30s"),
            (json!("5m"), 300_000, "5m"),
            (json!("1h30m"), 5_400_000, "1h30m"),
            (json!("250ms"), 250, "250ms"),
            (json!("24h"), 86_400_000, "24h"),
            (json!("2d"), 172_800_000, "48h"),
            (json!("1m500ms"), 60_500, "1m500ms"),
            (json!("0"), 0, "0s"),
            (json!(0), 0, "0s"),
            (json!("36500d"), 100 * 365 * 86_400_000, "876000h"),
        ];
        for (written, millis, printed) in table {
            let duration = Duration::read(&written).expect("reads");
            assert_eq!(
                (duration, duration.to_string().as_str()),
                (Duration::from_millis(millis), printed),
                "{written}"
            );
            assert_eq!(printed.parse(), Ok(duration), "what is printed reads again");
        }
    }

    #[test]
    fn a_bad_duration_says_what_is_wrong() {
        let table = [
            (json!("-5s"), "negative"),
            (json!(-5), "negative"),
            (json!(90), "write \"90s\""),
            (json!("90"), "write \"90s\""),
            (json!("36501d"), "too long"),
            (json!("99999999999999999999h"), "too long"),
            (json!("18446744073709551615s"), "too long"),
            (json!("soon"), "no duration"),
            (json!("5 m"), "no duration"),
            (json!("5x"), "no duration"),
            (json!("s"), "no duration"),
            (json!(""), "no duration"),
            (json!([]), "not a list"),
        ];
        for (written, says) in table {
            let error = Duration::read(&written).expect_err("must not read");
            assert!(error.contains(says), "{written}: {error}");
        }
    }
}
