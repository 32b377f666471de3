//! Orion's kinds, its configuration file and the agents' protocol.
