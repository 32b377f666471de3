//! When a job is due: a cron expression or an interval, and the time zone it is read in.
//!
//! Five fields (minute, hour, day of month, month, day of week) or six with seconds before them; `*`, lists, ranges,
//! steps, names of months and days; `@daily` and its like; `@every 15m`. Days of month and of week that are both
//! restricted mean either, as in cron(5).

mod cron;

use std::{fmt, str::FromStr};

use serde_json::Value;

use crate::{
    Duration,
    scalar::{Scalar, impl_scalar, text},
};

/// A schedule whose syntax holds and which comes due at some time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schedule(String);

/// The shortest interval of `@every`.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Names that stand for an expression.
const NAMED: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Schedule {
    /// Its text, as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(interval) = text.strip_prefix("@every") {
            check_interval(interval)?;
        } else if text.starts_with('@') {
            check_name(text)?;
        } else {
            cron::Expression::from_str(text)?.check_that_it_fires(text)?;
        }
        Ok(Self(text.to_owned()))
    }
}

fn check_interval(text: &str) -> Result<(), String> {
    let interval: Duration = text.parse()?;
    if interval < MIN_INTERVAL { Err(format!("@every needs at least {MIN_INTERVAL}")) } else { Ok(()) }
}

fn check_name(text: &str) -> Result<(), String> {
    if NAMED.iter().any(|(name, _)| *name == text) {
        return Ok(());
    }
    let names: Vec<_> = NAMED.iter().map(|(name, _)| *name).collect();
    Err(format!("{text:?} is no schedule; use one of {}, `@every 15m` or five fields", names.join(", ")))
}

impl Scalar for Schedule {
    const FORMAT: &'static str = "schedule";
    const TYPES: &'static [&'static str] = &["string"];

    fn read(value: &Value) -> Result<Self, String> {
        text(value)?.parse()
    }

    fn write(&self) -> Value {
        self.0.as_str().into()
    }
}

/// A time zone by its IANA name, such as `Europe/Berlin`. Names are looked up in the database Orion carries, so that
/// a file means the same on every machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimeZone(String);

impl TimeZone {
    /// Its IANA name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        Self("UTC".to_owned())
    }
}

impl Scalar for TimeZone {
    const FORMAT: &'static str = "time-zone";
    const TYPES: &'static [&'static str] = &["string"];

    fn read(value: &Value) -> Result<Self, String> {
        let name = text(value)?;
        let zones = jiff::tz::TimeZoneDatabase::bundled();
        match zones.get(name) {
            Ok(zone) => Ok(Self(zone.iana_name().unwrap_or(name).to_owned())),
            Err(_) => {
                let known: Vec<String> = zones.available().map(|name| name.to_string()).collect();
                Err(format!(
                    "{name:?} is no time zone{}",
                    crate::suggest::did_you_mean(name, known.iter().map(String::as_str))
                ))
            }
        }
    }

    fn write(&self) -> Value {
        self.0.as_str().into()
    }
}

impl_scalar!(Schedule, TimeZone);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_that_mean_something_are_taken() {
        for text in [
            "* * * * *",
            "0 4 * * *",
            "*/5 0-12/3 1,15 JAN-MAR mon-fri",
            "30 0 0 * * *",
            "0 0 29 2 *",
            "0 0 31 2,3 *",
            "0 0 30 2 mon",
            "0 0 * * 7",
            "0 0 * * fri-sun",
            "0 0 ? * 1",
            "@daily",
            "@hourly",
            "@every 15m",
            "@every 1h30m",
        ] {
            assert!(text.parse::<Schedule>().is_ok(), "{text}: {:?}", text.parse::<Schedule>());
        }
    }

    #[test]
    fn bad_schedules_say_which_field_is_wrong() {
        let table = [
            ("", "five fields"),
            ("* * * *", "five fields"),
            ("* * * * * * *", "five fields"),
            ("60 * * * *", "minute"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day of month"),
            ("* * 32 * *", "day of month"),
            ("* * * 13 *", "month"),
            ("* * * * 8", "day of week"),
            ("60 * * * * *", "second"),
            ("*/0 * * * *", "minute"),
            ("5-1 * * * *", "minute"),
            ("1,,2 * * * *", "minute"),
            ("1/x * * * *", "minute"),
            ("a * * * *", "minute"),
            ("-1 * * * *", "minute"),
            ("99999999999999999999 * * * *", "minute"),
            ("0 0 30 2 *", "never"),
            ("0 0 31 4,6,9,11 *", "never"),
            ("@reboot", "no schedule"),
            ("@every", "no duration"),
            ("@every 10ms", "at least 1s"),
            ("@every -5m", "negative"),
            ("TZ=UTC * * * * *", "timeZone"),
        ];
        for (text, says) in table {
            let error = text.parse::<Schedule>().expect_err(text);
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }

    #[test]
    fn time_zones_are_iana_names() {
        assert_eq!(TimeZone::read(&"europe/berlin".into()), Ok(TimeZone("Europe/Berlin".to_owned())));
        assert_eq!(TimeZone::read(&"UTC".into()), Ok(TimeZone::default()));
        let error = TimeZone::read(&"Europe/Berlim".into()).expect_err("no zone");
        assert!(error.contains("did you mean \"Europe/Berlin\""), "{error}");
        assert!(TimeZone::read(&"".into()).is_err());
        assert!(TimeZone::read(&"../etc/passwd".into()).is_err());
    }
}
