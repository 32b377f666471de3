//! Orion's own surface: Apply, services, nodes and the agents' WebSocket.
//!
//! ```text
//! agents    the agents' side: /ws, commands, reports, liveness, live metrics, logs
//! apply     an orion.yaml as one atomic commit
//! seed      the original's surface: /health, /api/services, /api/nodes, /api/apply
//! ```

mod agents;
pub mod apply;
pub mod seed;

pub use agents::{Gateway, Informers, LiveMetrics, NodeLive, Settings, Worker};
