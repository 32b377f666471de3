//! The newest commits in memory, from which watches are fed; bounded in bytes.

use std::sync::Arc;

use imbl::Vector;
use orion_model::ResourceVersion;

use crate::{limits::RING_BYTES, record::Record};

/// The newest commits, oldest first.
#[derive(Clone)]
pub(crate) struct Ring {
    /// Everything after this version is here.
    start: ResourceVersion,
    records: Vector<Arc<Record>>,
    bytes: usize,
    limit: usize,
}

impl Ring {
    /// An empty ring of a store at this version.
    pub(crate) fn new(start: ResourceVersion) -> Self {
        Self { start, records: Vector::new(), bytes: 0, limit: RING_BYTES }
    }

    /// Adds the next commit and lets the oldest go where they are too many; the newest always stays.
    pub(crate) fn push(&mut self, record: Arc<Record>) {
        self.bytes += record.bytes();
        self.records.push_back(record);
        while self.bytes > self.limit && self.records.len() > 1 {
            let Some(oldest) = self.records.pop_front() else { return };
            self.bytes -= oldest.bytes();
            self.start = oldest.versions.last;
        }
    }

    /// The commits that reach beyond a version, in order, or `None` where some of them are no longer here.
    pub(crate) fn beyond(&self, version: ResourceVersion) -> Option<Vector<Arc<Record>>> {
        if version < self.start {
            return None;
        }
        let index = self.records.binary_search_by(|record| match record.versions.last > version {
            true => std::cmp::Ordering::Greater,
            false => std::cmp::Ordering::Less,
        });
        Some(self.records.skip(index.unwrap_or_else(|index| index)))
    }
}

#[cfg(test)]
mod tests {
    use orion_model::{Change, ChangeKind, CommitId, Lease, Metadata, Randomness, Raw, Resource, Timestamp, Versions};

    use super::*;

    fn record(version: u64) -> Arc<Record> {
        let version = ResourceVersion::new(version);
        let object = Arc::new(Raw::assemble(Lease::KIND, Metadata::named("a"), serde_json::Map::new()));
        let changes = vec![Change { kind: ChangeKind::Added, object, old: None }];
        Arc::new(Record {
            id: CommitId::fresh(Timestamp::UNIX_EPOCH, &Randomness::seeded(version.get())),
            at: Timestamp::UNIX_EPOCH,
            versions: Versions { first: version, last: version },
            changes: changes.into(),
            results: Vec::new(),
        })
    }

    fn beyond(ring: &Ring, version: u64) -> Option<Vec<u64>> {
        let found = ring.beyond(ResourceVersion::new(version))?;
        Some(found.iter().map(|record| record.versions.last.get()).collect())
    }

    #[test]
    fn the_ring_gives_what_follows_a_version() {
        let mut ring = Ring::new(ResourceVersion::new(10));
        (11..=14).for_each(|version| ring.push(record(version)));
        assert_eq!(beyond(&ring, 9), None);
        assert_eq!(beyond(&ring, 10), Some(vec![11, 12, 13, 14]));
        assert_eq!(beyond(&ring, 13), Some(vec![14]));
        assert_eq!(beyond(&ring, 14), Some(vec![]));
    }

    #[test]
    fn the_ring_is_bounded_in_bytes_and_keeps_the_newest() {
        let size = record(1).bytes();
        let mut ring = Ring { limit: size * 2, ..Ring::new(ResourceVersion::ZERO) };
        (1..=5).for_each(|version| ring.push(record(version)));
        assert_eq!(beyond(&ring, 3), Some(vec![4, 5]));
        assert_eq!(beyond(&ring, 2), None);
        let mut tiny = Ring { limit: 1, ..Ring::new(ResourceVersion::ZERO) };
        (1..=2).for_each(|version| tiny.push(record(version)));
        assert_eq!(beyond(&tiny, 1), Some(vec![2]));
    }
}
