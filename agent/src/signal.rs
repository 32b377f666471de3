//! Signals by the names people write: `SIGTERM`, `TERM`, `SIGRTMIN+3`, `15`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// One signal of Linux, named or real-time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signal(i32);

/// What was given is no signal's name or number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no signal: write a name such as SIGTERM, SIGRTMIN+3, or a number from 1 to 64")]
pub struct UnknownSignal(String);

const NAMES: [(&str, i32); 31] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// The first real-time signal the C library leaves to programs, and the last.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

impl Signal {
    /// The polite request to end.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// The end that cannot be refused.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// Go on after a stop.
    pub const CONT: Self = Self(libc::SIGCONT);

    /// The signal of that number, if the kernel has one.
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=RTMAX).contains(&number).then_some(Self(number))
    }

    /// The kernel's number.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None if self.0 == RTMIN => write!(f, "SIGRTMIN"),
            None if self.0 > RTMIN => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        let upper = text.trim().to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, number)| *number)
            .or_else(|| real_time(name))
            .or_else(|| upper.parse().ok());
        number.and_then(Self::from_number).ok_or_else(|| UnknownSignal(text.to_owned()))
    }
}

fn real_time(name: &str) -> Option<i32> {
    if let Some(rest) = name.strip_prefix("RTMIN") {
        let above = if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse::<i32>().ok()? };
        return (0..=RTMAX - RTMIN).contains(&above).then_some(RTMIN + above);
    }
    let rest = name.strip_prefix("RTMAX")?;
    let below = if rest.is_empty() { 0 } else { rest.strip_prefix('-')?.parse::<i32>().ok()? };
    (0..=RTMAX - RTMIN).contains(&below).then_some(RTMAX - below)
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_usual_spelling() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("SIGRTMIN+3", 37),
            ("RTMAX", 64),
            ("SIGRTMAX-1", 63),
            ("rtmin", 34),
        ] {
            assert_eq!(text.parse::<Signal>().map(Signal::number), Ok(number), "{text}");
        }
    }

    #[test]
    fn what_is_no_signal_is_refused_with_its_text() {
        for text in ["", "SIG", "SIGNOPE", "0", "65", "-9", "RTMIN+31", "RTMIN-1"] {
            assert_eq!(text.parse::<Signal>(), Err(UnknownSignal(text.to_owned())));
        }
    }

    #[test]
    fn every_signal_reads_back_from_what_it_prints() {
        for signal in (1..=64).filter_map(Signal::from_number) {
            assert_eq!(signal.to_string().parse(), Ok(signal));
        }
    }
}
