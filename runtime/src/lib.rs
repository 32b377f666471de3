//! A watch and workqueue runtime for controllers.
//!
//! A controller author implements [`Reconciler`]: one key, one run, one [`Action`]. The rest is here:
//!
//! ```text
//! Backend ──► reflector ──► cache, one value ──► controllers ──► work queues ──► Reconciler
//!    ▲         one stream     views, indexes        map to keys    retries         │ Run: read, commit
//!    └────────────────────── own writes, noted in the run's ledger ◄──────────────┘
//! ```
//!
//! - [`Manager`] holds informers and controllers over one [`Client`](orion_model::Client) and runs them.
//! - [`Informer`] keeps a kind in the cache; [`Lister`], [`Reader`] and [`Index`] read it; [`Subscription`] follows it.
//! - [`Controller`] says which changes trigger which keys; [`Run`] is one run's view of the world and its way to write.
//! - [`Batch`] is an atomic commit, built with types.
//! - [`workqueue`] stands alone: it knows keys, not objects.
//!
//! A run sees all kinds at one version; a key's next run starts only when the cache shows what its last one wrote; a
//! panic, a timeout or an error is the key's own affair. `CONTRACT.md` numbers these promises, and tests name them.
//!
//! Still to come, each with its place here: leader election (between sync and controllers in [`Manager::run_until`],
//! its term in a run's client), validated commits and fresh views (on the ledger and the view of a [`Run`]), and a
//! test kit.

mod action;
mod batch;
mod cache;
mod change;
mod controller;
mod error;
mod feeds;
mod finalizer;
mod garbage;
mod informer;
mod ledger;
mod lister;
mod manager;
mod rate_limiter;
mod reconciler;
mod recorder;
mod reflector;
mod run;
mod subscription;
mod trigger;
mod why;
pub mod workqueue;

pub use action::{Action, Reason};
pub use batch::{Batch, CommitError, Committed, Slot};
pub use change::Change;
pub use controller::{Controller, Runnable};
pub use error::{Error, Result};
pub use informer::{Informer, Select};
pub use lister::{Index, Lister, Owned, Reader};
pub use manager::{ControllerHealth, Health, InformerHealth, Manager, ManagerHandle, RunError};
pub use rate_limiter::TokenBucket;
pub use reconciler::{ReconcileKey, Reconciler};
pub use run::Run;
pub use subscription::{Changes, Subscription};
pub use trigger::Trigger;
pub use why::{Cause, Doing, End, LastRun, Why};
