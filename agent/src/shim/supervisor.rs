//! The shim's loop: one `poll` over the listener, the connections, the signals and the two pipes.
//!
//! The end of a pipe is not the end of the process, and the end of the process is not the end of a pipe: each is
//! watched for itself.

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixListener,
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};

use super::{
    Ready,
    connection::{Connection, timespec},
    ending::{Ending, News},
    log::{Lines, LogWriter},
    record::{Entry, Files, OwnRecord},
    unlink_socket,
    wire::{Exit, LogSettings, Main, PROTOCOL, Reply, Request, Snapshot, StopPolicy},
};
use crate::logs::LogStream;

/// Agents and tools that are connected at once; more are turned away.
const CONNECTIONS: usize = 16;

/// Read from a pipe at once, and at most in one turn of the loop.
const CHUNK: usize = 16 * 1024;
const CHUNKS_A_TURN: usize = 4;

/// After the end, how long output that is still on its way is waited for.
const DRAIN: Duration = Duration::from_secs(1);

/// How long agents may take to read of the end; they read it in the exit file too.
const TELL: Duration = Duration::from_secs(1);

/// One of the two streams.
struct Output {
    pipe: Option<File>,
    lines: Lines,
}

pub(super) struct Supervisor {
    snapshot: Snapshot,
    files: Files,
    dir: OwnedFd,
    record: OwnRecord,
    listener: UnixListener,
    signals: SignalFd,
    connections: Vec<Connection>,
    outputs: [Output; 2],
    log: LogWriter,
    chunk: Vec<u8>,
    ending: Ending,
}

/// What `poll` found.
#[derive(Default)]
struct Woken {
    listener: bool,
    signals: bool,
    outputs: [bool; 2],
    connections: Vec<bool>,
}

impl Supervisor {
    pub(super) fn new(
        ready: Ready,
        main: Main,
        pipes: [OwnedFd; 2],
        stop: StopPolicy,
        logs: LogSettings,
    ) -> io::Result<Self> {
        let Ready { id, files, dir, identity, launch, record, listener, mut agent, signals, umask: _ } = ready;
        // If the agent has gone meanwhile, it is found to be by the first turn of the loop.
        let _gone = agent.send_now(&Reply::Started { main: main.clone() });
        agent.set_nonblocking()?;
        let [stdout, stderr] = pipes;
        let log = LogWriter::new(logs);
        let ending = Ending::new(main.process.pid);
        let snapshot = Snapshot {
            protocol: PROTOCOL,
            id,
            nonce: launch.nonce,
            shim: identity,
            main: Some(main),
            stopping: false,
            stuck: Vec::new(),
            stop,
            logs: Some(log.settings().clone()),
        };
        let outputs = [Output::new(stdout, LogStream::Stdout)?, Output::new(stderr, LogStream::Stderr)?];
        Ok(Self {
            snapshot,
            files,
            dir,
            record,
            listener,
            signals,
            connections: vec![agent],
            outputs,
            log,
            chunk: vec![0; CHUNK],
            ending,
        })
    }

    /// Runs until nothing of the process is left and its exit is written and told.
    pub(super) fn run(mut self) -> io::Result<()> {
        let exit = loop {
            if let Some(exit) = self.ending.settled() {
                break exit.clone();
            }
            self.turn()?;
        };
        self.drain()?;
        self.finish(exit)
    }

    fn turn(&mut self) -> io::Result<()> {
        let ready = self.wait()?;
        let now = Instant::now();
        for (output, _) in self.outputs.iter_mut().zip(ready.outputs).filter(|(_, ready)| *ready) {
            output.read(&mut self.chunk, now, &mut self.log);
        }
        self.store_late_pieces(now);
        self.log.flush();
        if ready.signals {
            self.signalled(now)?;
        }
        if self.ending.due().is_some_and(|due| due <= now) {
            self.ending.look(&self.snapshot.stop, now);
        }
        self.serve(&ready.connections, now);
        if ready.listener {
            self.accept();
        }
        self.tell_news();
        Ok(())
    }

    fn wait(&self) -> io::Result<Woken> {
        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        let open: Vec<usize> = (0..self.outputs.len()).filter(|&index| self.outputs[index].pipe.is_some()).collect();
        fds.extend(
            self.outputs.iter().filter_map(|output| output.pipe.as_ref()).map(|pipe| PollFd::new(pipe, PollFlags::IN)),
        );
        let connections = fds.len();
        fds.extend(self.connections.iter().map(|connection| {
            let wanted = if connection.has_unsent() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            PollFd::from_borrowed_fd(connection.as_fd(), wanted)
        }));
        let timeout = self.next_due().map(|due| timespec(due.saturating_duration_since(Instant::now())));
        match poll(&mut fds, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(Woken::default()),
            polled => polled?,
        };
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let mut outputs = [false; 2];
        for (fd, index) in fds[2..connections].iter().zip(open) {
            outputs[index] = is_ready(fd);
        }
        Ok(Woken {
            listener: is_ready(&fds[0]),
            signals: is_ready(&fds[1]),
            outputs,
            connections: fds[connections..].iter().map(is_ready).collect(),
        })
    }

    fn next_due(&self) -> Option<Instant> {
        self.outputs.iter().filter_map(|output| output.lines.due()).chain(self.ending.due()).min()
    }

    fn store_late_pieces(&mut self, now: Instant) {
        for output in &mut self.outputs {
            if output.lines.due().is_some_and(|due| due <= now) {
                output.lines.flush(&mut self.log);
            }
        }
    }

    fn signalled(&mut self, now: Instant) -> io::Result<()> {
        while let Some(signal) = self.signals.read_signal()? {
            match i32::try_from(signal.ssi_signo) {
                // A person or the machine's shutdown ends the shim: its process ends the orderly way.
                Ok(libc::SIGTERM) => self.ending.stop(&self.snapshot.stop, now),
                _ => self.ending.look(&self.snapshot.stop, now),
            }
        }
        Ok(())
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            // A peer that cannot be served only loses its connection.
            if let Ok(Some(connection)) = Connection::accepted(stream)
                && self.connections.len() < CONNECTIONS
            {
                self.connections.push(connection);
            }
        }
    }

    fn serve(&mut self, ready: &[bool], now: Instant) {
        let connections = std::mem::take(&mut self.connections);
        for (index, mut connection) in connections.into_iter().enumerate() {
            // A broken connection is dropped: the agent connects again.
            if !ready.get(index).copied().unwrap_or_default()
                || self.serve_one(&mut connection, now).unwrap_or_default()
            {
                self.connections.push(connection);
            }
        }
    }

    /// False once the connection has ended.
    fn serve_one(&mut self, connection: &mut Connection, now: Instant) -> io::Result<bool> {
        connection.write()?;
        let Some(requests) = connection.requests()? else { return Ok(false) };
        for request in requests {
            if let Some(reply) = self.carry_out(request, now) {
                connection.send(&reply)?;
            }
        }
        Ok(true)
    }

    fn carry_out(&mut self, request: Request, now: Instant) -> Option<Reply> {
        let policy = self.snapshot.stop;
        let id = match request {
            Request::Hello { .. } => return Some(Reply::State(Box::new(self.state()))),
            Request::Signal { id, signal } => match self.ending.signal_main(signal) {
                Ok(()) => id,
                Err(error) => return Some(Reply::Refused { id, reason: error.to_string() }),
            },
            Request::Stop { id } => {
                self.ending.stop(&policy, now);
                id
            }
            Request::Kill { id } => {
                self.ending.kill(&policy, now);
                id
            }
            Request::Settings { id, stop, logs } => {
                self.change_settings(stop, &logs);
                id
            }
            Request::Run { .. } | Request::Unknown => return None,
        };
        Some(Reply::Done { id })
    }

    fn change_settings(&mut self, stop: StopPolicy, logs: &LogSettings) {
        self.snapshot.stop = stop;
        self.log.set_bound(logs);
    }

    fn state(&self) -> Snapshot {
        Snapshot {
            stopping: self.ending.has_begun(),
            stuck: self.ending.stuck().to_vec(),
            logs: Some(self.log.settings().clone()),
            ..self.snapshot.clone()
        }
    }

    fn tell_news(&mut self) {
        for news in self.ending.take_news() {
            match news {
                News::Stopping => self.tell(&Reply::Stopping { stuck: self.ending.stuck().to_vec() }),
                News::MainEnded { exit, left } => {
                    // Only for the case that the shim itself dies before the rest has ended: not worth dying for.
                    let _unnoted = self.record.append(&Entry::MainEnded { exit });
                    self.note_left_behind(left);
                }
            }
        }
    }

    fn note_left_behind(&mut self, left: usize) {
        if left > 0 {
            let note = format!(
                "the main process has ended and left {left} running; they are ended too: programs that put themselves in the background are not supported"
            );
            self.log.line(Timestamp::now(), LogStream::Orion, note.as_bytes());
            self.log.flush();
        }
    }

    fn tell(&mut self, reply: &Reply) {
        self.connections.retain_mut(|connection| connection.send(reply).is_ok());
    }

    /// Nobody of the process's own holds the pipes any more; what is in them is read, and a stranger that holds them is
    /// not waited for.
    fn drain(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + DRAIN;
        loop {
            let now = Instant::now();
            for output in &mut self.outputs {
                output.read(&mut self.chunk, now, &mut self.log);
            }
            self.log.flush();
            let open: Vec<&File> = self.outputs.iter().filter_map(|output| output.pipe.as_ref()).collect();
            if open.is_empty() || now >= deadline {
                break;
            }
            let mut fds: Vec<PollFd<'_>> = open.into_iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
            match poll(&mut fds, Some(&timespec(deadline.saturating_duration_since(now)))) {
                Err(rustix::io::Errno::INTR) => {}
                polled => drop(polled?),
            }
        }
        for output in &mut self.outputs {
            output.lines.flush(&mut self.log);
        }
        self.log.flush();
        Ok(())
    }

    /// The exit is on disk before it is told, and the socket is gone before the lock is.
    fn finish(mut self, exit: Exit) -> io::Result<()> {
        let started = self.snapshot.main.as_ref().map(|main| main.at);
        let exit = Exit { started, dropped_lines: self.log.dropped(), ..exit };
        let written = self.record.write_exit(&exit);
        unlink_socket(&self.dir, &self.files);
        self.tell(&Reply::Exited { exit });
        let deadline = Instant::now() + TELL;
        for connection in std::mem::take(&mut self.connections) {
            // An agent that does not read it here reads it in the exit file.
            let _read_later = connection.finish(deadline);
        }
        written
    }
}

impl Output {
    fn new(pipe: OwnedFd, stream: LogStream) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self { pipe: Some(File::from(pipe)), lines: Lines::new(stream) })
    }

    /// Takes what is in the pipe, up to a turn's share.
    fn read(&mut self, chunk: &mut [u8], now: Instant, log: &mut LogWriter) {
        for _ in 0..CHUNKS_A_TURN {
            let Some(pipe) = &mut self.pipe else { return };
            match pipe.read(chunk) {
                Ok(count) if count > 0 => self.lines.feed(&chunk[..count], now, log),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Its end, or an error, which a pipe does not have: nothing more will come.
                Ok(_) | Err(_) => {
                    self.pipe = None;
                    self.lines.flush(log);
                }
            }
        }
    }
}
