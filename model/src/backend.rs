//! The seam between programs and stores: small, object-safe, untyped, with owned requests.

use std::{sync::Arc, time::Duration};

use futures::{future::BoxFuture, stream::BoxStream};

use crate::{ClientError, Commit, Committed, ObjectKey, Registry, ResourceVersion, Selection, object::Stored};

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// Not older than the newest commit at the time of the call: the store's head is confirmed.
    #[default]
    Confirmed,
    /// Whatever is at hand; answers even when the database is gone.
    Any,
    /// Not older than this version; waits for it.
    AtLeast(ResourceVersion),
}

/// Asks for one object.
#[derive(Clone, Debug)]
pub struct Get {
    /// Which.
    pub key: ObjectKey,
    /// How fresh.
    pub freshness: Freshness,
}

/// Asks for several selections at one version.
#[derive(Clone, Debug)]
pub struct List {
    /// What is meant. Several give one answer at one version.
    pub selections: Vec<Selection>,
    /// How fresh.
    pub freshness: Freshness,
    /// At most so many objects; the rest by `after`. All, where it is `None`.
    pub limit: Option<usize>,
    /// Go on after this key; the answer is of the version at hand then.
    pub after: Option<ObjectKey>,
}

impl List {
    /// All of one selection, confirmed.
    pub fn all(selection: Selection) -> Self {
        Self { selections: vec![selection], freshness: Freshness::Confirmed, limit: None, after: None }
    }

    /// All of several selections at one version, confirmed.
    pub fn snapshot(selections: Vec<Selection>) -> Self {
        Self { selections, freshness: Freshness::Confirmed, limit: None, after: None }
    }
}

/// Objects at one version, ordered by key.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The version: the end of a commit. A watch from here misses nothing.
    pub version: ResourceVersion,
    /// The objects.
    pub items: Vec<Stored>,
    /// Whether the limit cut the list.
    pub more: bool,
}

/// Asks for all that changes after a version.
#[derive(Clone, Debug)]
pub struct Watch {
    /// What is meant.
    pub selections: Vec<Selection>,
    /// Changes after this version. `None` begins at the newest.
    pub after: Option<ResourceVersion>,
    /// Begin with what exists, as `Added`, and a bookmark. `after` is then how fresh that must be.
    pub initial: bool,
    /// How often a quiet watch gets a bookmark; never, where it is `None`.
    pub bookmarks: Option<Duration>,
}

impl Watch {
    /// Changes of several selections after a version, with a bookmark a minute.
    pub fn after(selections: Vec<Selection>, version: ResourceVersion) -> Self {
        Self { selections, after: Some(version), initial: false, bookmarks: Some(Duration::from_secs(60)) }
    }
}

/// What a watch delivers.
#[derive(Clone, Debug)]
pub enum Event {
    /// The changes of one commit within the selections, in order, as one batch; `version` is the commit's last.
    Commit {
        /// The end of the commit.
        version: ResourceVersion,
        /// What it changed; never empty.
        changes: Arc<[Change]>,
    },
    /// All up to this version has been delivered.
    Bookmark(ResourceVersion),
}

/// How an object changed, seen from a selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new, or came into the selection.
    Added,
    /// It changed.
    Modified,
    /// It is gone, or left the selection.
    Deleted,
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// How.
    pub kind: ChangeKind,
    /// The object after it; for a deletion the last state, with the version of the deletion.
    pub object: Stored,
    /// The object before it, where the store still knows it.
    pub old: Option<Stored>,
}

impl Change {
    /// The change as a selection sees it, or `None` where it does not concern it.
    pub fn seen_by(&self, selection: &Selection) -> Option<Self> {
        let now = self.kind != ChangeKind::Deleted && selection.matches(&self.object);
        let before = match (self.kind, &self.old) {
            (ChangeKind::Added, _) => false,
            (_, Some(old)) => selection.matches(old),
            (_, None) => selection.matches(&self.object),
        };
        let kind = match (before, now) {
            (false, false) => return None,
            (false, true) => ChangeKind::Added,
            (true, true) => ChangeKind::Modified,
            (true, false) => ChangeKind::Deleted,
        };
        Some(Self { kind, object: self.object.clone(), old: self.old.clone() })
    }
}

/// The stream of a watch. It ends after an error.
pub type Watching = BoxStream<'static, Result<Event, ClientError>>;

/// A store, or the way to one. [`Store`](https://docs.rs/orion-store) and the HTTP client are backends.
///
/// # Cancel safety
/// Every future may be dropped at any point; a commit that has been sent may still take effect then, and repeating it
/// with its id settles whether it did.
pub trait Backend: Send + Sync + 'static {
    /// The kinds this backend serves, as they are now.
    fn registry(&self) -> Arc<Registry>;

    /// Whether whoever keeps this backend already collects objects whose owners are gone, as a server does. A program
    /// over a plain store has to do it itself.
    fn collects_garbage(&self) -> bool {
        false
    }

    /// Makes an atomic commit.
    ///
    /// # Errors
    /// Refused with the reason, or [`ClientError::Unknown`] when nobody can say whether it took effect.
    fn commit(&self, commit: Commit) -> BoxFuture<'static, Result<Committed, ClientError>>;

    /// Reads one object; `None` where there is none.
    ///
    /// # Errors
    /// [`ClientError::Unavailable`] when the freshness asked for cannot be had now.
    fn get(&self, get: Get) -> BoxFuture<'static, Result<Option<Stored>, ClientError>>;

    /// Lists objects at one version, ordered by kind, namespace and name.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    fn list(&self, list: List) -> BoxFuture<'static, Result<Listed, ClientError>>;

    /// Watches for changes.
    ///
    /// # Errors
    /// [`ClientError::Expired`], at once or later in the stream, when the version is no longer kept or lies beyond the
    /// confirmed head: list again.
    fn watch(&self, watch: Watch) -> BoxFuture<'static, Result<Watching, ClientError>>;
}
