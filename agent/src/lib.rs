//! Supervises plain processes on one machine for an Orion server.
//!
//! ```text
//! Agent        takes up what runs, connects, connects again                      agent
//!  ├ Session     one connection: hello, frames both ways                         session, log_streams, outbox
//!  └ Supervisor  all replicas, and what a server's frames do to them             supervisor, ledger
//!     └ Replica    one task: keeps one process as its definition says            replica, environment
//!        └ Shim      the process's parent, a program of its own that outlives us  shims | shim
//! ```
//!
//! The agent may crash, restart or be upgraded: each process hangs on its shim, records are written before anything is
//! done, and the server hears the newest state of each replica at every hello.

mod agent;
pub mod environment;
pub mod host;
pub mod ledger;
mod log_streams;
pub mod logs;
mod outbox;
pub mod process;
mod replica;
mod session;
pub mod shim;
pub mod shims;
pub mod signal;
mod supervisor;
mod watched_fd;

pub use agent::{Agent, AgentError, Options};
