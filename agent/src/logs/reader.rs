//! Reading a replica's log while it grows and is rotated.

use std::{collections::VecDeque, fs::File, io, os::unix::fs::FileExt, path::PathBuf, time::Duration};

use futures::{Stream, stream};
use jiff::Timestamp;
use rustix::fs::inotify;

use super::{LogLine, segment_path, segments};
use crate::watched_fd::WatchedFd;

/// Read at once; longer than the longest line.
const CHUNK: usize = 64 * 1024;

/// Followers look again after this time, should the kernel's notice fail to come.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Which lines are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// None from before.
    pub since: Option<Timestamp>,
    /// Of those that are there, only this many of the last.
    pub tail: Option<usize>,
    /// Go on with what is written later; the stream then has no end.
    pub follow: bool,
}

/// Reads the log of one replica, over all its files and attempts.
#[derive(Clone, Debug)]
pub struct LogReader {
    dir: PathBuf,
}

impl LogReader {
    /// Of the folder that [`LogSettings::dir`](crate::shims::LogSettings) named; it need not be there yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The lines, oldest first. Lines that rotation removes before they are read are left out.
    pub fn read(&self, query: LogQuery) -> impl Stream<Item = io::Result<LogLine>> + Send + use<> {
        let reading = Reading { dir: self.dir.clone(), query, position: None, ready: VecDeque::new(), watch: None };
        stream::try_unfold(reading, |mut reading| async move {
            loop {
                if let Some(line) = reading.ready.pop_front() {
                    return Ok(Some((line, reading)));
                }
                let (more, found) = reading.look().await?;
                reading = more;
                if !found && !reading.query.follow {
                    return Ok(None);
                }
                if !found {
                    reading.wait().await?;
                }
            }
        })
    }
}

/// Where a reader stands.
#[derive(Debug)]
struct Position {
    number: u64,
    file: File,
    offset: u64,
}

#[derive(Debug)]
struct Reading {
    dir: PathBuf,
    query: LogQuery,
    position: Option<Position>,
    ready: VecDeque<LogLine>,
    watch: Option<WatchedFd>,
}

impl Reading {
    /// Reads on, off the async threads; false if nothing new is there.
    async fn look(mut self) -> io::Result<(Self, bool)> {
        if self.query.follow && self.watch.is_none() {
            // Before the look, so that nothing is written between the two unnoticed.
            self.watch = watch(&self.dir);
        }
        tokio::task::spawn_blocking(move || self.look_blocking().map(|found| (self, found)))
            .await
            .map_err(io::Error::other)?
    }

    fn look_blocking(&mut self) -> io::Result<bool> {
        if self.position.is_none() {
            self.position = self.begin()?;
        }
        while let Some(position) = &mut self.position {
            // Listed before the read: what a later file proves to be complete is then read to its end.
            let next = segments(&self.dir)?.into_iter().find(|number| *number > position.number);
            let lines = read_chunk(position)?;
            if let Some(lines) = lines {
                let since = self.query.since;
                self.ready.extend(lines.into_iter().filter(|line| since.is_none_or(|since| line.at >= since)));
                return Ok(true);
            }
            let Some(next) = next else { return Ok(false) };
            match File::open(segment_path(&self.dir, next)) {
                Ok(file) => *position = Position { number: next, file, offset: 0 },
                // Rotated away between the listing and here: the next listing shows what is left.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// The first file and the place in it; none if there is no file yet.
    fn begin(&self) -> io::Result<Option<Position>> {
        let mut missing = self.query.tail;
        let mut first = None;
        for number in segments(&self.dir)?.into_iter().rev() {
            let file = match File::open(segment_path(&self.dir, number)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                file => file?,
            };
            let offset = match &mut missing {
                None => 0,
                Some(missing) => last_lines(&file, missing)?,
            };
            first = Some(Position { number, file, offset });
            if missing == Some(0) {
                break;
            }
        }
        Ok(first)
    }

    async fn wait(&mut self) -> io::Result<()> {
        let Some(watch) = &self.watch else {
            tokio::time::sleep(LOOK_AGAIN).await;
            return Ok(());
        };
        if let Ok(readable) = tokio::time::timeout(LOOK_AGAIN, watch.readable()).await {
            readable?;
            let mut buffer = [0; 4096];
            // What happened does not matter, only that something did.
            watch.drain(|fd| Ok(rustix::io::read(fd, &mut buffer)?));
        }
        Ok(())
    }
}

/// The whole lines that follow; none if there is not one.
fn read_chunk(position: &mut Position) -> io::Result<Option<Vec<LogLine>>> {
    let mut chunk = vec![0; CHUNK];
    let count = position.file.read_at(&mut chunk, position.offset)?;
    let chunk = &chunk[..count];
    let end = match chunk.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => end + 1,
        // Longer than any line of ours: not a log, and not to be waited for.
        None if count == CHUNK => count,
        None => return Ok(None),
    };
    position.offset += end as u64;
    Ok(Some(chunk[..end].split(|byte| *byte == b'\n').filter_map(LogLine::parse).collect()))
}

/// Where the last lines of a file begin; takes as many as there are off `missing`.
fn last_lines(file: &File, missing: &mut usize) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut chunk = vec![0; CHUNK];
    // The end of a line that counts is the begin of the one after it, so one more end is looked for than lines.
    let mut ends = 0;
    while end > 0 {
        let begin = end.saturating_sub(CHUNK as u64);
        let length = usize::try_from(end - begin).map_err(io::Error::other)?;
        file.read_exact_at(&mut chunk[..length], begin)?;
        for (index, _) in chunk[..length].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            ends += 1;
            if ends > *missing {
                *missing = 0;
                return Ok(begin + index as u64 + 1);
            }
        }
        end = begin;
    }
    *missing -= ends;
    Ok(0)
}

/// The kernel's notices of changes in the folder; without them the follower only looks more seldom.
fn watch(dir: &std::path::Path) -> Option<WatchedFd> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
    inotify::add_watch(&fd, dir, inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE).ok()?;
    WatchedFd::new(fd).ok()
}

#[cfg(test)]
mod tests;
