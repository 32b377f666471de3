//! A process of the binary that runs until it is told otherwise, with what it says.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::waiting::{SOON, eventually};

/// Lines that a failed test shows of each daemon.
const LAST_LINES: usize = 200;

/// How long an orderly end may take.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// A running server, agent or `up`. Dropped while it runs, it is killed.
pub(crate) struct Daemon {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    stdout: Lines,
    stderr: Lines,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn read(from: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let kept = lines.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                kept.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                line.clear();
            }
        });
        lines
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Daemon {
    pub(super) fn start(name: &str, command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the binary starts");
        let stdout = Lines::read(child.stdout.take().expect("is piped"));
        let stderr = Lines::read(child.stderr.take().expect("is piped"));
        Self { name: name.to_owned(), child, ended: None, stdout, stderr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.all()
    }

    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr.all()
    }

    /// Waits for a line on stdout.
    #[track_caller]
    pub(crate) fn says<T>(&mut self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        let name = self.name.clone();
        eventually(&format!("{name} says {what}"), SOON, || {
            let ended = self.try_wait();
            let said = self.stdout();
            if let Some(found) = said.iter().find_map(|line| pick(line)) {
                return Ok(found);
            }
            let said = format!("{said:#?} {:#?}", self.stderr());
            assert!(ended.is_none(), "{name} ended instead of saying {what}: {ended:?} {said}");
            Err(said)
        })
    }

    /// Sends it a signal.
    pub(crate) fn signal(&mut self, signal: Signal) {
        // Its parent has not reaped it, so the pid is its own.
        if self.try_wait().is_none() {
            let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a pid");
            kill_process(pid, signal).expect("a child can be signalled");
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ends();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> ExitStatus {
        let name = self.name.clone();
        eventually(&format!("{name} ends"), ENDS_WITHIN, || self.try_wait().ok_or_else(|| "it runs".to_owned()))
    }

    fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        self.ended
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.try_wait().is_none() {
            // It is ours and runs; if it ends by itself in this moment, so be it.
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if thread::panicking() {
            for (stream, lines) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
                let last = lines.len().saturating_sub(LAST_LINES);
                eprintln!("--- {} {stream}\n{}", self.name, lines[last..].join("\n"));
            }
        }
    }
}
