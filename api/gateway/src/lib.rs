//! Orion's own surface: Apply, services, nodes and the agents' WebSocket.
