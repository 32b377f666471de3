//! Log streams: from an agent, over its socket, to whoever asks over HTTP.
//!
//! ```text
//! GET …/log ──open──► logs ──► agent
//!    body ◄── pipe ◄── logChunk ──┘ │
//!    read ── logCredit ────────────►│     dropped ── logs {cancel} ──► agent
//! ```
//!
//! The agent may send a window of bytes beyond what the reader has read. So a slow reader holds back his stream at the
//! agent, and nothing else on the socket.

mod pipe;
pub(super) mod route;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orion_types::protocol::{LogChunk, LogCredit, LogEnd, LogRequest, ToAgent};
use tokio::sync::Notify;

use self::pipe::Pipe;
pub(super) use self::pipe::{LogReader, Next};

/// Streams of one agent at a time.
const MAX_STREAMS: usize = 64;

/// The log streams of one session.
pub(super) struct Streams {
    streams: Mutex<Open>,
    poke: Arc<Notify>,
}

#[derive(Default)]
struct Open {
    streams: BTreeMap<String, Stream>,
    ended: bool,
}

struct Stream {
    pipe: Arc<Pipe>,
    /// What the agent is asked; taken when it has been.
    request: Option<LogRequest>,
}

/// Why a stream could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenError {
    TooMany,
    Ended,
}

impl Streams {
    pub(super) fn new(poke: Arc<Notify>) -> Self {
        Self { streams: Mutex::default(), poke }
    }

    /// Opens a stream; its request is sent by the session.
    ///
    /// # Errors
    /// When there are too many of this agent, or its session has ended.
    pub(super) fn open(&self, mut request: LogRequest) -> Result<LogReader, OpenError> {
        let mut open = self.lock();
        if open.ended {
            return Err(OpenError::Ended);
        }
        if open.streams.len() >= MAX_STREAMS {
            return Err(OpenError::TooMany);
        }
        request.credit = pipe::WINDOW;
        let pipe = Arc::new(Pipe::default());
        let stream = Stream { pipe: pipe.clone(), request: Some(request.clone()) };
        open.streams.insert(request.id, stream);
        self.poke.notify_one();
        Ok(LogReader::new(pipe, self.poke.clone()))
    }

    /// Takes a piece from the agent. One that was not asked for, or no longer, is dropped.
    pub(super) fn chunk(&self, chunk: LogChunk) {
        if let Some(stream) = self.lock().streams.get(&chunk.id) {
            stream.pipe.write(chunk.data);
        }
    }

    /// Takes the end of a stream from the agent.
    pub(super) fn end(&self, end: LogEnd) {
        if let Some(stream) = self.lock().streams.remove(&end.id) {
            stream.pipe.end(end.error.map_or(Ok(()), Err));
        }
    }

    /// The next thing to tell the agent.
    pub(super) fn next(&self) -> Option<ToAgent> {
        let mut open = self.lock();
        let (id, frame) = open.streams.iter_mut().find_map(|(id, stream)| Some((id.clone(), stream.next(id)?)))?;
        if matches!(&frame, ToAgent::Logs(request) if request.cancel) {
            open.streams.remove(&id);
        }
        Some(frame)
    }

    /// Ends all streams: the session has ended.
    pub(super) fn close(&self) {
        let mut open = self.lock();
        open.ended = true;
        for stream in std::mem::take(&mut open.streams).into_values() {
            stream.pipe.end(Err("the agent's connection has ended".into()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    fn next(&mut self, id: &str) -> Option<ToAgent> {
        if self.pipe.is_abandoned() {
            return Some(ToAgent::Logs(LogRequest { id: id.to_owned(), cancel: true, ..LogRequest::default() }));
        }
        if let Some(request) = self.request.take() {
            return Some(ToAgent::Logs(request));
        }
        let bytes = self.pipe.credit()?;
        Some(ToAgent::LogCredit(LogCredit { id: id.to_owned(), bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams() -> Streams {
        Streams::new(Arc::new(Notify::new()))
    }

    fn request(id: &str) -> LogRequest {
        LogRequest { id: id.into(), ..LogRequest::default() }
    }

    fn chunk(id: &str, data: String) -> LogChunk {
        LogChunk { id: id.into(), data }
    }

    #[tokio::test]
    async fn credit_is_given_for_what_was_read_and_not_before() {
        let streams = streams();
        let mut reader = streams.open(request("a")).expect("opened");
        assert!(matches!(streams.next(), Some(ToAgent::Logs(asked)) if asked.credit == pipe::WINDOW));
        let half = "x".repeat(usize::try_from(pipe::WINDOW).expect("small") / 2);
        streams.chunk(chunk("a", half.clone()));
        assert_eq!(streams.next(), None, "nothing was read yet");
        assert_eq!(reader.next().await, Next::Lines(half.clone().into()));
        assert!(matches!(streams.next(), Some(ToAgent::LogCredit(credit)) if credit.bytes == half.len() as u64));
        assert_eq!(streams.next(), None);
    }

    #[tokio::test]
    async fn an_agent_that_sends_more_than_it_may_ends_its_stream() {
        let streams = streams();
        let mut reader = streams.open(request("a")).expect("opened");
        streams.chunk(chunk("a", "x".repeat(usize::try_from(pipe::WINDOW).expect("small") + 1)));
        assert!(matches!(reader.next().await, Next::Failed(reason) if reason.contains("window")));
    }

    #[tokio::test]
    async fn a_reader_that_goes_cancels_his_stream() {
        let streams = streams();
        let reader = streams.open(request("a")).expect("opened");
        assert!(streams.next().is_some());
        drop(reader);
        assert!(matches!(streams.next(), Some(ToAgent::Logs(asked)) if asked.cancel && asked.id == "a"));
        assert_eq!(streams.next(), None, "it is gone");
    }

    #[tokio::test]
    async fn what_was_sent_before_the_end_is_read_before_it() {
        let streams = streams();
        let mut reader = streams.open(request("a")).expect("opened");
        streams.chunk(chunk("a", "one\n".into()));
        streams.chunk(chunk("a", "two\n".into()));
        streams.end(LogEnd { id: "a".into(), error: None });
        assert_eq!(reader.next().await, Next::Lines("one\ntwo\n".into()));
        assert_eq!(reader.next().await, Next::End);
    }

    #[tokio::test]
    async fn streams_are_bounded_and_end_with_the_session() {
        let streams = streams();
        let mut readers: Vec<_> =
            (0..MAX_STREAMS).map(|n| streams.open(request(&n.to_string())).expect("opened")).collect();
        assert_eq!(streams.open(request("more")).err(), Some(OpenError::TooMany));
        streams.close();
        assert!(matches!(readers[0].next().await, Next::Failed(_)));
        assert_eq!(streams.open(request("late")).err(), Some(OpenError::Ended));
    }
}
