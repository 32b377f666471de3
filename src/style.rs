//! Colour for people: only on a terminal, and never when `NO_COLOR` is set.

use std::io::IsTerminal;

/// How a word is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing special.
    Plain,
    /// Well.
    Good,
    /// On the way, or worth a look.
    Notice,
    /// Wrong.
    Bad,
    /// Less important than the rest.
    Faint,
    /// More important than the rest.
    Strong,
}

/// Whether an output takes colour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    colour: bool,
}

impl Style {
    /// As stdout is.
    pub(crate) fn of_stdout() -> Self {
        Self { colour: wanted() && std::io::stdout().is_terminal() }
    }

    /// As stderr is.
    pub(crate) fn of_stderr() -> Self {
        Self { colour: wanted() && std::io::stderr().is_terminal() }
    }

    /// Without any colour.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { colour: false }
    }

    /// A word in its tone.
    pub(crate) fn paint(self, text: &str, tone: Tone) -> String {
        match tone {
            Tone::Plain => text.to_owned(),
            Tone::Good => self.coded(text, "32"),
            Tone::Notice => self.coded(text, "33"),
            Tone::Bad => self.coded(text, "31"),
            Tone::Faint => self.coded(text, "2"),
            Tone::Strong => self.coded(text, "1"),
        }
    }

    /// A replica's name in a colour of its own, the same each time.
    pub(crate) fn name(self, name: &str) -> String {
        const CODES: [&str; 6] = ["36", "35", "34", "33", "32", "96"];
        let sum: usize = name.bytes().map(usize::from).sum();
        self.coded(name, CODES[sum % CODES.len()])
    }

    fn coded(self, text: &str, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The tone of a phase, a status or a condition's word.
pub(crate) fn tone_of(word: &str) -> Tone {
    match word {
        "Ready" | "available" | "running" | "ready" | "Running" | "Succeeded" | "created" | "True" => Tone::Good,
        "Pending" | "Starting" | "Scheduled" | "Stopping" | "Gated" | "pending" | "changed" | "unknown" | "Unknown" => {
            Tone::Notice
        }
        "Backoff" | "Failed" | "Lost" | "failed" | "lost" | "deleted" | "Warning" => Tone::Bad,
        "Stopped" | "stopped" | "unchanged" => Tone::Faint,
        _ => Tone::Plain,
    }
}

/// Text from processes and objects with control characters made visible, so that a terminal does not act on them.
pub(crate) fn safe(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push('\t'),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_log_do_not_reach_the_terminal() {
        assert_eq!(safe("a\x1b[2Jb\tc\u{9b}1m"), "a\\u{1b}[2Jb\tc\\u{9b}1m");
    }
}
