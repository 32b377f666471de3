//! What waits to be sent to one agent: bounded, and what matters most goes first.
//!
//! ```text
//! session --push--> [ pings | commands | answers | logs ] --next--> writer --> socket
//! ```
//!
//! The session asks for room before it makes a frame; what finds none is not queued but worked out again later from
//! what is wished then. So a slow agent costs a bounded queue and never gets a stale backlog.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Which queue a frame waits in; earlier ones go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// What the agent is to do.
    Command,
    /// Answers to what it said.
    Answer,
    /// Requests for logs.
    Log,
}

/// What the writer is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    Ping,
    Text(String),
    /// Nothing is left: what was written so far should reach the socket.
    Flush,
}

/// Room that is kept free beyond the frames at hand: the largest frame, a definition with what surrounds it.
const LARGEST_FRAME: usize = 512 * 1024;

/// The queue between a session and its socket. Clones share it.
#[derive(Clone)]
pub(super) struct Outbox {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// For the writer: there is something to send.
    filled: Notify,
    /// For the session: there is room again, or all is sent.
    drained: Arc<Notify>,
    max_frames: usize,
    max_bytes: usize,
}

#[derive(Default)]
struct Queue {
    commands: VecDeque<String>,
    answers: VecDeque<String>,
    logs: VecDeque<String>,
    bytes: usize,
    ping: bool,
    /// Frames have been handed out since the last flush.
    unflushed: bool,
    /// The session found no room and waits for it.
    starved: bool,
}

impl Outbox {
    /// An empty queue of at most so many frames and bytes; `drained` is told when there is room again.
    pub(super) fn new(max_frames: usize, max_bytes: usize, drained: Arc<Notify>) -> Self {
        let shared = Shared { queue: Mutex::default(), filled: Notify::new(), drained, max_frames, max_bytes };
        Self { shared: Arc::new(shared) }
    }

    /// Whether one more frame may be pushed; if not, `drained` is notified when it may.
    pub(super) fn has_room(&self) -> bool {
        let mut queue = self.lock();
        let room = queue.frames() < self.shared.max_frames && queue.bytes + LARGEST_FRAME <= self.shared.max_bytes;
        queue.starved |= !room;
        room
    }

    /// Queues a frame, for which [`has_room`](Self::has_room) was asked.
    pub(super) fn push(&self, lane: Lane, text: String) {
        let mut queue = self.lock();
        queue.bytes += text.len();
        queue.lane(lane).push_back(text);
        self.shared.filled.notify_one();
    }

    /// Queues a ping; one at most.
    pub(super) fn ping(&self) {
        self.lock().ping = true;
        self.shared.filled.notify_one();
    }

    /// Drops the commands that have not been sent; they will be worked out again.
    pub(super) fn drop_commands(&self) {
        let mut queue = self.lock();
        queue.bytes -= queue.commands.drain(..).map(|text| text.len()).sum::<usize>();
    }

    /// Whether everything pushed so far has been handed to the socket.
    pub(super) fn is_flushed(&self) -> bool {
        let queue = self.lock();
        queue.frames() == 0 && !queue.unflushed
    }

    /// The next thing for the writer, when there is one.
    ///
    /// # Cancel safety
    /// May be dropped at any point; nothing is lost.
    pub(super) async fn next(&self) -> Outgoing {
        loop {
            if let Some(outgoing) = self.take() {
                return outgoing;
            }
            self.shared.filled.notified().await;
        }
    }

    /// What was handed out has reached the socket.
    pub(super) fn flushed(&self) {
        self.lock().unflushed = false;
        self.shared.drained.notify_one();
    }

    fn take(&self) -> Option<Outgoing> {
        let mut queue = self.lock();
        if std::mem::take(&mut queue.ping) {
            queue.unflushed = true;
            return Some(Outgoing::Ping);
        }
        let Some(text) = queue.pop() else {
            return queue.unflushed.then_some(Outgoing::Flush);
        };
        queue.bytes -= text.len();
        queue.unflushed = true;
        if std::mem::take(&mut queue.starved) {
            self.shared.drained.notify_one();
        }
        Some(Outgoing::Text(text))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn frames(&self) -> usize {
        self.commands.len() + self.answers.len() + self.logs.len()
    }

    fn lane(&mut self, lane: Lane) -> &mut VecDeque<String> {
        match lane {
            Lane::Command => &mut self.commands,
            Lane::Answer => &mut self.answers,
            Lane::Log => &mut self.logs,
        }
    }

    fn pop(&mut self) -> Option<String> {
        let Self { commands, answers, logs, .. } = self;
        commands.pop_front().or_else(|| answers.pop_front()).or_else(|| logs.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(frames: usize, bytes: usize) -> Outbox {
        Outbox::new(frames, bytes, Arc::new(Notify::new()))
    }

    fn texts(outbox: &Outbox) -> Vec<String> {
        std::iter::from_fn(|| match outbox.take()? {
            Outgoing::Text(text) => Some(text),
            Outgoing::Ping => Some("ping".into()),
            Outgoing::Flush => None,
        })
        .collect()
    }

    #[test]
    fn pings_and_commands_go_before_answers_and_those_before_logs() {
        let outbox = outbox(10, 1 << 20);
        outbox.push(Lane::Log, "log".into());
        outbox.push(Lane::Answer, "answer".into());
        outbox.push(Lane::Command, "one".into());
        outbox.push(Lane::Command, "two".into());
        outbox.ping();
        assert_eq!(texts(&outbox), ["ping", "one", "two", "answer", "log"]);
    }

    #[test]
    fn there_is_room_for_a_number_of_frames_and_of_bytes() {
        let by_frames = outbox(2, 1 << 30);
        by_frames.push(Lane::Answer, String::new());
        assert!(by_frames.has_room());
        by_frames.push(Lane::Log, String::new());
        assert!(!by_frames.has_room());

        let by_bytes = outbox(1000, LARGEST_FRAME + 10);
        by_bytes.push(Lane::Command, "0123456789".into());
        assert!(by_bytes.has_room());
        by_bytes.push(Lane::Command, "x".into());
        assert!(!by_bytes.has_room());
        by_bytes.drop_commands();
        assert!(by_bytes.has_room(), "what is dropped takes no room");
    }

    #[tokio::test]
    async fn a_session_that_found_no_room_is_told_when_there_is_some() {
        let drained = Arc::new(Notify::new());
        let outbox = Outbox::new(1, 1 << 30, drained.clone());
        outbox.push(Lane::Command, "x".into());
        assert!(!outbox.has_room());
        assert_eq!(outbox.next().await, Outgoing::Text("x".into()));
        drained.notified().await;
        assert!(outbox.has_room());
    }

    #[tokio::test]
    async fn all_is_sent_only_once_the_socket_has_it() {
        let outbox = outbox(10, 1 << 30);
        outbox.push(Lane::Command, "x".into());
        assert_eq!(outbox.next().await, Outgoing::Text("x".into()));
        assert!(!outbox.is_flushed());
        assert_eq!(outbox.next().await, Outgoing::Flush);
        outbox.flushed();
        assert!(outbox.is_flushed());
    }
}
