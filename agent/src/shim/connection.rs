//! One connection of an agent to the shim: frames in, frames out, never blocking and never growing without bound.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::wire::{MAX_FRAME, Reply, Request, encode};

/// What an agent may leave unread before it is cut off: it comes back and asks for the state.
const MAX_UNSENT: usize = 64 * 1024;

/// Read at once.
const CHUNK: usize = 8 * 1024;

#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, incoming: Vec::new(), outgoing: Vec::new() }
    }

    /// A connection that never blocks, if the peer is the shim's own user or root.
    pub(super) fn accepted(stream: UnixStream) -> io::Result<Option<Self>> {
        let peer = rustix::net::sockopt::socket_peercred(&stream)?.uid;
        stream.set_nonblocking(true)?;
        Ok((peer.is_root() || peer == rustix::process::getuid()).then(|| Self::new(stream)))
    }

    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
        self.stream.set_nonblocking(true)
    }

    /// Blocks for the next frame; none at the end of the stream.
    pub(super) fn wait_for_request(&mut self) -> io::Result<Option<Request>> {
        loop {
            if let Some(request) = self.next_request()? {
                return Ok(Some(request));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// All frames that have come, without blocking; none once the connection has ended.
    pub(super) fn requests(&mut self) -> io::Result<Option<Vec<Request>>> {
        let open = match self.fill() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            filled => filled?,
        };
        let mut requests = Vec::new();
        while let Some(request) = self.next_request()? {
            requests.push(request);
        }
        Ok((open || !requests.is_empty()).then_some(requests))
    }

    /// Queues a frame.
    pub(super) fn send(&mut self, reply: &Reply) -> io::Result<()> {
        self.outgoing.extend_from_slice(&encode(reply));
        self.write()?;
        if self.outgoing.len() > MAX_UNSENT {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the agent does not read"));
        }
        Ok(())
    }

    /// Sends a frame on a connection that may block.
    pub(super) fn send_now(&mut self, reply: &Reply) -> io::Result<()> {
        self.stream.write_all(&encode(reply))
    }

    /// Writes what is queued, as far as the peer takes it.
    pub(super) fn write(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives the peer until the deadline to take what is queued.
    pub(super) fn finish(mut self, deadline: Instant) -> io::Result<()> {
        self.write()?;
        while !self.outgoing.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            poll(&mut [PollFd::new(&self.stream, PollFlags::OUT)], Some(&timespec(left)))?;
            self.write()?;
        }
        Ok(())
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    fn next_request(&mut self) -> io::Result<Option<Request>> {
        let Some(end) = self.incoming.iter().position(|byte| *byte == b'\n') else {
            return if self.incoming.len() > MAX_FRAME {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too large"))
            } else {
                Ok(None)
            };
        };
        let request = serde_json::from_slice(&self.incoming[..end])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.incoming.drain(..=end);
        if self.incoming.is_empty() {
            // After a definition this is much.
            self.incoming = Vec::new();
        }
        Ok(Some(request))
    }

    /// Reads once; false at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        let mut chunk = [0; CHUNK];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(count) => {
                    self.incoming.extend_from_slice(&chunk[..count]);
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// For `poll`, rounded up to a millisecond so that a deadline has passed when it returns.
pub(super) fn timespec(duration: Duration) -> Timespec {
    let up = duration + Duration::from_millis(1);
    Timespec { tv_sec: i64::try_from(up.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(up.subsec_nanos()) }
}
