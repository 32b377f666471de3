//! Lines of logs as they are stored, and as people read them.

use orion_model::ClientError;

use crate::{
    failure::Failure,
    local_time,
    out::say,
    style::{Style, Tone, safe},
};

/// One line, ready to be shown.
pub(crate) struct Line {
    /// Whose.
    pub(crate) replica: String,
    /// As it is stored: time, stream, text.
    pub(crate) text: String,
}

/// How lines are shown: names in a column that grows with them.
pub(crate) struct Lines {
    named: bool,
    timestamps: bool,
    width: usize,
}

impl Lines {
    /// Each with its replica's name.
    pub(crate) fn named(timestamps: bool) -> Self {
        Self { named: true, timestamps, width: 0 }
    }

    /// Without it.
    pub(crate) fn anonymous(timestamps: bool) -> Self {
        Self { named: false, timestamps, width: 0 }
    }

    /// Makes room for a name.
    pub(crate) fn widen(&mut self, name: &str) {
        self.width = self.width.max(name.chars().count());
    }

    /// A name, padded to its column.
    pub(crate) fn name(&self, style: Style, name: &str) -> String {
        let padding = self.width.saturating_sub(name.chars().count());
        format!("{}{}", style.name(name), " ".repeat(padding))
    }

    /// Prints a line.
    pub(crate) fn print(&self, style: Style, line: &Line) -> Result<(), Failure> {
        say!("{}", self.shown(style, line));
        Ok(())
    }

    fn shown(&self, style: Style, line: &Line) -> String {
        let (time, stream, message) = parts(&line.text);
        let message = safe(message);
        let message = if stream == "stderr" { style.paint(&message, Tone::Notice) } else { message };
        let time = match self.timestamps {
            true => local_time::precise(time).unwrap_or_else(|| time.to_owned()) + " ",
            false => String::new(),
        };
        let time = style.paint(&time, Tone::Faint);
        if self.named { format!("{} | {time}{message}", self.name(style, &line.replica)) } else { time + &message }
    }
}

/// The text of a stored line without its time and stream.
pub(crate) fn message(line: &str) -> &str {
    parts(line).2
}

/// A stored line's time, stream and text.
pub(super) fn parts(line: &str) -> (&str, &str, &str) {
    let (time, rest) = line.split_once(' ').unwrap_or(("", line));
    let (stream, message) = rest.split_once(' ').unwrap_or((rest, ""));
    (time, stream, message)
}

/// A line as it comes from a server; what of it is not UTF-8 is replaced.
pub(super) fn as_text<B: AsRef<[u8]>>(line: Result<B, ClientError>) -> Result<String, ClientError> {
    line.map(|line| String::from_utf8_lossy(line.as_ref()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_line_is_time_stream_and_text() {
        assert_eq!(
            parts("2026-11-24T09:31:12.123456789Z stdout hello there"),
            ("2026-11-24T09:31:12.123456789Z", "stdout", "hello there")
        );
        assert_eq!(message("2026-11-24T09:31:12Z stderr "), "");
    }

    #[test]
    fn names_stand_in_a_column_and_alone_there_is_none() {
        let line = |replica: &str| Line {
            replica: replica.into(),
            text: "2026-11-24T09:31:12.123456789Z stdout hello".into(),
        };
        let mut lines = Lines::named(false);
        lines.widen("database-0-abcde");
        assert_eq!(lines.shown(Style::plain(), &line("web-0-abcde")), "web-0-abcde      | hello");
        assert_eq!(Lines::anonymous(false).shown(Style::plain(), &line("web-0-abcde")), "hello");
        assert!(Lines::anonymous(true).shown(Style::plain(), &line("a")).ends_with(" hello"));
    }
}
