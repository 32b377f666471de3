//! The agents' gateway as agents see it: real WebSocket clients, the real store in memory, the real runtime.

mod bad_frames;
mod bounds;
mod client;
mod gate;
mod liveness;
mod logs;
mod original;
mod protocol1;
mod reports;
mod sessions;
mod world;
