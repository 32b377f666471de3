//! One connection to a server: hello, then frames both ways until it ends.
//!
//! What is sent: answers and reports first, then heartbeats, and log chunks behind everything else.

use std::{io, net::IpAddr, time::Duration};

use futures::{SinkExt, StreamExt};
use orion_types::protocol::{FromAgent, Heartbeat, Hello, MAX_FRAME, ToAgent};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        http::{HeaderValue, header::AUTHORIZATION},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    host::HostMeter,
    log_streams::{CHUNKS_WAITING, LogStreams},
    outbox::Outbox,
    supervisor::Supervisor,
};

/// How long a connection may take to stand, and the welcome to come.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A server that has been silent for so long is gone: it pings every 15 s.
const SILENT_SERVER: Duration = Duration::from_secs(45);
/// How long a frame may take to leave.
const SEND_WITHIN: Duration = Duration::from_secs(20);
/// Between heartbeats until the server says otherwise.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The close code by which a server says that a newer start of this agent has taken over.
const SUPERSEDED: u16 = 4409;
/// How long an ending agent waits for its last reports to be committed.
const LAST_REPORTS: Duration = Duration::from_secs(3);

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The agent is ending.
    Shutdown,
    /// A newer start of this agent holds the server.
    Superseded(String),
    /// Another server holds the agents.
    Redirected(String),
    /// The connection broke or was closed.
    Broken(String),
}

/// A connection that stands.
pub(crate) struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Connection {
    /// Connects to a `ws://` address.
    pub(crate) async fn open(url: &str, token: Option<&str>) -> Result<Self, String> {
        let mut request = url.into_client_request().map_err(|error| error.to_string())?;
        if let Some(token) = token {
            let bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| error.to_string())?;
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let config = WebSocketConfig::default().max_message_size(Some(MAX_FRAME)).max_frame_size(Some(MAX_FRAME));
        let connecting = connect_async_with_config(request, Some(config), true);
        match timeout(CONNECT_WITHIN, connecting).await {
            Ok(Ok((socket, _))) => Ok(Self { socket }),
            Ok(Err(error)) => Err(shown(&error)),
            Err(_) => Err(format!("no connection within {} s", CONNECT_WITHIN.as_secs())),
        }
    }

    /// The address of this machine on the way to the server.
    pub(crate) fn local_ip(&self) -> Option<IpAddr> {
        match self.socket.get_ref() {
            MaybeTlsStream::Plain(stream) => stream.local_addr().ok().map(|address| address.ip()),
            _ => None,
        }
    }

    async fn send(&mut self, frame: &FromAgent) -> Result<(), String> {
        let text = serde_json::to_string(frame).map_err(|error| error.to_string())?;
        match timeout(SEND_WITHIN, self.socket.send(Message::text(text))).await {
            Ok(sent) => sent.map_err(|error| shown(&error)),
            Err(_) => Err(format!("the server takes nothing for {} s", SEND_WITHIN.as_secs())),
        }
    }

    async fn close(&mut self, reason: &'static str) {
        let frame = CloseFrame { code: CloseCode::Away, reason: reason.into() };
        // Whoever ends does not wait long for the other side to agree.
        let _closed = timeout(Duration::from_millis(200), self.socket.close(Some(frame))).await;
    }
}

/// A session's parts beside its connection.
pub(crate) struct Session<'a> {
    pub(crate) supervisor: &'a mut Supervisor,
    pub(crate) outbox: &'a Outbox,
    pub(crate) logs: crate::ledger::Ledger,
    pub(crate) shutdown: &'a CancellationToken,
    /// Whether ending the agent ends its processes, so that their ends are still to be told.
    pub(crate) stop_all: bool,
}

enum Happening {
    Frame(Option<Result<Message, tungstenite::Error>>),
    Outbox,
    Beat,
    Chunk(Option<FromAgent>),
    AllEnded,
    Silence,
    Shutdown,
}

impl Session<'_> {
    /// Says hello and lives until the connection or the agent ends.
    pub(crate) async fn run(mut self, mut connection: Connection, mut hello: Hello) -> End {
        let (reports, mut sent) = self.outbox.begin_session();
        hello.replicas = reports;
        if let Err(reason) = connection.send(&FromAgent::Hello(Box::new(hello))).await {
            return End::Broken(reason);
        }
        if let Err(reason) = self.send_all(&mut connection, &mut sent).await {
            return End::Broken(reason);
        }
        let (chunk_sender, mut chunks) = mpsc::channel(CHUNKS_WAITING);
        let mut streams = LogStreams::new(self.logs.clone(), chunk_sender);
        let mut beat = beats(HEARTBEAT);
        let mut meter = HostMeter::default();
        let mut heard = Instant::now();
        let mut ending: Option<Instant> = None;
        let mut all_ended = false;
        loop {
            let happening = tokio::select! {
                biased;
                () = self.shutdown.cancelled(), if ending.is_none() => Happening::Shutdown,
                // Before what comes in: a server that sends much must not keep the agent from being heard.
                _ = beat.tick() => Happening::Beat,
                () = self.outbox.changed() => Happening::Outbox,
                frame = connection.socket.next() => Happening::Frame(frame),
                () = tokio::time::sleep_until(heard + SILENT_SERVER) => Happening::Silence,
                () = self.supervisor.all_ended(), if ending.is_some() && !all_ended => Happening::AllEnded,
                chunk = chunks.recv() => Happening::Chunk(chunk),
            };
            let done = match happening {
                Happening::Shutdown if !self.stop_all => {
                    connection.close("the agent is ending; its processes run on").await;
                    return End::Shutdown;
                }
                Happening::Shutdown => {
                    ending = Some(Instant::now());
                    self.supervisor.end_all().await;
                    Ok(())
                }
                Happening::AllEnded => {
                    (ending, all_ended) = (Some(Instant::now()), true);
                    self.send_all(&mut connection, &mut sent).await
                }
                Happening::Silence => {
                    return End::Broken(format!("the server was silent for {} s", SILENT_SERVER.as_secs()));
                }
                Happening::Frame(frame) => {
                    heard = Instant::now();
                    match self.frame(frame, &mut streams, &mut beat).await {
                        Some(end) => return end,
                        None => Ok(()),
                    }
                }
                Happening::Outbox => self.send_all(&mut connection, &mut sent).await,
                Happening::Beat => {
                    let timestamp = orion_model::Clock::system().now().as_millis();
                    let beat = Heartbeat { timestamp, metrics: meter.read(), ..Heartbeat::default() };
                    connection.send(&FromAgent::Heartbeat(beat)).await
                }
                Happening::Chunk(chunk) => match chunk {
                    Some(chunk) => connection.send(&chunk).await,
                    None => Ok(()),
                },
            };
            if let Err(reason) = done {
                return End::Broken(reason);
            }
            if all_ended && ending.is_some_and(|since| self.all_told(since)) {
                connection.close("the agent has ended with its processes").await;
                return End::Shutdown;
            }
        }
    }

    /// Whether the server has committed that every process has ended, or has had its time.
    fn all_told(&self, since: Instant) -> bool {
        self.outbox.is_acknowledged() || since.elapsed() > LAST_REPORTS
    }

    async fn send_all(&self, connection: &mut Connection, sent: &mut u64) -> Result<(), String> {
        for frame in self.outbox.take(sent) {
            connection.send(&frame).await?;
        }
        Ok(())
    }

    async fn frame(
        &mut self,
        frame: Option<Result<Message, tungstenite::Error>>,
        streams: &mut LogStreams,
        beat: &mut tokio::time::Interval,
    ) -> Option<End> {
        let text = match frame {
            None => return Some(End::Broken("the server closed the connection".into())),
            Some(Err(error)) => return Some(End::Broken(shown(&error))),
            Some(Ok(Message::Close(close))) => return Some(closed(close)),
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return None,
        };
        let frame: ToAgent = match serde_json::from_str(&text) {
            Ok(frame) => frame,
            Err(error) => {
                // A newer server may say more than this agent knows.
                tracing::debug!(%error, "a frame that this agent does not know is ignored");
                return None;
            }
        };
        match frame {
            ToAgent::Welcome(welcome) => {
                if let ms @ 1.. = welcome.heartbeat_interval_ms {
                    *beat = beats(Duration::from_millis(ms));
                }
                self.supervisor.welcome(&welcome);
            }
            ToAgent::Sync(sync) => self.supervisor.sync(sync).await,
            ToAgent::Launch(launch) => self.supervisor.launch(*launch).await,
            ToAgent::Update(update) => self.supervisor.update(*update).await,
            ToAgent::Stop(stop) => self.supervisor.stop(stop).await,
            ToAgent::StatusAck(ack) => self.outbox.acknowledge(ack.seq),
            ToAgent::Forget(forget) => self.supervisor.forget(forget).await,
            ToAgent::Redirect(redirect) => return Some(End::Redirected(redirect.url)),
            ToAgent::Logs(request) => streams.request(request),
            ToAgent::LogCredit(credit) => streams.credit(&credit.id, credit.bytes),
        }
        None
    }
}

fn beats(every: Duration) -> tokio::time::Interval {
    let mut beat = interval(every);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

fn closed(close: Option<CloseFrame>) -> End {
    let Some(close) = close else { return End::Broken("the server closed the connection".into()) };
    let reason = close.reason.to_string();
    match u16::from(close.code) {
        SUPERSEDED => End::Superseded(reason),
        code => End::Broken(format!("the server closed the connection: {reason} ({code})")),
    }
}

/// The sentence a person needs: a refused upgrade says why in its body.
fn shown(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Http(response) => {
            let body =
                response.body().as_deref().map(|body| String::from_utf8_lossy(body).into_owned()).unwrap_or_default();
            let message = serde_json::from_str::<serde_json::Value>(&body)
                .ok()
                .and_then(|status| status.get("message")?.as_str().map(str::to_owned));
            format!("the server refused: {} {}", response.status(), message.unwrap_or(body))
        }
        tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "nothing listens there".into()
        }
        error => error.to_string(),
    }
}
