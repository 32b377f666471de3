//! Orion's controllers: services, jobs and their Runs, nodes, plugins, configs and the scheduler.
//!
//! ```text
//! Config ──owned by label──► Service ──► Revision, Replica ◄── scheduler: nodeName, condition Placed
//!                            Job ──► Run ──► Replica       ◄── plugin controller: gates, env, refused
//!                            Plugin                        ◄── Node controller: disposition
//! ```
//!
//! Each field of an object has one writer. A controller reads through its run's view, decides by a pure plan
//! (`service::plan`, `run::plan`, `node::plan` …: objects, time and what else it takes in, a value out), and writes what
//! the plan says in one commit. It knows no socket and no database; what it needs of the world beside, such as calling
//! webhooks, comes in by a trait: [`HookCaller`].
//!
//! [`add`] puts all of them into a manager:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use orion_controllers::{HookCaller, Parts};
//! # fn with(client: orion_model::Client, hooks: Arc<dyn HookCaller>) {
//! let mut manager = orion_runtime::Manager::new(client);
//! orion_controllers::add(&mut manager, Parts { hooks });
//! # }
//! ```

pub mod labels;
pub mod placed;

mod bundle;
mod config;
mod dependency;
mod job;
mod listers;
mod names;
mod node;
mod notice;
mod placement;
mod plugin;
mod retention;
mod retirement;
mod run;
mod scheduler;
mod service;
mod wake;

pub use self::{
    bundle::{Parts, add},
    plugin::{HookAnswer, HookCall, HookCaller, HookError},
};
