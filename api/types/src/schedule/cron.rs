//! The fields of a cron expression.

use std::str::FromStr;

/// A parsed expression: for each field the values it names, as bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expression {
    days_of_month: u64,
    months: u64,
    day_of_week_restricted: bool,
}

/// One of the six positions.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const SECOND: Field = Field { name: "second", min: 0, max: 59, names: &[] };
const MINUTE: Field = Field { name: "minute", min: 0, max: 59, names: &[] };
const HOUR: Field = Field { name: "hour", min: 0, max: 23, names: &[] };
const DAY_OF_MONTH: Field = Field { name: "day of month", min: 1, max: 31, names: &[] };
const MONTH: Field = Field {
    name: "month",
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// Sunday is 0 and 7.
const DAY_OF_WEEK: Field =
    Field { name: "day of week", min: 0, max: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// The most days each month can have.
const LONGEST: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl FromStr for Expression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
            return Err("has a time zone; use the field timeZone".to_owned());
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day_of_month, month, day_of_week] = match words.as_slice() {
            [second, rest @ ..] if rest.len() == 5 => {
                SECOND.parse(second)?;
                [rest[0], rest[1], rest[2], rest[3], rest[4]]
            }
            &[minute, hour, day_of_month, month, day_of_week] => [minute, hour, day_of_month, month, day_of_week],
            _ => {
                return Err(format!(
                    "{text:?} is no schedule: five fields, or six with seconds first, not {}",
                    words.len()
                ));
            }
        };
        MINUTE.parse(minute)?;
        HOUR.parse(hour)?;
        DAY_OF_WEEK.parse(day_of_week)?;
        Ok(Self {
            days_of_month: DAY_OF_MONTH.parse(day_of_month)?,
            months: MONTH.parse(month)?,
            day_of_week_restricted: !day_of_week.starts_with(['*', '?']),
        })
    }
}

impl Expression {
    /// A day of month that none of the months has never comes, unless days of the week may stand in for it.
    pub(super) fn check_that_it_fires(&self, text: &str) -> Result<(), String> {
        let first_day = self.days_of_month.trailing_zeros();
        let fits = |month: u32| self.months & (1 << month) != 0 && LONGEST[month as usize - 1] >= first_day;
        if self.day_of_week_restricted || (MONTH.min..=MONTH.max).any(fits) {
            return Ok(());
        }
        Err(format!("{text:?} never comes due: none of its months has a day {first_day}"))
    }
}

impl Field {
    /// The values a field names, as bits.
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',')
            .try_fold(0, |bits, part| self.part(part).map(|part| bits | part))
            .map_err(|why| format!("{} {text:?}: {why}", self.name))
    }

    fn part(&self, text: &str) -> Result<u64, String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => {
                (range, Some(step.parse().ok().filter(|step| *step > 0).ok_or_else(|| format!("{step:?} is no step"))?))
            }
            None => (text, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (self.min, self.max),
            Some((first, last)) => (self.value(first)?, self.end_value(last)?),
            // `5/15` means from 5 on.
            None if step.is_some() => (self.value(range)?, self.max),
            None => (self.value(range)?, self.value(range)?),
        };
        if first > last {
            return Err(format!("{range:?} runs backwards"));
        }
        Ok((first..=last).step_by(step.unwrap_or(1)).fold(0, |bits, value| bits | 1 << value))
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let named =
            self.names.iter().position(|name| name.eq_ignore_ascii_case(text)).map(|index| index as u32 + self.min);
        let number = || text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let value = named.or_else(number).filter(|value| (self.min..=self.max).contains(value));
        value.ok_or_else(|| format!("{text:?} is not {} to {}", self.min, self.max))
    }

    /// As [`value`](Self::value), but Sunday at the end of a range is its second number.
    fn end_value(&self, text: &str) -> Result<u32, String> {
        let value = self.value(text)?;
        Ok(if value == 0 && self.max == DAY_OF_WEEK.max { self.max } else { value })
    }
}
