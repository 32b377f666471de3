//! A line for each step of something that takes time and, on a terminal, one that moves while nothing happens.

use std::io::{IsTerminal, Write};

use orion_model::ObjectKey;

use crate::{
    remote::shown,
    standing::Standing,
    style::{Style, Tone, safe},
};

const SPINNER: [&str; 8] = ["⠋", "⠙", "⠸", "⠴", "⠦", "⠇", "⠏", "⠛"];
/// How wide a terminal is taken to be where it does not say.
const WIDTH: usize = 80;

/// Where progress is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Beside the rest of what a command says.
    Stdout,
    /// Apart from a document on stdout.
    Stderr,
}

/// Progress, as it is told.
pub(crate) struct StatusLine {
    style: Style,
    channel: Channel,
    moves: bool,
    turn: usize,
    waiting: Vec<String>,
}

impl StatusLine {
    /// Nothing told yet.
    pub(crate) fn new(channel: Channel) -> Self {
        let (style, moves) = match channel {
            Channel::Stdout => (Style::of_stdout(), std::io::stdout().is_terminal()),
            Channel::Stderr => (Style::of_stderr(), std::io::stderr().is_terminal()),
        };
        Self { style, channel, moves, turn: 0, waiting: Vec::new() }
    }

    /// Tells where an object stands now.
    pub(crate) fn say(&mut self, key: &ObjectKey, standing: &Standing) {
        let (word, tone, what) = match standing {
            Standing::Done(what) => ("ready", Tone::Good, what),
            Standing::Waiting(what) => ("waiting", Tone::Notice, what),
            Standing::Failed(what) => ("failed", Tone::Bad, what),
        };
        self.line(&format!("{} {}: {}", shown(key), self.style.paint(word, tone), safe(what)));
    }

    /// Tells a whole line.
    pub(crate) fn line(&mut self, text: &str) {
        self.clear();
        self.write(&format!("{text}\n"));
    }

    /// What the moving line says from now on.
    pub(crate) fn wait_for(&mut self, waiting: Vec<String>) {
        self.waiting = waiting;
        self.turn();
    }

    /// Moves it on.
    pub(crate) fn turn(&mut self) {
        if self.moves && !self.waiting.is_empty() {
            self.turn += 1;
            let shown: String = safe(&self.waiting.join("; ")).chars().take(width() - 3).collect();
            let spinner = SPINNER[self.turn % SPINNER.len()];
            self.write(&format!("\r\x1b[K{spinner} {}", self.style.paint(&shown, Tone::Faint)));
        }
    }

    /// Takes the moving line away.
    pub(crate) fn clear(&self) {
        if self.moves {
            self.write("\r\x1b[K");
        }
    }

    fn write(&self, text: &str) {
        // A reader that is gone takes no progress; the command goes on.
        let _gone = match self.channel {
            Channel::Stdout => std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()),
            Channel::Stderr => std::io::stderr().write_all(text.as_bytes()),
        };
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}

fn width() -> usize {
    let said = rustix::termios::tcgetwinsize(std::io::stderr()).map(|size| usize::from(size.ws_col));
    said.ok().filter(|columns| *columns > 10).unwrap_or(WIDTH)
}
