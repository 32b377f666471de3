//! What of the gateway can be set.

use std::time::Duration;

use super::{line::Bounds, liveness::Patience};

/// Identity, times and bounds of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The control plane's id; an agent that obeys another one converges nothing.
    pub cluster_id: String,
    /// The store's epoch; it rises with each restore.
    pub store_epoch: u64,
    /// How often agents are to beat. Default 5 s.
    pub heartbeat: Duration,
    /// How long a socket may take to its hello. Default 10 s.
    pub hello_timeout: Duration,
    /// How often sockets are pinged; two unanswered pings end one. Default 15 s.
    pub ping_interval: Duration,
    /// A node that says nothing for this long, or for four beats if that is longer, is silent. Default 20 s.
    pub silence: Duration,
    /// A node whose socket was closed is silent after this. Default 10 s.
    pub closed_silence: Duration,
    /// A command that is not acknowledged within this is worked out again. Default 5 s.
    pub resend_after: Duration,
    /// Sockets at a time, those before their hello included. Default 16 384.
    pub max_sessions: usize,
    /// Frames that wait for one agent at most. Default 1024.
    pub queue_frames: usize,
    /// Bytes that wait for one agent at most. Default 4 MiB.
    pub queue_bytes: usize,
    /// Changed replicas that wait to be looked at for one agent; with more it is synchronised anew. Default 1024.
    pub backlog: usize,
}

impl Settings {
    /// The default times and bounds, for this control plane and store epoch.
    pub fn new(cluster_id: impl Into<String>, store_epoch: u64) -> Self {
        Self {
            cluster_id: cluster_id.into(),
            store_epoch,
            heartbeat: Duration::from_secs(5),
            hello_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(15),
            silence: Duration::from_secs(20),
            closed_silence: Duration::from_secs(10),
            resend_after: Duration::from_secs(5),
            max_sessions: 16_384,
            queue_frames: 1024,
            queue_bytes: 4 * 1024 * 1024,
            backlog: 1024,
        }
    }

    pub(super) fn patience(&self) -> Patience {
        Patience { open: self.silence.max(self.heartbeat * 4), closed: self.closed_silence }
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds { frames: self.queue_frames, bytes: self.queue_bytes, backlog: self.backlog }
    }
}
