//! A versioned object store: a state machine over a journal.
//!
//! ```text
//! Commit -> Store: judge -> one group -> Journal: append -> apply, publish -> answers, watches
//!                                          |
//!                                   memory | SQLite
//! ```
//!
//! - [`Store`] is written once, above any [`Journal`](journal::Journal). It holds the current objects in memory, judges
//!   each commit against them, gives versions, appends, applies, and feeds the watches. Kubernetes' rules for metadata
//!   live here and nowhere else.
//! - [`journal`] is what it stands on: a durable, ordered log that grows by conditional appends.
//! - [`limits`] are what it bounds.
//!
//! Most programs need no more than this:
//!
//! ```
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! use orion_model::{Key, Lease, LeaseSpec, Registry};
//!
//! let store = orion_store::memory(Registry::new()).await?;
//! let client = store.client();
//! let lease = client.create(&Lease::new("leader", LeaseSpec::default())).await?;
//! assert_eq!(lease.metadata.namespace, "default");
//! store.close().await;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod error;
mod heads;
mod history;
pub mod journal;
mod judge;
mod kinds;
mod lease;
pub mod limits;
mod load;
mod metadata_rules;
mod objects;
mod read;
mod record;
mod ring;
mod round;
mod shared;
mod state;
mod store;
#[cfg(feature = "testing")]
pub mod suite;
mod watch;
mod writer;

use orion_model::{Clock, Randomness, Registry};

pub use error::OpenError;
pub use journal::memory::Memory;
#[cfg(feature = "sqlite")]
pub use journal::sqlite::Sqlite;
pub use store::{Store, StoreId};

/// A store in memory, on the machine's clock and random numbers.
///
/// # Errors
/// When the kinds do not fit together.
pub async fn memory(registry: Registry) -> Result<Store<Memory>, OpenError> {
    let (clock, randomness) = (Clock::system(), Randomness::system());
    Store::open(Memory::new(&clock, &randomness), registry, clock, randomness).await
}

/// A store on a SQLite file, which is made with its folders where it is missing.
///
/// # Errors
/// When the kinds do not fit together, or the file is in use, read-only, corrupt, newer or another program's: the error
/// says which and what to do.
#[cfg(feature = "sqlite")]
pub async fn sqlite(path: impl AsRef<std::path::Path>, registry: Registry) -> Result<Store<Sqlite>, OpenError> {
    let (clock, randomness) = (Clock::system(), Randomness::system());
    let journal = Sqlite::open(path, &clock, &randomness).await?;
    Store::open(journal, registry, clock, randomness).await
}
