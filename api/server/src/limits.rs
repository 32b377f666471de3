//! What one client may cost: every bound of the server's connections and requests.

use std::time::Duration;

/// Bounds on connections, headers, bodies and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time, over all listeners; more are answered 503. Default 16 384: ten thousand agents and room
    /// for people.
    pub connections: usize,
    /// How long a client may take for the head of a request, and how long a connection may lie idle between two.
    /// Default 30 s.
    pub head_timeout: Duration,
    /// Bytes of a request's head. Default 64 KiB.
    pub head_bytes: usize,
    /// How long a client may take to send the whole body of a request. Default 30 s.
    pub body_timeout: Duration,
    /// How long a client may leave the server's bytes unread before it is dropped. Default 30 s.
    pub write_stall: Duration,
    /// How long requests may go on after shutdown began. Default 10 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            head_timeout: Duration::from_secs(30),
            head_bytes: 64 * 1024,
            body_timeout: Duration::from_secs(30),
            write_stall: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// Bytes of a request's body, where a route does not say otherwise by axum's `DefaultBodyLimit`. An object in a store
/// is smaller, and so is any orion.yaml that a person keeps.
pub(crate) const BODY_BYTES: usize = 1024 * 1024;
