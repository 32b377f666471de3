//! What a controller author writes.

use std::{fmt, future::Future, hash::Hash};

use crate::{Action, Result, Run};

/// What a controller works on: [`Key<K>`](orion_model::Key) of a kind, `()`, or any value that orders and hashes.
pub trait ReconcileKey: Clone + Ord + Hash + fmt::Debug + Send + Sync + 'static {}

impl<K: Clone + Ord + Hash + fmt::Debug + Send + Sync + 'static> ReconcileKey for K {}

/// Brings the world of one key to what its objects wish.
///
/// It is told which key, never what happened: it reads through the run's view, plans, commits, and returns one
/// [`Action`] or an error. The runtime alone owns retries, backoff, concurrency, panics and timeouts. One key never
/// runs twice at the same time.
///
/// ```
/// # use orion_runtime::{Action, Reconciler, Result, Run};
/// # use orion_model::{Key, Lease};
/// struct Expiry;
///
/// impl Reconciler for Expiry {
///     type Key = Key<Lease>;
///
///     async fn reconcile(&self, key: &Key<Lease>, run: &Run<Key<Lease>>) -> Result<Action> {
///         let Some(lease) = run.object() else { return Ok(Action::Done) };
///         println!("{key} is held by {:?}", lease.spec.holder_identity);
///         Ok(Action::Done)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a reconciler",
    note = "implement `Reconciler` with `type Key` and `async fn reconcile(&self, key, run)`"
)]
pub trait Reconciler: Send + Sync + 'static {
    /// What it works on.
    type Key: ReconcileKey;

    /// The finalizer that keeps an object from vanishing before [`cleanup`](Self::cleanup) has succeeded. It is put on
    /// before the first `reconcile` and taken off after `cleanup` returned [`Action::Done`].
    const FINALIZER: Option<&'static str> = None;

    /// One run. A key whose object is gone is reconciled too.
    ///
    /// # Errors
    /// Any error is retried with backoff; [`Error::terminal`](crate::Error::terminal) is not.
    ///
    /// # Cancel safety
    /// The future is dropped at the controller's timeout and at the end of a shutdown's grace. Commits that were sent
    /// settle by themselves, and the key runs again only after they have.
    fn reconcile(&self, key: &Self::Key, run: &Run<Self::Key>) -> impl Future<Output = Result<Action>> + Send;

    /// One run for an object that is being deleted; called only where [`FINALIZER`](Self::FINALIZER) is set. Anything
    /// but [`Action::Done`] keeps the object.
    ///
    /// # Errors
    /// As for [`reconcile`](Self::reconcile).
    fn cleanup(&self, key: &Self::Key, run: &Run<Self::Key>) -> impl Future<Output = Result<Action>> + Send {
        let _ = (key, run);
        async { Ok(Action::Done) }
    }
}
