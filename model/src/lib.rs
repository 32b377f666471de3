//! Orion's object model: objects, kinds, keys, versions, commits and the backend they go to.
//!
//! Every other crate stands on this one, and it stands on nothing of Orion's. A program meets it from the top down:
//!
//! ```text
//! #[derive(Resource)]     a spec becomes a kind            object, registry, schema
//! Client                  typed reads and writes           client
//! Commit, List, Watch     what a Client asks               commit, backend, selector
//! Backend                 a store, or the way to one       backend, error, status
//! ```
//!
//! Beside them stand the small things all of Orion shares: [`Clock`] and [`Randomness`], so that what decides by them
//! can be tested, YAML with places ([`yaml`]), and [`backoff`].

extern crate self as orion_model;

pub mod backend;
pub mod backoff;
pub mod client;
pub mod commit;
pub mod condition;
pub mod error;
pub mod event;
pub mod issue;
pub mod key;
pub mod kind;
pub mod lease;
pub mod metadata;
pub mod object;
pub mod patch;
pub mod path;
pub mod random;
pub mod registry;
pub mod schema;
pub mod selector;
pub mod status;
pub mod time;
pub mod version;
pub mod yaml;

pub use backend::{Backend, Change, ChangeKind, Freshness, Get, List, Listed, Watch, Watching};
pub use client::Client;
pub use commit::{Check, Commit, CommitId, Committed, Op, Part, Precondition, Versions, Write, Written};
pub use condition::{Condition, ConditionStatus, Conditions};
pub use error::ClientError;
pub use event::Event;
pub use issue::Issue;
pub use key::{Key, ObjectKey};
pub use kind::Kind;
pub use lease::{Lease, LeaseSpec};
pub use metadata::{Metadata, OwnerReference, Uid};
pub use object::{DecodeError, Dynamic, Held, Meta, NoStatus, Object, Raw, Resource, Stored, Whole};
/// Makes a kind of a spec; see [`Resource`](trait@Resource).
pub use orion_derive::Resource;
pub use random::Randomness;
pub use registry::{Definition, Registry};
pub use selector::{FieldSelector, LabelSelector, Selection};
pub use status::Status;
pub use time::{Clock, Timestamp};
pub use version::ResourceVersion;

#[doc(hidden)]
pub mod __private {
    pub use serde;
    pub use serde_json;
}
