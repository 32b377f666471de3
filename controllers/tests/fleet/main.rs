//! The controllers together, over the real runtime and a real store in memory, on virtual time. Agents are simulated:
//! they see the Replicas of their node and report, as the gateway would write it.

mod jobs;
mod nodes;
mod others;
mod services;
mod world;
