//! How an object changed in a cache, as mappers and subscribers see it.

use std::sync::Arc;

use orion_model::Object;

/// One step of one object, with both sides of it.
///
/// An object that was deleted and made anew is two changes, however wide the gap between the two looks at it was: its
/// deletion, then its addition.
pub enum Change<K> {
    /// It is new to the cache.
    Added(Arc<K>),
    /// It changed, within one incarnation.
    Modified {
        /// As the cache had it.
        old: Arc<K>,
        /// As it is now.
        new: Arc<K>,
    },
    /// It is gone, or left the selection; this is how the cache last knew it.
    Deleted(Arc<K>),
}

impl<K> Change<K> {
    /// The object after the change; `None` where it is gone.
    #[expect(clippy::new_ret_no_self, reason = "the other side of `old`; nothing is made here")]
    pub fn new(&self) -> Option<&Arc<K>> {
        match self {
            Self::Added(new) | Self::Modified { new, .. } => Some(new),
            Self::Deleted(_) => None,
        }
    }

    /// The object before the change; `None` where it is new.
    pub fn old(&self) -> Option<&Arc<K>> {
        match self {
            Self::Added(_) => None,
            Self::Modified { old, .. } | Self::Deleted(old) => Some(old),
        }
    }

    /// The object after the change or, where it is gone, before: right for all that does not change, such as its name.
    pub fn either(&self) -> &Arc<K> {
        match self {
            Self::Added(object) | Self::Modified { new: object, .. } | Self::Deleted(object) => object,
        }
    }

    /// Both sides of the change, as far as they are there.
    pub fn sides(&self) -> impl Iterator<Item = &Arc<K>> {
        self.old().into_iter().chain(self.new())
    }
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Added(new) => Self::Added(new.clone()),
            Self::Modified { old, new } => Self::Modified { old: old.clone(), new: new.clone() },
            Self::Deleted(old) => Self::Deleted(old.clone()),
        }
    }
}

impl<K: Object> std::fmt::Debug for Change<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = match self {
            Self::Added(_) => "added",
            Self::Modified { .. } => "modified",
            Self::Deleted(_) => "deleted",
        };
        let object = self.either();
        write!(f, "{} {word} @{}", object.object_key(), object.version())
    }
}
