//! Who makes a request.

use std::fmt;

/// Who makes a request, as far as the [`Guard`](crate::Guard) could tell. Each request that it lets through carries one
/// as an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A process of this uid at the other end of a loopback connection, by the kernel's record.
    Peer(u32),
    /// A process of this uid at the other end of the Unix socket.
    Socket(u32),
    /// Whoever holds the admin token.
    Token,
    /// Nobody in particular: the path is open to all, or nothing guards the router.
    Anonymous,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(uid) => write!(f, "uid:{uid}"),
            Self::Socket(uid) => write!(f, "socket-uid:{uid}"),
            Self::Token => f.write_str("admin-token"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}
