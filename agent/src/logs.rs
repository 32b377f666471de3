//! A replica's output on disk: how a line looks, how its files are called, and how they are read while they grow.
//!
//! ```text
//! <dir>/00000001.log   2026-11-24T09:31:12.123456789Z stdout listening on 8080
//! <dir>/00000002.log   2026-11-24T09:31:13.000000001Z orion 12 lines dropped: No space left on device
//! ```
//!
//! Files are never renamed: a full one is followed by the next number, and the lowest numbers go when there are too
//! many. So a reader that has one open loses nothing, and knows which comes next. Numbers go on over the attempts of
//! one replica.

mod reader;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

pub use self::reader::{LogQuery, LogReader};

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// The process's standard output.
    Stdout,
    /// Its standard error.
    Stderr,
    /// The shim's own remarks: lines dropped, processes left behind.
    Orion,
}

impl LogStream {
    /// The word that stands in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Orion => "orion",
        }
    }
}

/// One line of a replica's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When the shim read it.
    pub at: Timestamp,
    /// Where it came from.
    pub stream: LogStream,
    /// Without its end of line; what is not UTF-8 is replaced. Not safe to print on a terminal as it is.
    pub text: String,
}

impl LogLine {
    /// Reads a stored line; none if it is not one.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(line);
        let (at, rest) = text.split_once(' ')?;
        let (stream, text) = rest.split_once(' ')?;
        let stream = [LogStream::Stdout, LogStream::Stderr, LogStream::Orion]
            .into_iter()
            .find(|known| known.as_str() == stream)?;
        Some(Self { at: at.parse().ok()?, stream, text: text.to_owned() })
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.9} {} {}", self.at, self.stream.as_str(), self.text)
    }
}

/// The path of a file of the log.
pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.log"))
}

/// The numbers of the files of a log, rising; none if the folder is not there.
pub(crate) fn segments(dir: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".log")?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_from_what_it_prints() {
        let text = "2026-11-24T09:31:12.100000000Z stderr  two  spaces ";
        let line = LogLine::parse(text.as_bytes()).expect("is a line");
        assert_eq!((line.stream, line.text.as_str()), (LogStream::Stderr, " two  spaces "));
        assert_eq!(line.to_string(), text);
    }

    #[test]
    fn an_empty_line_is_a_line_and_a_torn_one_is_none() {
        assert_eq!(LogLine::parse(b"2026-11-24T09:31:12.1Z stdout ").expect("is a line").text, "");
        for torn in [
            "",
            "2026-11-24T09:31:12.1Z",
            "2026-11-24T09:31:12.1Z stdo",
            "yesterday stdout x",
            "2026-11-24T09:31:12.1Z stdin x",
        ] {
            assert_eq!(LogLine::parse(torn.as_bytes()), None, "{torn:?}");
        }
    }
}
