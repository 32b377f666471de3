//! Colour and layout for people: only on a terminal, and never when `NO_COLOR` is set.

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
}

/// Whether stdout takes colour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    colour: bool,
}

impl Style {
    /// As stdout is.
    pub(crate) fn of_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour: wanted && std::io::stdout().is_terminal() }
    }

    /// A word in its tone.
    pub(crate) fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Notice => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A replica's name in a colour of its own, the same each time.
    pub(crate) fn name(self, name: &str) -> String {
        const CODES: [&str; 6] = ["36", "35", "34", "33", "32", "96"];
        if !self.colour {
            return name.to_owned();
        }
        let sum: usize = name.bytes().map(usize::from).sum();
        format!("\x1b[{}m{name}\x1b[0m", CODES[sum % CODES.len()])
    }
}

/// The tone of a phase, a status or a condition's word.
pub(crate) fn tone_of(word: &str) -> Tone {
    match word {
        "Ready" | "running" | "ready" | "Running" | "Succeeded" | "created" | "True" => Tone::Good,
        "Pending" | "Starting" | "Scheduled" | "Stopping" | "Gated" | "pending" | "changed" | "unknown" | "Unknown" => {
            Tone::Notice
        }
        "Backoff" | "Failed" | "Lost" | "failed" | "lost" | "deleted" | "Warning" => Tone::Bad,
        "Stopped" | "stopped" | "unchanged" => Tone::Faint,
        _ => Tone::Plain,
    }
}

/// Rows with columns of even width, two spaces between them.
pub(crate) fn columns(style: Style, header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |index: usize| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
        cells.chain([header[index].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    let heading: Vec<_> = header.iter().map(|cell| ((*cell).to_owned(), Tone::Faint)).collect();
    push_row(&mut text, style, &widths, &heading);
    for row in rows {
        let cells: Vec<_> = row.iter().map(|cell| (cell.clone(), tone_of(cell))).collect();
        push_row(&mut text, style, &widths, &cells);
    }
    text
}

fn push_row(text: &mut String, style: Style, widths: &[usize], cells: &[(String, Tone)]) {
    for (index, (cell, tone)) in cells.iter().enumerate() {
        let last = index + 1 == cells.len();
        let padding = if last { 0 } else { widths[index] - cell.chars().count() + 2 };
        text.push_str(&style.paint(cell, *tone));
        text.extend(std::iter::repeat_n(' ', padding));
    }
    text.push('\n');
}

/// A length of time as tables show it: `45s`, `3m`, `5h`, `2d`.
pub(crate) fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s @ ..120 => format!("{s}s"),
        s @ ..7200 => format!("{}m", s / 60),
        s @ ..172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
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
    fn columns_line_up_and_the_last_is_not_padded() {
        let rows = vec![vec!["web".to_owned(), "Ready".to_owned()], vec!["database".to_owned(), "Lost".to_owned()]];
        let text = columns(Style { colour: false }, &["NAME", "PHASE"], &rows);
        assert_eq!(text, "NAME      PHASE\nweb       Ready\ndatabase  Lost\n");
    }

    #[test]
    fn control_characters_of_a_log_do_not_reach_the_terminal() {
        assert_eq!(safe("a\x1b[2Jb\tc\u{9b}1m"), "a\\u{1b}[2Jb\tc\\u{9b}1m");
    }
}
