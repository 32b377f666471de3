//! One agent's socket, from its first frame to its end.
//!
//! ```text
//! upgrade ─► hello (10 s) ─► admitted by the register ─► converse ─► close, with a reason
//!                                                          │
//!   socket ──► frames ──► dialect ──► outbox ──► writer ──►│ socket
//!                           ▲ │                            │
//!        changes, outcomes ─┘ └─► reports ──► one commit at a time
//! ```
//!
//! Everything of a session runs in one task; what it waits for are the socket, its commit, a poke and a few timers.

use std::{future::pending, sync::Arc, time::Duration};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures::{
    SinkExt, StreamExt,
    future::BoxFuture,
    stream::{SplitSink, SplitStream},
};
use orion_model::{ClientError, Committed};
use orion_types::protocol::{FromAgent, Hello, PROTOCOL, Welcome};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_tungstenite::tungstenite;

use super::{
    Shared,
    dialect::Dialect,
    frame::{self, Close, Frame, GOING_AWAY, TOO_LARGE, UNSUPPORTED_DATA},
    hello::{check, name_original},
    line::Line,
    original::Original,
    outbox::{Outbox, Outgoing},
    protocol1::Protocol1,
    reports::Reports,
};

/// How long the end of a socket may take: ours to send, the agent's to answer.
const LINGER: Duration = Duration::from_secs(1);

/// Why a session ends.
enum End {
    /// The agent has closed, or is gone.
    Theirs,
    /// We close.
    Ours(Close),
    /// The agent sent more than is read; the rest of that cannot be read past.
    TooLarge,
}

/// Serves one agent until its socket ends.
pub(super) async fn serve(socket: WebSocket, shared: Arc<Shared>) {
    let (mut sink, mut stream) = socket.split();
    let end = match first_frame(&mut stream, &shared).await {
        Ok(hello) => greet(&mut sink, &mut stream, *hello, &shared).await,
        Err(end) => end,
    };
    close(sink, stream, end).await;
}

async fn first_frame(stream: &mut SplitStream<WebSocket>, shared: &Shared) -> Result<Box<Hello>, End> {
    let patience = shared.settings.hello_timeout;
    let read = async {
        loop {
            if let Some(text) = text(stream.next().await)? {
                return frame::read_hello(&text).map_err(End::Ours);
            }
        }
    };
    let late = || End::Ours(Close::policy(format!("no hello within {patience:?}")));
    tokio::select! {
        biased;
        () = shared.closing.cancelled() => Err(going_away()),
        hello = timeout(patience, read) => {
            let mut hello = hello.map_err(|_| late())??;
            name_original(&mut hello);
            check(&hello).map_err(End::Ours)?;
            Ok(hello)
        }
    }
}

async fn greet(
    sink: &mut SplitSink<WebSocket, Message>,
    stream: &mut SplitStream<WebSocket>,
    hello: Hello,
    shared: &Shared,
) -> End {
    let now = Instant::now();
    let session = shared.client.randomness().suffix(16);
    let line = Arc::new(Line::new(session, &hello, shared.settings.bounds(), now));
    let stored = shared.world.node(&line.node).object;
    if let Err(refusal) = shared.register.admit(line.clone(), &hello, stored.as_deref(), now) {
        tracing::warn!(node = line.node, reason = refusal.reason, "an agent is refused");
        return End::Ours(refusal);
    }
    tracing::info!(node = line.node, session = line.session, original = line.agent.is_original(), "an agent connects");
    shared.live.hello(&line.node, shared.client.clock().now());
    let view = shared.world.of_node(line.node.as_str());
    let reports = Reports::new(shared.client.clone(), view.clone());
    let clock = shared.client.clock().clone();
    let end = if line.agent.is_original() {
        let dialect = Original::new(line.clone(), view, reports, clock);
        with_writer(sink, stream, dialect, &line, shared).await
    } else {
        let mut dialect = Protocol1::new(line.clone(), view, reports, clock, shared.settings.resend_after);
        dialect.begin(hello, welcome(&line, shared), now);
        with_writer(sink, stream, dialect, &line, shared).await
    };
    shared.register.leave(&line, Instant::now());
    line.streams.close();
    tracing::info!(node = line.node, session = line.session, "an agent's session ends");
    end
}

fn welcome(line: &Line, shared: &Shared) -> Welcome {
    let settings = &shared.settings;
    Welcome {
        protocol: PROTOCOL,
        session_id: line.session.clone(),
        cluster_id: settings.cluster_id.clone(),
        store_epoch: settings.store_epoch,
        heartbeat_interval_ms: u64::try_from(settings.heartbeat.as_millis()).unwrap_or(u64::MAX),
        server_time: shared.client.clock().now().as_millis(),
    }
}

async fn with_writer(
    sink: &mut SplitSink<WebSocket, Message>,
    stream: &mut SplitStream<WebSocket>,
    dialect: impl Dialect,
    line: &Arc<Line>,
    shared: &Shared,
) -> End {
    tokio::select! {
        biased;
        end = Session { dialect, line, shared, unanswered_pings: 0 }.converse(stream) => end,
        () = write(sink, &line.outbox) => End::Theirs,
    }
}

/// Sends what the outbox holds; ends only when the socket does.
async fn write(sink: &mut SplitSink<WebSocket, Message>, outbox: &Outbox) {
    loop {
        let sent = match outbox.next().await {
            Outgoing::Text(text) => sink.feed(Message::text(text)).await,
            Outgoing::Ping => sink.feed(Message::Ping(Vec::new().into())).await,
            Outgoing::Flush => sink.flush().await.map(|()| outbox.flushed()),
        };
        if sent.is_err() {
            return;
        }
    }
}

type Commit = BoxFuture<'static, Result<Committed, ClientError>>;

struct Session<'a, D> {
    dialect: D,
    line: &'a Arc<Line>,
    shared: &'a Shared,
    unanswered_pings: u32,
}

impl<D: Dialect> Session<'_, D> {
    async fn converse(mut self, stream: &mut SplitStream<WebSocket>) -> End {
        let every = self.shared.settings.ping_interval;
        let mut pings = interval_at(Instant::now() + every, every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut commit: Option<Commit> = None;
        loop {
            let now = Instant::now();
            self.settle(&mut commit, now);
            let listens = self.dialect.listens();
            let wake_at = self.wake_at(commit.is_some());
            let outcome = tokio::select! {
                biased;
                () = self.shared.closing.cancelled() => Err(going_away()),
                outcome = finished(&mut commit) => {
                    commit = None;
                    self.committed(outcome);
                    Ok(())
                }
                () = self.line.poke.notified() => self.poked(),
                _ = pings.tick() => self.ping(),
                () = sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => Ok(()),
                message = stream.next(), if listens => self.message(message),
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    /// Says what there is to say and begins the next commit, until neither brings about more of the other.
    fn settle(&mut self, commit: &mut Option<Commit>, now: Instant) {
        loop {
            self.dialect.speak(now);
            if commit.is_some() {
                return;
            }
            let (next, settled) = self.dialect.reports().next_commit(now);
            let client = self.shared.client.clone();
            *commit = next.map(|next| Box::pin(async move { client.commit(next).await }) as Commit);
            if settled.is_empty() {
                return;
            }
            settled.into_iter().for_each(|settled| self.dialect.settled(settled));
        }
    }

    fn committed(&mut self, outcome: Result<Committed, ClientError>) {
        let settled = self.dialect.reports().committed(outcome, Instant::now());
        settled.into_iter().for_each(|settled| self.dialect.settled(settled));
    }

    fn wake_at(&mut self, committing: bool) -> Option<Instant> {
        let retry = self.dialect.reports().retry_at().filter(|_| !committing);
        [retry, self.dialect.wake_at()].into_iter().flatten().min()
    }

    fn poked(&self) -> Result<(), End> {
        self.line.eviction().map_or(Ok(()), |close| Err(End::Ours(close.clone())))
    }

    fn ping(&mut self) -> Result<(), End> {
        if self.unanswered_pings >= 2 {
            return Err(End::Ours(Close::policy("two pings were not answered")));
        }
        self.unanswered_pings += 1;
        self.line.outbox.ping();
        // Now and then is often enough to let go of what the cache shows by itself.
        self.dialect.reports().prune();
        Ok(())
    }

    fn message(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        if matches!(message, Some(Ok(Message::Pong(_)))) {
            self.unanswered_pings = 0;
        }
        match text(message)? {
            Some(text) => self.frame(&text),
            None => Ok(()),
        }
    }

    fn frame(&mut self, text: &str) -> Result<(), End> {
        if self.line.hear(Instant::now()) {
            self.shared.register.wake(&self.line.node);
        }
        match frame::read(text).map_err(End::Ours)? {
            Frame::Known(FromAgent::Heartbeat(heartbeat)) => {
                self.shared.live.beat(&self.line.node, self.shared.client.clock().now(), heartbeat);
            }
            Frame::Known(FromAgent::LogChunk(chunk)) => self.line.streams.chunk(chunk),
            Frame::Known(FromAgent::LogEnd(end)) => self.line.streams.end(end),
            Frame::Known(frame) => self.dialect.hear(frame),
            Frame::Unknown(kind) => tracing::debug!(node = self.line.node, kind, "a frame of an unknown type"),
            // An original agent is nobody's to mend, and what it says beside its heartbeats is a courtesy.
            Frame::Malformed(problem) if self.line.agent.is_original() => {
                tracing::debug!(node = self.line.node, problem, "a frame that does not read");
            }
            Frame::Malformed(problem) => return Err(End::Ours(Close::policy(problem))),
        }
        Ok(())
    }
}

/// The outcome of the commit under way; never, where there is none.
async fn finished(commit: &mut Option<Commit>) -> Result<Committed, ClientError> {
    match commit {
        Some(commit) => commit.await,
        None => pending().await,
    }
}

/// The text of a message; `None` for one that has none and ends nothing.
fn text(message: Option<Result<Message, axum::Error>>) -> Result<Option<axum::extract::ws::Utf8Bytes>, End> {
    match message {
        Some(Ok(Message::Text(text))) => Ok(Some(text)),
        Some(Ok(Message::Binary(_))) => {
            Err(End::Ours(Close::new(UNSUPPORTED_DATA, "frames are text, this one is binary")))
        }
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
        Some(Ok(Message::Close(_))) | None => Err(End::Theirs),
        Some(Err(error)) => Err(broken(error)),
    }
}

fn broken(error: axum::Error) -> End {
    let error = error.into_inner();
    match error.downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => End::TooLarge,
        Some(tungstenite::Error::Utf8(_)) => End::Ours(Close::new(1007, "a text frame is not UTF-8")),
        Some(tungstenite::Error::Protocol(error)) => End::Ours(Close::protocol_error(error.to_string())),
        _ => End::Theirs,
    }
}

fn going_away() -> End {
    End::Ours(Close::new(GOING_AWAY, "the server is shutting down"))
}

/// Says why and gives the agent a moment to hear it.
async fn close(mut sink: SplitSink<WebSocket, Message>, mut stream: SplitStream<WebSocket>, end: End) {
    let (close, readable) = match end {
        End::Theirs => return,
        End::Ours(close) => (close, true),
        End::TooLarge => {
            let limit = orion_types::protocol::MAX_FRAME;
            (Close::new(TOO_LARGE, format!("a frame is larger than {limit} bytes")), false)
        }
    };
    let frame = CloseFrame { code: close.code, reason: close.reason.into() };
    if !matches!(timeout(LINGER, sink.send(Message::Close(Some(frame)))).await, Ok(Ok(()))) {
        return;
    }
    // A socket dropped with unread bytes is reset, and a reset may overtake the reason. What is too large is not
    // read, so all that is left is to wait.
    let answered = async {
        if !readable {
            pending::<()>().await;
        }
        while let Some(Ok(_)) = stream.next().await {}
    };
    // The agent had its time; whether it used it does not matter.
    drop(timeout(LINGER, answered).await);
}
