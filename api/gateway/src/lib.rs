//! Orion's own surface: Apply, services, nodes and the agents' WebSocket.
//!
//! ```text
//! agents    the agents' side: /ws, commands, reports, liveness, live metrics, logs
//! ```

mod agents;

pub use agents::{Gateway, Informers, LiveMetrics, NodeLive, Settings, Worker};
