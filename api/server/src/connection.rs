//! What each request knows of the connection it came over.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

/// The other end of a connection. [`serve`](crate::serve()) puts one into the extensions of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Tcp {
        /// The other end's address.
        remote: SocketAddr,
        /// The address it reached.
        local: SocketAddr,
        /// The uid that owns the other end's socket, where the kernel of this machine could tell for certain.
        owner: Option<u32>,
    },
    /// Over the Unix socket.
    Unix {
        /// The uid of the process that connected.
        uid: u32,
    },
}

/// Says when the server shuts down. [`serve`](crate::serve()) puts one into the extensions of each request; whoever
/// answers with a stream or keeps a WebSocket ends it then, so that clients see a clean end.
#[derive(Clone, Debug, Default)]
pub struct Closing(CancellationToken);

impl Closing {
    /// Closing when `token` is cancelled.
    pub fn new(token: CancellationToken) -> Self {
        Self(token)
    }

    /// The closing of the server that serves this request; never, where none said.
    pub fn of(extensions: &axum::http::Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Resolves when the server shuts down.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn closed(&self) {
        self.0.cancelled().await;
    }
}
