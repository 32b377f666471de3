//! The frames of protocol 1 that are made of more than one thing.

use orion_model::{Key, Object};
use orion_types::{
    Replica,
    protocol::{Definition, Launch, SYNC_PART, StopCommand, Sync, SyncEntry, ToAgent, Update},
};

use crate::agents::command::{CommandId, Verb};

/// The frames of a sync; one at least, since the last one says that it is.
pub(super) fn in_parts(named: Vec<SyncEntry>) -> Vec<ToAgent> {
    let mut chunks: Vec<Vec<SyncEntry>> = named.chunks(SYNC_PART).map(<[SyncEntry]>::to_vec).collect();
    if chunks.is_empty() {
        chunks.push(Vec::new());
    }
    let last = chunks.len() - 1;
    let part = |(index, replicas)| {
        ToAgent::Sync(Sync { part: u32::try_from(index).unwrap_or(u32::MAX), last: index == last, replicas })
    };
    chunks.into_iter().enumerate().map(part).collect()
}

/// The frame of a command about a replica of a workload. `replica` is the object, where it is still there.
pub(super) fn command(
    id: &CommandId,
    key: &Key<Replica>,
    workload: &str,
    definition: Option<Definition>,
    replica: Option<&Replica>,
) -> ToAgent {
    let (replica_id, namespace) = (key.name().to_owned(), key.namespace().to_owned());
    let (uid, spec_version, service_name) = (id.uid.clone(), id.version, workload.to_owned());
    let id_text = id.to_string();
    match (id.verb, definition) {
        (Verb::Launch, Some(service)) => {
            ToAgent::Launch(Box::new(Launch { service, replica_id, id: id_text, uid, namespace, spec_version }))
        }
        (Verb::Update, Some(config)) => ToAgent::Update(Box::new(Update {
            service_name,
            config,
            replica_id: Some(replica_id),
            id: id_text,
            uid,
            namespace,
            spec_version,
        })),
        (Verb::Stop, _) | (_, None) => {
            let reason = stop_reason(replica);
            ToAgent::Stop(StopCommand { service_name, replica_id, id: id_text, uid, namespace, spec_version, reason })
        }
    }
}

fn stop_reason(replica: Option<&Replica>) -> String {
    let Some(replica) = replica else { return "Gone".into() };
    match &replica.spec.stop {
        Some(stop) => stop.reason.clone(),
        None if replica.is_being_deleted() => "Deleted".into(),
        None => "Over".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_part_of_a_sync_says_that_it_is_and_there_always_is_one() {
        let shape = |names: usize| -> Vec<(u32, bool, usize)> {
            let part = |frame: &ToAgent| match frame {
                ToAgent::Sync(sync) => (sync.part, sync.last, sync.replicas.len()),
                other => panic!("{other:?}"),
            };
            in_parts(vec![SyncEntry::default(); names]).iter().map(part).collect()
        };
        assert_eq!(shape(0), [(0, true, 0)]);
        assert_eq!(shape(SYNC_PART), [(0, true, SYNC_PART)]);
        assert_eq!(shape(SYNC_PART + 1), [(0, false, SYNC_PART), (1, true, 1)]);
    }
}
