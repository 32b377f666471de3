//! What a controller author adds: one prelude, one connect.
