//! What triggers a controller: the changes of an informer, mapped to keys.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use orion_model::{Key, Object};

use crate::{
    Change, Informer, ReconcileKey,
    feeds::{Attention, Feeds, Handler, Notice},
    trigger::Intake,
    why::News,
    workqueue::Priority,
};

/// An informer and what its changes trigger.
pub(super) struct Source<K> {
    pub(super) feeds: Arc<Feeds>,
    pub(super) slot: usize,
    attach: Attach<K>,
}

/// Connects a source to a controller's queue; it is told the controller's name.
type Attach<K> = Box<dyn FnOnce(Arc<Intake<K>>, Arc<str>) + Send>;

impl<O: Object> Source<Key<O>> {
    /// The keys' own objects.
    pub(super) fn own(objects: &Informer<O>) -> Self {
        Self::new(objects, |intake, cause, change, priority| {
            let news = match change {
                Change::Deleted(last) => News::Gone(last.clone()),
                Change::Added(_) | Change::Modified { .. } => News::There,
            };
            intake.add(change.either().key(), cause, news, priority);
        })
    }
}

impl<K: ReconcileKey> Source<K> {
    /// Other objects, by a mapper.
    pub(super) fn mapped<V: Object>(
        others: &Informer<V>,
        keys: impl Fn(&Change<V>) -> Vec<K> + Send + 'static,
    ) -> Self {
        Self::new(others, move |intake, cause, change, priority| {
            for key in keys(change) {
                intake.add(key, cause, News::None, priority);
            }
        })
    }

    fn new<V: Object>(
        informer: &Informer<V>,
        trigger: impl Fn(&Intake<K>, &Arc<str>, &Change<V>, Priority) + Send + 'static,
    ) -> Self {
        let informer = informer.clone();
        let (feeds, slot) = (informer.feeds.clone(), informer.slot);
        let attach = move |intake: Arc<Intake<K>>, controller: Arc<str>| {
            let cause: Arc<str> = format!("{} changed", informer.kind.name()).into();
            let handler: Handler<V> = Box::new(move |notice| told(&intake, &controller, &cause, notice, &trigger));
            informer.feeds.handle::<V>(informer.slot, handler);
        };
        Self { feeds, slot, attach: Box::new(attach) }
    }

    /// From here on, changes go into the queue; what is there already goes in first.
    pub(super) fn attach(self, intake: &Arc<Intake<K>>, controller: &Arc<str>) {
        (self.attach)(intake.clone(), controller.clone());
    }
}

fn told<K, V: Object>(
    intake: &Intake<K>,
    controller: &Arc<str>,
    cause: &Arc<str>,
    notice: &Notice<'_, V>,
    trigger: &impl Fn(&Intake<K>, &Arc<str>, &Change<V>, Priority),
) -> Attention {
    if intake.stop.is_cancelled() {
        return Attention::Drop;
    }
    let priority = if notice.initial { Priority::Low } else { Priority::Normal };
    for change in notice.changes {
        // A mapper is the author's code; its panic must not end the watch of everybody.
        if catch_unwind(AssertUnwindSafe(|| trigger(intake, cause, change, priority))).is_err() {
            tracing::error!(%controller, ?change, "a mapper panicked; the change triggers nothing here");
        }
    }
    Attention::Keep
}
