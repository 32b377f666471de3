//! One log stream's bytes between the session that receives them and the reader.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

/// Bytes the agent may send beyond what was read.
pub(super) const WINDOW: u64 = 256 * 1024;

/// Credit is given back in pieces of at least this, not line by line.
const CREDIT: u64 = WINDOW / 2;

#[derive(Default)]
pub(super) struct Pipe {
    state: Mutex<State>,
    readable: Notify,
}

#[derive(Default)]
struct State {
    data: BytesMut,
    /// Bytes sent and not credited.
    spent: u64,
    /// Bytes read and not credited.
    read: u64,
    end: Option<Result<(), String>>,
    abandoned: bool,
}

/// What a reader gets next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Next {
    /// Lines.
    Lines(Bytes),
    /// The log has ended.
    End,
    /// It could not be read to its end.
    Failed(String),
}

impl Pipe {
    pub(super) fn write(&self, data: String) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        state.spent += data.len() as u64;
        if state.spent > WINDOW {
            state.end = Some(Err("the agent has sent more than its window".into()));
        } else {
            state.data.extend_from_slice(data.as_bytes());
        }
        self.readable.notify_one();
    }

    pub(super) fn end(&self, how: Result<(), String>) {
        self.lock().end.get_or_insert(how);
        self.readable.notify_one();
    }

    /// Bytes the agent may send more, once that is worth a frame.
    pub(super) fn credit(&self) -> Option<u64> {
        let mut state = self.lock();
        if state.read < CREDIT || state.end.is_some() {
            return None;
        }
        let read = std::mem::take(&mut state.read);
        state.spent -= read;
        Some(read)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// What can be read now, and whether credit has become due by that.
    fn take(&self) -> Option<(Next, bool)> {
        let mut state = self.lock();
        if !state.data.is_empty() {
            let lines = state.data.split().freeze();
            state.read += lines.len() as u64;
            return Some((Next::Lines(lines), state.read >= CREDIT));
        }
        let next = match state.end.clone()? {
            Ok(()) => Next::End,
            Err(reason) => Next::Failed(reason),
        };
        Some((next, false))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reader's end. Dropping it ends the stream.
pub(in super::super) struct LogReader {
    pipe: Arc<Pipe>,
    poke: Arc<Notify>,
}

impl LogReader {
    pub(super) fn new(pipe: Arc<Pipe>, poke: Arc<Notify>) -> Self {
        Self { pipe, poke }
    }

    /// What comes next.
    ///
    /// # Cancel safety
    /// May be dropped at any point; nothing is lost.
    pub(in super::super) async fn next(&mut self) -> Next {
        loop {
            if let Some((next, credit_is_due)) = self.pipe.take() {
                if credit_is_due {
                    self.poke.notify_one();
                }
                return next;
            }
            self.pipe.readable.notified().await;
        }
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        self.pipe.lock().abandoned = true;
        self.poke.notify_one();
    }
}
