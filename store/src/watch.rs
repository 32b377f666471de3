//! Watches: each reads the one stream of commits at its own pace, from the ring or, when it is far behind, from the
//! journal. The writer knows nothing of them.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use orion_model::{
    Change, ChangeKind, ClientError, Freshness, ResourceVersion, Selection, Watch, Watching, backend::Event,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    error::without_effect,
    journal::{Journal, Tail},
    limits::TAIL_BYTES,
    load,
    read::{Reader, check_selections, select},
    record::Record,
    shared::{Progress, Shared},
    state::State,
};

/// How many commits are looked at before others get a turn.
const COMMITS_A_TURN: usize = 256;

/// Begins a watch.
pub(crate) async fn watch<J: Journal>(reader: Reader<J>, watch: Watch) -> Result<Watching, ClientError> {
    check_selections(&reader.shared.registry, &watch.selections)?;
    let state = starting_state(&reader, &watch).await?;
    let mut ready = VecDeque::new();
    let position = match watch.after {
        Some(after) if !watch.initial => after,
        _ => state.version,
    };
    if watch.initial {
        ready.extend(initial(&state, &watch.selections));
        ready.push_back(Event::Bookmark(position));
    }
    let watcher = Watcher {
        progress: reader.shared.progress(),
        shared: reader.shared,
        selections: watch.selections,
        position,
        ready,
        bookmarks: watch.bookmarks,
        delivered: Instant::now(),
    };
    let events = stream::unfold(Some(watcher), async |watcher| {
        let mut watcher = watcher?;
        match watcher.next().await {
            Ok(event) => Some((Ok(event), Some(watcher))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(events.boxed())
}

/// A state from which the watch can begin.
async fn starting_state<J: Journal>(reader: &Reader<J>, watch: &Watch) -> Result<Arc<State>, ClientError> {
    let Some(after) = watch.after else { return reader.state(Freshness::Confirmed).await };
    if watch.initial {
        return reader.state(Freshness::AtLeast(after)).await;
    }
    let mut state = reader.shared.state();
    if after > state.version {
        state = reader.state(Freshness::Confirmed).await?;
    }
    if after > state.version || after < state.history.oldest() {
        return Err(expired(after, &state));
    }
    Ok(state)
}

fn expired(version: ResourceVersion, state: &State) -> ClientError {
    ClientError::Expired { what: format!("version {version}"), oldest: state.history.oldest() }
}

/// What exists, as one batch of additions.
fn initial(state: &State, selections: &[Selection]) -> Option<Event> {
    let added = |object| Change { kind: ChangeKind::Added, object, old: None };
    let changes: Vec<_> = select(&state.objects, selections, None).map(added).collect();
    (!changes.is_empty()).then(|| Event::Commit { version: state.version, changes: changes.into() })
}

struct Watcher<J> {
    shared: Arc<Shared<J>>,
    progress: watch::Receiver<Progress>,
    selections: Vec<Selection>,
    /// All up to this version has been looked at.
    position: ResourceVersion,
    /// Found, and not yet delivered.
    ready: VecDeque<Event>,
    bookmarks: Option<Duration>,
    /// When something was delivered last.
    delivered: Instant,
}

impl<J: Journal> Watcher<J> {
    async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.delivered = Instant::now();
                return Ok(event);
            }
            let state = self.shared.state();
            if self.position < state.version {
                self.read(&state).await?;
                // A watch of a quiet kind may pass over very many commits.
                tokio::task::yield_now().await;
            } else if let Some(bookmark) = self.wait().await? {
                return Ok(bookmark);
            }
        }
    }

    /// Looks at the next commits.
    async fn read(&mut self, state: &State) -> Result<(), ClientError> {
        if self.position < state.history.oldest() {
            return Err(expired(self.position, state));
        }
        match state.ring.beyond(self.position) {
            Some(records) => records.iter().take(COMMITS_A_TURN).for_each(|record| self.look_at(record)),
            None => self.read_journal(state).await?,
        }
        Ok(())
    }

    async fn read_journal(&mut self, state: &State) -> Result<(), ClientError> {
        let Some(note) = state.history.first_beyond(self.position) else { return Err(expired(self.position, state)) };
        let tail = self.shared.journal.tail(note.seq.previous(), TAIL_BYTES).await.map_err(without_effect)?;
        let Tail::Dense(entries) = tail else { return Err(expired(self.position, state)) };
        // What has been appended is not there for anybody before it has been applied.
        for entry in entries.iter().take_while(|entry| entry.mark.seq <= state.seq) {
            let records = load::records(&self.shared.registry, entry).map_err(without_effect)?;
            records.iter().for_each(|record| self.look_at(record));
        }
        Ok(())
    }

    fn look_at(&mut self, record: &Record) {
        if record.versions.last <= self.position {
            return;
        }
        let later = record.changes.iter().filter(|change| change.object.version() > self.position);
        let changes: Vec<_> = later.filter_map(|change| seen_by_any(change, &self.selections)).collect();
        self.position = record.versions.last;
        if !changes.is_empty() {
            self.ready.push_back(Event::Commit { version: self.position, changes: changes.into() });
        }
    }

    /// Waits for more; gives a bookmark where it has been quiet for long enough.
    async fn wait(&mut self) -> Result<Option<Event>, ClientError> {
        let bookmark = self.bookmarks.map(|period| self.delivered + period);
        let position = self.position;
        tokio::select! {
            biased;
            moved = self.progress.wait_for(|progress| progress.version > position || progress.phase.end().is_some()) => {
                match moved.map(|progress| (progress.version > position, progress.phase.end())) {
                    Ok((false, Some(end))) => Err(end),
                    Ok(_) => Ok(None),
                    Err(_) => Err(ClientError::Unavailable("the store is gone".into())),
                }
            }
            () = sleep_until(bookmark.unwrap_or_else(Instant::now)), if bookmark.is_some() => {
                self.delivered = Instant::now();
                Ok(Some(Event::Bookmark(position)))
            }
        }
    }
}

/// A change as several selections together see it.
fn seen_by_any(change: &Change, selections: &[Selection]) -> Option<Change> {
    let mut was_in = false;
    let mut is_in = false;
    for seen in selections.iter().filter_map(|selection| change.seen_by(selection)) {
        was_in |= seen.kind != ChangeKind::Added;
        is_in |= seen.kind != ChangeKind::Deleted;
    }
    let kind = match (was_in, is_in) {
        (false, false) => return None,
        (false, true) => ChangeKind::Added,
        (true, true) => ChangeKind::Modified,
        (true, false) => ChangeKind::Deleted,
    };
    Some(Change { kind, object: change.object.clone(), old: change.old.clone() })
}
