//! What the tests stand on.
//!
//! ```text
//! World ─ folder, marker ─┬─ server(), agent(), up() ─▶ Server, Daemon   processes of the binary
//!                         ├─ orion()                 ─▶ Ran              one command and how it ended
//!                         └─ processes()             ─▶ Process          what /proc says is alive
//! Server ─ api() ─▶ Api ─ Request ─▶ Answer                              HTTP, down to the raw bytes
//! ```

mod api;
mod daemon;
mod http;
mod processes;
mod socket;
mod waiting;
mod world;

pub(crate) use self::{
    api::Api,
    daemon::Daemon,
    http::{Answer, Request, exchange},
    socket::{Received, Socket},
    waiting::{SOON, eventually, holds_for},
    world::{Server, World, copy_folder, free_port},
};
