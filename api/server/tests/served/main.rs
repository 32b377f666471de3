//! The server as clients see it: over real sockets, on the real memory store, with a registry of its own.

mod access;
mod auditing;
mod bounds;
mod reading;
mod support;
mod upgrading;
mod watching;
mod writing;
