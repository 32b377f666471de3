//! The words of a Replica's condition `Placed`, which the scheduler writes and rollouts read.

/// It is bound.
pub const BOUND: &str = "Bound";
/// A node that may run it lacks room for it: CPU, memory or a port.
pub const NO_ROOM: &str = "NoRoom";
/// No node may run it.
pub const NO_NODE: &str = "NoNode";
