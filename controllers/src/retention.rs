//! How long what is over is kept: Replicas, calls of hooks and events.

mod sweeper;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use orion_model::{Object, Timestamp};
use orion_types::Replica;

pub(crate) use self::sweeper::SweepReconciler;
use crate::{labels, wake::Wake};

/// How long a Replica that is over is kept.
const REPLICAS_FOR: Duration = Duration::from_secs(3600);
/// How many that are over are kept of one index.
const REPLICAS_OF_AN_INDEX: usize = 3;

/// Which of the Replicas that are over go now, given those of one owner; wakes when the next one's time has come.
///
/// Only those marked with [`labels::FINISHED_AT`] are judged: the mark is made when their end is seen.
pub(crate) fn sweep<'a>(
    finished: impl IntoIterator<Item = &'a Arc<Replica>>,
    now: Timestamp,
    wake: &mut Wake,
) -> Vec<Arc<Replica>> {
    let mut of_index: BTreeMap<u32, Vec<(Timestamp, &Arc<Replica>)>> = BTreeMap::new();
    for replica in finished {
        if let Some(since) = labels::time(&replica.metadata.annotations, labels::FINISHED_AT)
            && !replica.is_being_deleted()
        {
            of_index.entry(replica.spec.index).or_default().push((since, replica));
        }
    }
    let mut gone = Vec::new();
    for mut kept in of_index.into_values() {
        kept.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.name().cmp(y.name())));
        for (place, (since, replica)) in kept.into_iter().enumerate() {
            let until = since.after(REPLICAS_FOR);
            if place >= REPLICAS_OF_AN_INDEX || until <= now {
                gone.push(replica.clone());
            } else {
                wake.at(until);
            }
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use orion_types::replica::ReplicaSpec;

    use super::*;

    fn finished(name: &str, index: u32, at: i64) -> Arc<Replica> {
        let mut replica = Replica::new(name, ReplicaSpec { index, ..ReplicaSpec::default() });
        let at = Timestamp::from_millis(at * 1000).to_string();
        replica.metadata.annotations.insert(labels::FINISHED_AT.into(), at);
        Arc::new(replica)
    }

    #[test]
    fn what_is_over_is_kept_an_hour_and_at_most_three_of_an_index() {
        let replicas = [
            finished("a", 0, 100),
            finished("b", 0, 200),
            finished("c", 0, 300),
            finished("d", 0, 400),
            finished("e", 1, 50),
            Arc::new(Replica::new("unmarked", ReplicaSpec::default())),
        ];
        let sweep_at = |at: i64| {
            let mut wake = Wake::default();
            let gone = sweep(&replicas, Timestamp::from_millis(at * 1000), &mut wake);
            let names: Vec<_> = gone.iter().map(|replica| replica.name().to_owned()).collect();
            (names, wake.moment().map(Timestamp::as_secs))
        };
        assert_eq!(sweep_at(500), (vec!["a".to_owned()], Some(3650)));
        assert_eq!(sweep_at(3650), (vec!["a".into(), "e".into()], Some(3800)));
        assert_eq!(sweep_at(4000), (vec!["d".into(), "c".into(), "b".into(), "a".into(), "e".into()], None));
    }
}
