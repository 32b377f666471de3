//! Accepts connections and serves a router on them, within bounds, until told to stop.

mod patient_io;
mod slow_body;

use std::{io, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use futures::future::join_all;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use orion_model::{Status, status::Details};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub(crate) use self::slow_body::BodyTimeout;
use self::{patient_io::PatientIo, slow_body::SlowBody};
use crate::{Closing, Limits, Listener, Peer, listener::Accepted};

/// How long accepting rests after the system refused a connection, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves a router on all listeners until `shutdown`; then accepts nothing more, tells streams to end ([`Closing`]),
/// lets requests finish for [`Limits::drain`], and drops what is left.
///
/// Each request carries a [`Peer`] and a [`Closing`] in its extensions.
///
/// # Cancel safety
/// Dropping it drops all connections.
pub async fn serve(
    listeners: impl IntoIterator<Item = Listener>,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let server = Server { router, limits, room, shutdown };
    join_all(listeners.into_iter().map(|listener| server.run(listener))).await;
}

#[derive(Clone)]
struct Server {
    router: Router,
    limits: Limits,
    room: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Server {
    async fn run(&self, listener: Listener) {
        let mut connections = JoinSet::new();
        self.accept(&listener, &mut connections).await;
        drop(listener);
        let finished = async { while connections.join_next().await.map(report).is_some() {} };
        if timeout(self.limits.drain, finished).await.is_err() {
            tracing::warn!(connections = connections.len(), "dropping connections that did not end in time");
            connections.shutdown().await;
        }
    }

    async fn accept(&self, listener: &Listener, connections: &mut JoinSet<()>) {
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                Some(ended) = connections.join_next() => report(ended),
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => self.admit(accepted, connections),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept connections");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    fn admit(&self, accepted: Accepted, connections: &mut JoinSet<()>) {
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            tracing::warn!(limit = self.limits.connections, "refusing a connection: too many");
            return accepted.refuse(&too_many());
        };
        let server = self.clone();
        connections.spawn(async move {
            match accepted.peer() {
                Ok(peer) => match accepted {
                    Accepted::Tcp(stream, _) => server.connection(stream, peer).await,
                    Accepted::Unix(stream) => server.connection(stream, peer).await,
                },
                // Gone already.
                Err(error) => tracing::debug!(%error, "a connection ended before it began"),
            }
            drop(permit);
        });
    }

    async fn connection<Io>(self, stream: Io, peer: Peer)
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { router, limits, shutdown, .. } = self;
        let closing = Closing::new(shutdown.clone());
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request = request.map(|body| Body::new(SlowBody::new(body, limits.body_timeout)));
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(closing.clone());
            router.clone().oneshot(request)
        });
        let io = TokioIo::new(PatientIo::new(stream, limits.write_stall));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .max_buf_size(limits.head_bytes)
            .serve_connection(io, service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, ?peer, "a connection ended early");
        }
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a request panicked; its connection was dropped");
    }
}

/// The whole answer to a connection above the limit.
fn too_many() -> Vec<u8> {
    let details = Details { retry_after_seconds: Some(1), ..Details::default() };
    let status = Status::failure(503, "ServiceUnavailable", "the server has too many connections").about(details);
    let body = serde_json::to_string(&status).expect("a status always serialises");
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Accepted {
    /// Says why and hangs up, without waiting for the other end.
    fn refuse(self, answer: &[u8]) {
        let said = match self {
            Self::Tcp(stream, _) => stream.into_std().and_then(|mut stream| say(&mut stream, answer)),
            Self::Unix(stream) => stream.into_std().and_then(|mut stream| say(&mut stream, answer)),
        };
        if let Err(error) = said {
            tracing::debug!(%error, "a refused connection was not told why");
        }
    }
}

/// Writes what fits at once. What has come in is read first: closing with unread bytes would reset the connection, and
/// the other end might not see the answer.
fn say(stream: &mut (impl io::Read + io::Write), answer: &[u8]) -> io::Result<()> {
    let mut unread = [0; 4096];
    match stream.read(&mut unread) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
        _ => {}
    }
    stream.write_all(answer)
}
