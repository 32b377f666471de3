//! The runtime's promises over a real store in memory, on virtual time. `CONTRACT.md` numbers them.

mod cache;
mod controller;
mod events;
mod exactly;
mod garbage;
mod manager;
mod own_writes;
mod world;
