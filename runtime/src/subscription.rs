//! Following an informer outside of controllers: a snapshot, then what follows.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use futures::Stream;
use orion_model::{Key, Object, ResourceVersion};
use tokio::sync::Notify;

use crate::{
    Change, Informer,
    feeds::{Attention, Notice},
};

/// The changes of an informer from its beginning on. A reader that is slow misses states, never an object's end: what
/// it missed is folded by key, and it holds nothing else up.
pub struct Subscription<K> {
    inbox: Arc<Inbox<K>>,
}

/// Some changes, up to a version.
#[derive(Debug)]
pub struct Changes<K: Object> {
    /// Everything of this informer up to this version has been delivered with these.
    pub version: ResourceVersion,
    /// Whether what existed at the start is among them.
    pub initial: bool,
    /// The changes, by key.
    pub changes: Vec<Change<K>>,
}

struct Inbox<K> {
    pending: Mutex<Pending<K>>,
    arrived: Notify,
}

struct Pending<K> {
    version: ResourceVersion,
    initial: bool,
    folded: BTreeMap<Key<K>, Folded<K>>,
    news: bool,
    closed: bool,
}

/// All that happened to one object since the reader last looked.
struct Folded<K> {
    before: Option<Arc<K>>,
    after: Option<Arc<K>>,
    last: Arc<K>,
}

impl<K: Object> Subscription<K> {
    pub(crate) fn of(informer: &Informer<K>) -> Self {
        let pending = Pending {
            version: ResourceVersion::ZERO,
            initial: false,
            folded: BTreeMap::new(),
            news: false,
            closed: false,
        };
        let inbox = Arc::new(Inbox { pending: Mutex::new(pending), arrived: Notify::new() });
        let mut entry = Entry(Arc::downgrade(&inbox));
        informer.feeds.handle::<K>(informer.slot, Box::new(move |notice| entry.push(notice)));
        Self { inbox }
    }

    /// The next changes, at commit ends only; `None` once the manager has ended.
    ///
    /// # Cancel safety
    /// May be dropped at any point; nothing is lost.
    pub async fn next(&mut self) -> Option<Changes<K>> {
        loop {
            if let Some(answer) = self.inbox.lock().take() {
                return answer;
            }
            self.inbox.arrived.notified().await;
        }
    }

    /// The changes as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Changes<K>> + Send {
        futures::stream::unfold(self, |mut subscription| async move {
            let changes = subscription.next().await?;
            Some((changes, subscription))
        })
    }
}

impl<K> Inbox<K> {
    fn lock(&self) -> MutexGuard<'_, Pending<K>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Object> Pending<K> {
    fn push(&mut self, notice: &Notice<'_, K>) {
        self.version = notice.version;
        self.initial |= notice.initial;
        self.news = true;
        for change in notice.changes {
            self.fold(change);
        }
    }

    fn fold(&mut self, change: &Change<K>) {
        let folded = self.folded.entry(change.either().key()).or_insert_with(|| Folded {
            before: change.old().cloned(),
            after: None,
            last: change.either().clone(),
        });
        folded.after = change.new().cloned();
        folded.last = change.either().clone();
    }

    fn take(&mut self) -> Option<Option<Changes<K>>> {
        if !self.news {
            return self.closed.then_some(None);
        }
        self.news = false;
        let changes = std::mem::take(&mut self.folded).into_values().flat_map(Folded::unfold).collect();
        let initial = std::mem::take(&mut self.initial);
        Some(Some(Changes { version: self.version, initial, changes }))
    }
}

impl<K: Object> Folded<K> {
    fn unfold(self) -> Vec<Change<K>> {
        match (self.before, self.after) {
            (None, Some(new)) => vec![Change::Added(new)],
            (Some(old), Some(new)) if old.uid() == new.uid() => vec![Change::Modified { old, new }],
            (Some(old), Some(new)) => vec![Change::Deleted(old), Change::Added(new)],
            (_, None) => vec![Change::Deleted(self.last)],
        }
    }
}

/// The feed's end of a subscription.
struct Entry<K>(Weak<Inbox<K>>);

impl<K: Object> Entry<K> {
    fn push(&mut self, notice: &Notice<'_, K>) -> Attention {
        let Some(inbox) = self.0.upgrade() else { return Attention::Drop };
        inbox.lock().push(notice);
        inbox.arrived.notify_one();
        Attention::Keep
    }
}

impl<K> Drop for Entry<K> {
    fn drop(&mut self) {
        if let Some(inbox) = self.0.upgrade() {
            inbox.lock().closed = true;
            inbox.arrived.notify_one();
        }
    }
}

impl<K> std::fmt::Debug for Subscription<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subscription")
    }
}
