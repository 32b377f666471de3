//! The writing side of a replica's log: bytes into stamped lines, lines into files within their bound.
//!
//! Nothing here may hold the process up or end the shim. What a full or broken disk does not take is dropped by whole
//! lines and counted, and the count is written in its place as soon as the disk takes lines again.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::wire::LogSettings;
use crate::logs::{LogStream, segment_path, segments};

/// A longer line is stored as several.
const LONGEST_LINE: usize = 16 * 1024;

/// A piece of a line without its end is stored as a line after this time: a prompt is to be seen.
pub(super) const PARTIAL_AFTER: Duration = Duration::from_secs(1);

/// Stamped lines gathered before they are written.
const BATCH: usize = 16 * 1024;

/// A time stamp, the longest stream name, two spaces and the end of line.
const STAMP: usize = 40;

/// The least a file may be asked to hold.
const SMALLEST_FILE: u64 = 1024;

/// Cuts one stream into lines.
#[derive(Debug)]
pub(super) struct Lines {
    stream: LogStream,
    partial: Vec<u8>,
    since: Option<Instant>,
}

impl Lines {
    pub(super) fn new(stream: LogStream) -> Self {
        Self { stream, partial: Vec::new(), since: None }
    }

    /// Takes what was read, and gives every line it completes to the log.
    pub(super) fn feed(&mut self, mut bytes: &[u8], now: Instant, log: &mut LogWriter) {
        let at = Timestamp::now();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.extend(line, at, log);
            log.line(at, self.stream, &self.partial);
            self.partial.clear();
            bytes = &rest[1..];
        }
        self.extend(bytes, at, log);
        self.since = (!self.partial.is_empty()).then_some(now);
    }

    /// When a piece without its end is due to be stored.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + PARTIAL_AFTER)
    }

    /// Stores what has no end of line yet.
    pub(super) fn flush(&mut self, log: &mut LogWriter) {
        if !self.partial.is_empty() {
            log.line(Timestamp::now(), self.stream, &self.partial);
            self.partial.clear();
        }
        self.since = None;
    }

    fn extend(&mut self, mut bytes: &[u8], at: Timestamp, log: &mut LogWriter) {
        let longest = log.longest_line();
        while self.partial.len() + bytes.len() > longest {
            let (now, later) = bytes.split_at(longest.saturating_sub(self.partial.len()).min(bytes.len()));
            self.partial.extend_from_slice(now);
            log.line(at, self.stream, &self.partial);
            self.partial.clear();
            bytes = later;
        }
        self.partial.extend_from_slice(bytes);
    }
}

/// The file that is written, and those before it.
#[derive(Debug)]
pub(super) struct LogWriter {
    settings: LogSettings,
    current: Option<Segment>,
    batch: Vec<u8>,
    /// Dropped and not yet written down.
    unmarked: Option<Dropped>,
    dropped: u64,
}

#[derive(Debug)]
struct Segment {
    file: File,
    number: u64,
    length: u64,
}

#[derive(Debug)]
struct Dropped {
    lines: u64,
    why: String,
}

impl LogWriter {
    pub(super) fn new(settings: LogSettings) -> Self {
        Self { settings: bounded(settings), current: None, batch: Vec::new(), unmarked: None, dropped: 0 }
    }

    /// The bound from now on; the folder stays.
    pub(super) fn set_bound(&mut self, settings: &LogSettings) {
        let dir = self.settings.dir.clone();
        self.settings = bounded(LogSettings { dir, ..settings.clone() });
        if let Some(current) = &self.current {
            let keep = u64::from(self.settings.max_files);
            // What cannot be removed now is tried again at the next change of file.
            let _later = self.remove_before((current.number + 1).saturating_sub(keep));
        }
    }

    /// The settings in force.
    pub(super) fn settings(&self) -> &LogSettings {
        &self.settings
    }

    /// How many lines have been dropped in all.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds a line; it is on disk after [`LogWriter::flush`].
    pub(super) fn line(&mut self, at: Timestamp, stream: LogStream, text: &[u8]) {
        let before = self.batch.len();
        stamp(&mut self.batch, at, stream, text);
        let current = self.current.as_ref().map_or(0, |current| current.length);
        if self.batch.len() >= BATCH || current + self.batch.len() as u64 > self.settings.max_file_size {
            let last = self.batch.split_off(before);
            self.flush();
            self.batch = last;
        }
    }

    /// Writes what has gathered, or drops and counts it.
    pub(super) fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty()
            && let Err((lost, error)) = self.mark_and_write(&batch)
        {
            self.drop_lines(lost, &error);
        }
        self.batch = batch;
        self.batch.clear();
    }

    fn mark_and_write<'lines>(&mut self, batch: &'lines [u8]) -> Result<(), (&'lines [u8], io::Error)> {
        self.mark_dropped().map_err(|error| (batch, error))?;
        self.write(batch)
    }

    fn longest_line(&self) -> usize {
        let fits = usize::try_from(self.settings.max_file_size).unwrap_or(usize::MAX).saturating_sub(STAMP);
        fits.min(LONGEST_LINE)
    }

    /// Says in place how much is missing.
    fn mark_dropped(&mut self) -> io::Result<()> {
        let Some(unmarked) = &self.unmarked else { return Ok(()) };
        let mut mark = Vec::new();
        stamp(
            &mut mark,
            Timestamp::now(),
            LogStream::Orion,
            format!("{} lines dropped: {}", unmarked.lines, unmarked.why).as_bytes(),
        );
        self.write(&mark).map_err(|(_, error)| error)?;
        self.unmarked = None;
        Ok(())
    }

    fn drop_lines(&mut self, lines: &[u8], error: &io::Error) {
        let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.dropped += count;
        let already = self.unmarked.take().map_or(0, |dropped| dropped.lines);
        self.unmarked = Some(Dropped { lines: already + count, why: error.to_string() });
    }

    /// Writes whole lines; on an error, those that are not on disk come back with it.
    fn write<'lines>(&mut self, lines: &'lines [u8]) -> Result<(), (&'lines [u8], io::Error)> {
        let segment = self.segment_for(lines.len() as u64).map_err(|error| (lines, error))?;
        let mut written = 0;
        while written < lines.len() {
            match segment.file.write(&lines[written..]) {
                Ok(0) => return Err(segment.cut_back(lines, written, io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(segment.cut_back(lines, written, error)),
            }
        }
        segment.length += lines.len() as u64;
        Ok(())
    }

    fn segment_for(&mut self, more: u64) -> io::Result<&mut Segment> {
        let fits = |segment: &Segment| segment.length == 0 || segment.length + more <= self.settings.max_file_size;
        let next = match self.current.take() {
            Some(current) if fits(&current) => current,
            Some(full) => self.open(full.number + 1)?,
            None => match self.newest()? {
                (_, Some(last)) if fits(&last) => last,
                (number, _) => self.open(number + 1)?,
            },
        };
        Ok(self.current.insert(next))
    }

    /// The last file of an earlier attempt, if its last line is whole, and the highest number in use.
    fn newest(&self) -> io::Result<(u64, Option<Segment>)> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.settings.dir)?;
        let Some(number) = segments(&self.settings.dir)?.pop() else { return Ok((0, None)) };
        let file = OpenOptions::new().append(true).read(true).open(segment_path(&self.settings.dir, number))?;
        let length = file.metadata()?.len();
        let mut last = [b'\n'];
        if length > 0 {
            file.read_exact_at(&mut last, length - 1)?;
        }
        Ok((number, (last == *b"\n").then_some(Segment { file, number, length })))
    }

    /// Begins the file of that number; the oldest go first, so that the bound holds at every moment.
    fn open(&self, number: u64) -> io::Result<Segment> {
        self.remove_before((number + 1).saturating_sub(u64::from(self.settings.max_files)))?;
        let path = segment_path(&self.settings.dir, number);
        let file = match OpenOptions::new().append(true).create(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(&self.settings.dir)?;
                OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?
            }
            opened => opened?,
        };
        let length = file.metadata()?.len();
        Ok(Segment { file, number, length })
    }

    fn remove_before(&self, first_kept: u64) -> io::Result<()> {
        for number in segments(&self.settings.dir)?.into_iter().take_while(|number| *number < first_kept) {
            fs::remove_file(segment_path(&self.settings.dir, number))?;
        }
        Ok(())
    }
}

impl Segment {
    /// After a write that failed half way: the file ends with the last whole line again.
    fn cut_back<'lines>(&mut self, lines: &'lines [u8], written: usize, error: io::Error) -> (&'lines [u8], io::Error) {
        let whole = lines[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.length += whole as u64;
        if self.file.set_len(self.length).is_err() {
            // Then a torn line stays, which readers skip.
            self.length += (written - whole) as u64;
        }
        (&lines[whole..], error)
    }
}

fn bounded(settings: LogSettings) -> LogSettings {
    LogSettings {
        max_files: settings.max_files.max(1),
        max_file_size: settings.max_file_size.max(SMALLEST_FILE),
        ..settings
    }
}

fn stamp(into: &mut Vec<u8>, at: Timestamp, stream: LogStream, text: &[u8]) {
    write!(into, "{at:.9} {} ", stream.as_str()).expect("a vector takes all that is written to it");
    into.extend_from_slice(text);
    into.push(b'\n');
}

#[cfg(test)]
mod tests;
