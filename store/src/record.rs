//! What one commit comes to, and how it stands in a group's body.
//!
//! ```text
//! body    = record*
//! record  = length of the header (u32, little endian) · header (JSON) · the objects' JSON, one after another
//! ```
//!
//! The objects stand in the body as they are sent to clients, so that a journal can copy them out by their place, and
//! a replay can hand them on without copying.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use orion_model::{Change, ChangeKind, CommitId, Kind, ObjectKey, Raw, ResourceVersion, Stored, Timestamp, Versions};
use serde::{Deserialize, Serialize};

use crate::journal::{Effect, Group, Move, Nonce};

/// A commit that took effect and made versions.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: CommitId,
    /// When it was appended, by the store's clock.
    pub(crate) at: Timestamp,
    pub(crate) versions: Versions,
    pub(crate) changes: Arc<[Change]>,
    /// For each of its writes, what it came to.
    pub(crate) results: Vec<Outcome>,
}

/// What one write of a commit came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// One of the commit's changes, by its index.
    Changed(usize),
    /// The object was already so.
    Same(ObjectKey),
}

/// A body that does not read as records.
#[derive(Debug, thiserror::Error)]
#[error("a group of the journal does not read: {0}")]
pub(crate) struct RecordError(String);

/// Finds the kind of a stored object.
pub(crate) type KindOf<'a> = &'a dyn Fn(&str, &str, &Bytes) -> Kind;

impl Record {
    /// About how much memory it holds.
    pub(crate) fn bytes(&self) -> usize {
        const OVERHEAD: usize = 256;
        let of =
            |change: &Change| OVERHEAD + change.object.body().len() + change.old.as_ref().map_or(0, |o| o.body().len());
        self.changes.iter().map(of).sum()
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    id: String,
    at: i64,
    first: ResourceVersion,
    last: ResourceVersion,
    changes: Vec<ChangeHeader>,
    results: Vec<ResultHeader>,
}

#[derive(Serialize, Deserialize)]
struct ChangeHeader {
    change: Changed,
    group: String,
    kind: String,
    /// Length of the object's JSON.
    body: usize,
    /// Length of the old object's JSON, which follows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<usize>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Changed {
    Added,
    Modified,
    Deleted,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ResultHeader {
    Changed(usize),
    Same { group: String, kind: String, namespace: String, name: String },
}

/// A record as bytes, with the place of each object in them.
pub(crate) struct Encoded {
    bytes: Vec<u8>,
    effects: Vec<Effect>,
}

impl Encoded {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes a record.
pub(crate) fn encode(record: &Record) -> Encoded {
    let header = serde_json::to_vec(&header(record)).expect("a header always serialises");
    let mut bytes = Vec::with_capacity(4 + header.len() + record.bytes());
    bytes.extend_from_slice(&u32::try_from(header.len()).expect("a header is far smaller than 4 GiB").to_le_bytes());
    bytes.extend_from_slice(&header);
    let effects = record.changes.iter().map(|change| {
        let start = bytes.len();
        bytes.extend_from_slice(change.object.body());
        let body = (change.kind != ChangeKind::Deleted).then_some(start..bytes.len());
        if let Some(old) = &change.old {
            bytes.extend_from_slice(old.body());
        }
        Effect { key: change.object.key(), version: change.object.version(), body }
    });
    let effects = effects.collect();
    Encoded { bytes, effects }
}

fn header(record: &Record) -> Header {
    let change = |change: &Change| ChangeHeader {
        change: match change.kind {
            ChangeKind::Added => Changed::Added,
            ChangeKind::Modified => Changed::Modified,
            ChangeKind::Deleted => Changed::Deleted,
        },
        group: change.object.kind().group().to_owned(),
        kind: change.object.kind().name().to_owned(),
        body: change.object.body().len(),
        old: change.old.as_ref().map(|old| old.body().len()),
    };
    let result = |outcome: &Outcome| match outcome {
        Outcome::Changed(index) => ResultHeader::Changed(*index),
        Outcome::Same(key) => ResultHeader::Same {
            group: key.kind.group().to_owned(),
            kind: key.kind.name().to_owned(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
        },
    };
    Header {
        id: record.id.to_string(),
        at: record.at.as_millis(),
        first: record.versions.first,
        last: record.versions.last,
        changes: record.changes.iter().map(change).collect(),
        results: record.results.iter().map(result).collect(),
    }
}

/// Puts encoded records together as one group.
pub(crate) fn group(nonce: Nonce, records: Vec<Encoded>) -> Group {
    let mut body = Vec::with_capacity(records.iter().map(Encoded::len).sum());
    let mut effects = BTreeMap::new();
    for record in records {
        let base = body.len();
        body.extend_from_slice(&record.bytes);
        for Effect { key, version, body } in record.effects {
            let body = body.map(|range| range.start + base..range.end + base);
            effects.insert(key.clone(), Effect { key, version, body });
        }
    }
    Group { nonce, body: body.into(), effects: effects.into_values().collect() }
}

/// Reads the records of a group's body.
pub(crate) fn decode(body: &Bytes, kind_of: KindOf<'_>) -> Result<Vec<Record>, RecordError> {
    let mut rest = body.clone();
    let mut records = Vec::new();
    while !rest.is_empty() {
        records.push(decode_one(&mut rest, kind_of)?);
    }
    Ok(records)
}

fn decode_one(rest: &mut Bytes, kind_of: KindOf<'_>) -> Result<Record, RecordError> {
    let length = take(rest, 4)?;
    let length = u32::from_le_bytes(length[..].try_into().expect("four bytes were taken"));
    let header = take(rest, length as usize)?;
    let header: Header = serde_json::from_slice(&header).map_err(|e| RecordError(e.to_string()))?;
    let changes: Vec<_> =
        header.changes.iter().map(|change| decode_change(change, rest, kind_of)).collect::<Result<_, _>>()?;
    let result = |result| match result {
        ResultHeader::Changed(index) => Outcome::Changed(index),
        ResultHeader::Same { group, kind, namespace, name } => {
            Outcome::Same(ObjectKey::new(kind_of(&group, &kind, &Bytes::new()), namespace, name))
        }
    };
    Ok(Record {
        id: header.id.parse().map_err(|_| RecordError(format!("{:?} is no commit id", header.id)))?,
        at: Timestamp::from_millis(header.at),
        versions: Versions { first: header.first, last: header.last },
        changes: changes.into(),
        results: header.results.into_iter().map(result).collect(),
    })
}

fn decode_change(header: &ChangeHeader, rest: &mut Bytes, kind_of: KindOf<'_>) -> Result<Change, RecordError> {
    let mut object = |length: usize| -> Result<Stored, RecordError> {
        let body = take(rest, length)?;
        let kind = kind_of(&header.group, &header.kind, &body);
        Raw::from_body(kind, body).map(Arc::new).map_err(|e| RecordError(e.to_string()))
    };
    let kind = match header.change {
        Changed::Added => ChangeKind::Added,
        Changed::Modified => ChangeKind::Modified,
        Changed::Deleted => ChangeKind::Deleted,
    };
    Ok(Change { kind, object: object(header.body)?, old: header.old.map(object).transpose()? })
}

fn take(rest: &mut Bytes, length: usize) -> Result<Bytes, RecordError> {
    if rest.len() < length {
        return Err(RecordError(format!("it ends {} bytes too early", length - rest.len())));
    }
    Ok(rest.split_to(length))
}

/// What records come to for each object, in the form a journal's readable copy takes.
pub(crate) fn moves<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<Move> {
    let mut moves = BTreeMap::new();
    for change in records.into_iter().flat_map(|record| record.changes.iter()) {
        let key = change.object.key();
        let body = (change.kind != ChangeKind::Deleted).then(|| change.object.body().clone());
        moves.insert(key.clone(), Move { key, body });
    }
    moves.into_values().collect()
}

#[cfg(test)]
mod tests {
    use orion_model::{Lease, Metadata, Randomness, Resource};
    use serde_json::json;

    use super::*;

    fn lease(name: &str, version: u64) -> Stored {
        let metadata = Metadata { resource_version: ResourceVersion::new(version), ..Metadata::named(name) };
        let fields = json!({"spec": {"holderIdentity": name}});
        Arc::new(Raw::assemble(Lease::KIND, metadata, fields.as_object().expect("an object").clone()))
    }

    fn record(seed: u64, changes: Vec<Change>, results: Vec<Outcome>) -> Record {
        let first = changes[0].object.version();
        let last = changes[changes.len() - 1].object.version();
        let at = Timestamp::from_millis(1_790_000_000_000);
        let id = CommitId::fresh(at, &Randomness::seeded(seed));
        Record { id, at, versions: Versions { first, last }, changes: changes.into(), results }
    }

    fn two_records() -> [Record; 2] {
        let added = Change { kind: ChangeKind::Added, object: lease("a", 7), old: None };
        let modified = Change { kind: ChangeKind::Modified, object: lease("b", 8), old: Some(lease("b", 3)) };
        let deleted = Change { kind: ChangeKind::Deleted, object: lease("a", 9), old: None };
        let same = Outcome::Same(lease("c", 1).key());
        [
            record(1, vec![added, modified], vec![Outcome::Changed(1), same, Outcome::Changed(0)]),
            record(2, vec![deleted], vec![Outcome::Changed(0)]),
        ]
    }

    fn kind_of(_: &str, _: &str, _: &Bytes) -> Kind {
        Lease::KIND
    }

    #[test]
    fn records_read_back_as_they_were_written() {
        let written = two_records();
        let group = group(Nonce(5), written.iter().map(encode).collect());
        let read = decode(&group.body, &kind_of).expect("they read");
        assert_eq!(read.len(), written.len());
        for (read, written) in read.iter().zip(&written) {
            assert_eq!((&read.id, read.at, read.versions), (&written.id, written.at, written.versions));
            assert_eq!(read.results, written.results);
            for (read, written) in read.changes.iter().zip(written.changes.iter()) {
                assert_eq!((read.kind, read.object.body()), (written.kind, written.object.body()));
                assert_eq!(read.old.as_ref().map(|o| o.body()), written.old.as_ref().map(|o| o.body()));
                assert_eq!(read.object.metadata(), written.object.metadata());
            }
        }
    }

    #[test]
    fn a_group_says_where_each_object_finally_stands() {
        let group = group(Nonce(5), two_records().iter().map(encode).collect());
        let found: Vec<_> = group.effects.iter().map(|e| (&*e.key.name, e.version.get(), e.body.clone())).collect();
        let b = lease("b", 8);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], ("a", 9, None));
        assert_eq!((found[1].0, found[1].1), ("b", 8));
        assert_eq!(&group.body[found[1].2.clone().expect("it is there")], &b.body()[..]);
    }

    #[test]
    fn a_body_that_ends_too_early_is_refused() {
        let group = group(Nonce(5), two_records().iter().map(encode).collect());
        for end in [1, 30, group.body.len() - 1] {
            assert!(decode(&group.body.slice(..end), &kind_of).is_err(), "cut at {end}");
        }
    }
}
