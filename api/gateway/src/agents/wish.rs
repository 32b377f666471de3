//! What a node should do about a replica: a pure function of the object as the store has it.

use orion_model::{Object, ResourceVersion};
use orion_types::{
    Replica,
    replica::{Disposition, phase},
};

/// What a node should do about a replica. The version is the one commands about it carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Run it by this version of its definition.
    Run(ResourceVersion),
    /// Nothing yet: it waits for hooks, or was given up with its node and is about to be judged anew. What there is of
    /// it is left as it is.
    Wait,
    /// End it, and say so when nothing of it is left.
    Stop(ResourceVersion),
    /// It is over, or not this node's: if anything of it still runs, end that.
    Over(ResourceVersion),
}

/// What a node should do about a replica that is bound to it; `None` for one that is not there.
pub(super) fn wish(replica: Option<&Replica>) -> Wish {
    let Some(replica) = replica else { return Wish::Over(ResourceVersion::ZERO) };
    let version = replica.metadata().spec_version;
    if is_given_up(replica) {
        // Its process may be the only one. Now that its node is heard it becomes active again, and whoever made it ends
        // one copy too many.
        Wish::Wait
    } else if phase(replica).is_finished() {
        Wish::Over(version)
    } else if replica.is_stop_wished() {
        Wish::Stop(version)
    } else if !replica.spec.gates.is_empty() {
        Wish::Wait
    } else {
        Wish::Run(version)
    }
}

/// Whether it counts as over only because its node was given up.
fn is_given_up(replica: &Replica) -> bool {
    if replica.status.disposition != Disposition::Lost || replica.is_stop_wished() {
        return false;
    }
    let mut taken_back = replica.clone();
    taken_back.status.disposition = Disposition::Active;
    !phase(&taken_back).is_finished()
}

#[cfg(test)]
mod tests {
    use orion_model::Timestamp;
    use orion_types::replica::{Exit, Observed, ProcessState, ReplicaSpec, Stop};

    use super::*;

    const V: ResourceVersion = ResourceVersion::new(7);

    fn replica(change: impl FnOnce(&mut Replica)) -> Replica {
        let spec = ReplicaSpec { node_name: Some("node-1".into()), ..ReplicaSpec::default() };
        let mut replica = Replica::new("web-0-abcde", spec);
        replica.metadata.spec_version = V;
        change(&mut replica);
        replica
    }

    fn says(state: ProcessState) -> Option<Observed> {
        Some(Observed { state, exit: Some(Exit { code: Some(0), ..Exit::default() }), ..Observed::default() })
    }

    #[test]
    fn what_a_node_should_do_follows_from_the_replica() {
        let stop = || Some(Stop { reason: "ScaledDown".into() });
        let table: [(&str, Replica, Wish); 12] = [
            ("bound", replica(|_| {}), Wish::Run(V)),
            ("running", replica(|r| r.status.observed = says(ProcessState::Ready)), Wish::Run(V)),
            ("gated", replica(|r| r.spec.gates = vec!["a:b".into()]), Wish::Wait),
            ("its end is wished", replica(|r| r.spec.stop = stop()), Wish::Stop(V)),
            (
                "gated, and its end is wished",
                replica(|r| {
                    r.spec.gates = vec!["a:b".into()];
                    r.spec.stop = stop();
                }),
                Wish::Stop(V),
            ),
            (
                "deletion implies the wish",
                replica(|r| r.metadata.deletion_timestamp = Some(Timestamp::UNIX_EPOCH)),
                Wish::Stop(V),
            ),
            (
                "stopped",
                replica(|r| {
                    r.spec.stop = stop();
                    r.status.observed = says(ProcessState::Stopped);
                }),
                Wish::Over(V),
            ),
            ("given up", replica(|r| r.status.disposition = Disposition::Lost), Wish::Wait),
            (
                "given up, and its end is wished",
                replica(|r| {
                    r.status.disposition = Disposition::Lost;
                    r.spec.stop = stop();
                }),
                Wish::Over(V),
            ),
            (
                "given up, and deleted",
                replica(|r| {
                    r.status.disposition = Disposition::Lost;
                    r.metadata.deletion_timestamp = Some(Timestamp::UNIX_EPOCH);
                }),
                Wish::Over(V),
            ),
            (
                "given up, a finished attempt",
                replica(|r| {
                    r.status.disposition = Disposition::Lost;
                    r.spec.run_name = Some("run".into());
                    r.status.observed = says(ProcessState::Exited);
                }),
                Wish::Over(V),
            ),
            (
                "a finished attempt",
                replica(|r| {
                    r.spec.run_name = Some("run".into());
                    r.status.observed = says(ProcessState::Exited);
                }),
                Wish::Over(V),
            ),
        ];
        for (case, replica, expected) in table {
            assert_eq!(wish(Some(&replica)), expected, "{case}");
        }
        assert_eq!(wish(None), Wish::Over(ResourceVersion::ZERO));
    }
}
