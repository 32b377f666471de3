//! Makes a store's state from its journal: the readable copy first, then what follows it.

use std::collections::HashMap;

use bytes::Bytes;
use futures::TryStreamExt;
use orion_model::{CommitId, Raw, Registry};
use tokio::time::Instant;

use crate::{
    history::{History, Note},
    journal::{Entry, Error, Journal, Loaded, Mark, Seq, Source, Tail},
    kinds::kind_of,
    limits::TAIL_BYTES,
    objects::Objects,
    record::{self, Record},
    state::State,
};

/// What the writer begins with.
pub(crate) struct Beginning {
    pub(crate) state: State,
    /// The newest group in the state.
    pub(crate) mark: Mark,
    /// How far the readable copy has come.
    pub(crate) materialised: Seq,
}

/// Reads everything. Another writer may drop what is about to be read; then it begins anew.
pub(crate) async fn load<J: Journal>(journal: &J, registry: &Registry) -> Result<Beginning, Error> {
    loop {
        if let Some(beginning) = try_load(journal, registry).await? {
            return Ok(beginning);
        }
    }
}

async fn try_load<J: Journal>(journal: &J, registry: &Registry) -> Result<Option<Beginning>, Error> {
    let (materialised, rows): Loaded = journal.load().await?;
    let objects = rows
        .try_fold(Objects::default(), async |mut objects, row| {
            let kind = kind_of(registry, &row.group, &row.kind, &row.body);
            let raw = Raw::from_body(kind, row.body).map_err(broken)?;
            objects.put(&raw.key(), raw.into());
            Ok(objects)
        })
        .await?;
    let floor = journal.head().await?.floor;
    let Some((history, mut mark)) = begin_history(journal, registry, floor).await? else { return Ok(None) };
    let mut state = State { objects, ..State::before(floor, history) };
    loop {
        let Tail::Dense(entries) = journal.tail(mark.seq, TAIL_BYTES).await? else { return Ok(None) };
        let Some(newest) = entries.last() else { break };
        mark = newest.mark;
        for entry in &entries {
            let records = records(registry, entry)?;
            match entry.mark.seq <= materialised {
                true => state.note(entry.mark.seq, records),
                false => state.apply(entry.mark.seq, records),
            }
        }
    }
    Ok(Some(Beginning { state, mark, materialised }))
}

/// The history before the first group that will be read, and the mark there; `None` where the floor has moved.
async fn begin_history<J: Journal>(
    journal: &J,
    registry: &Registry,
    floor: Seq,
) -> Result<Option<(History, Mark)>, Error> {
    if floor == Seq::ZERO {
        return Ok(Some((History::whole(journal.identity().base), Mark::default())));
    }
    let Tail::Dense(entries) = journal.tail(floor.previous(), 1).await? else { return Ok(None) };
    let Some(entry) = entries.first().filter(|entry| entry.mark.seq == floor) else {
        return Err(broken(Missing(floor)));
    };
    let records = records(registry, entry)?;
    let Some(newest) = records.last() else { return Err(broken(Missing(floor))) };
    let note = Note { seq: floor, last: newest.versions.last, at: newest.at, known: Instant::now(), ids: [].into() };
    Ok(Some((History::behind(&note), entry.mark)))
}

/// The commits of a kept group.
pub(crate) fn records(registry: &Registry, entry: &Entry) -> Result<Vec<Record>, Error> {
    let kind_of = |group: &str, kind: &str, body: &Bytes| kind_of(registry, group, kind, body);
    record::decode(&entry.body, &kind_of).map_err(broken)
}

/// Where each kept commit stands.
pub(crate) fn commit_ids(history: &History) -> HashMap<CommitId, Seq> {
    history.notes().flat_map(|note| note.ids.iter().map(|id| (id.clone(), note.seq))).collect()
}

#[derive(Debug, thiserror::Error)]
#[error("group {0} is missing from the journal")]
struct Missing(Seq);

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let source: Source = std::sync::Arc::new(error);
    Error::Stopped(source)
}
