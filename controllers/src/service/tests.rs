//! Services on a simulated fleet: the real plan, and a scheduler and agents that are a few lines each.

mod rollouts;
mod scaling;
mod simulation;
mod world;
