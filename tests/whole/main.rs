//! What only the whole shows: the `orion` binary as a user runs it, with real processes, sockets and files.
//!
//! Every test has a [`World`](harness::World) of its own: a folder that all its processes can be told by, servers and
//! agents on ports of their own, and a reckoning at the end, where nothing of it may be left in `/proc`.
//!
//! Set `ORION_WHOLE_ROUNDS=100` for a long run of the tests that go in rounds, and `ORION_LOG=debug` to see more of what
//! a failed one did.

mod atomic_apply;
mod bad_input;
mod commands;
mod dependencies;
mod fleet;
mod harness;
mod hello;
mod interruptions;
mod jobs;
mod original_agents;
mod plugins;
mod rollouts;
mod seed_surface;
