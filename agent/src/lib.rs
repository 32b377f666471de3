//! Supervises plain processes on one machine for an Orion server.

pub mod logs;
pub mod process;
pub mod shim;
pub mod shims;
pub mod signal;
mod watched_fd;
