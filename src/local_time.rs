//! Times as people read them: in their own zone, and how long ago.

use jiff::tz::TimeZone;
use orion_model::Timestamp;

/// A point in time in the reader's zone, to the millisecond, if the text is one: `2026-11-24T10:31:12.123+01:00`.
pub(crate) fn precise(time: &str) -> Option<String> {
    written(time, "%Y-%m-%dT%H:%M:%S%.3f%:z", TimeZone::system())
}

/// A point in time in the reader's zone, to the second, if the text is one: `2026-11-24 10:31:12`.
pub(crate) fn short(time: &str) -> Option<String> {
    written(time, "%Y-%m-%d %H:%M:%S", TimeZone::system())
}

fn written(time: &str, format: &str, zone: TimeZone) -> Option<String> {
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(time.to_zoned_datetime(zone).strftime(format).to_string())
}

/// How long ago a time was: `45s`, `3m`, `5h`, `2d`.
pub(crate) fn ago(time: Timestamp) -> String {
    let now: Timestamp = std::time::SystemTime::now().into();
    age(now.as_secs() - time.as_secs())
}

fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s @ ..120 => format!("{s}s"),
        s @ ..7200 => format!("{}m", s / 60),
        s @ ..172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_the_readers_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let shown = written("2026-11-24T09:31:12.123456789Z", "%Y-%m-%dT%H:%M:%S%.3f%:z", zone);
        assert_eq!(shown.as_deref(), Some("2026-11-24T11:31:12.123+02:00"));
        assert_eq!(precise("web-0-abcde"), None);
    }

    #[test]
    fn an_age_has_the_unit_that_fits() {
        let table = [(-3, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172_800, "2d")];
        for (seconds, expected) in table {
            assert_eq!(age(seconds), expected);
        }
    }
}
