//! For how long nodes have been silent, by this process' monotonic clock.
//!
//! Wall clocks only say how much of a silence had passed when it was seen, and within bounds: a clock that is wrong by
//! hours makes a judgement wrong by 10 s at most. A silence that was there when this process first looked counts from
//! that look: whoever leads anew gives everybody a full period of grace.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use orion_model::{Object, Timestamp, Uid};
use orion_types::{Node, node::Contact};
use tokio::time::Instant;

/// After its last contact a node is never said to be silent earlier: its socket was closed, and it had 10 s to return.
const SOONEST: Duration = Duration::from_secs(10);
/// Nor later: four beats of 5 s were missed.
const LATEST: Duration = Duration::from_secs(20);

/// What was seen of each node.
#[derive(Debug, Default)]
pub(super) struct Silence {
    nodes: BTreeMap<Uid, Seen>,
}

/// A silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Silent {
    /// How long it has lasted, as far as can be known.
    pub(crate) lasted: Duration,
    /// Whether its beginning was seen: then the gateway has waited already before it said so.
    pub(crate) beginning_seen: bool,
}

#[derive(Debug)]
enum Seen {
    Heard,
    Silent { contact_since: Option<Timestamp>, counted_from: Instant, beginning_seen: bool },
}

impl Silence {
    /// Takes note of what the gateway says.
    pub(super) fn observe(&mut self, nodes: &[Arc<Node>], at: Instant, now: Timestamp) {
        let before = std::mem::take(&mut self.nodes);
        for node in nodes {
            let Some(observed) = &node.status.observed else { continue };
            let seen = match observed.contact {
                Contact::Connected => Seen::Heard,
                Contact::Silent => silent(before.get(node.uid()), observed.contact_since, at, now),
            };
            self.nodes.insert(node.uid().clone(), seen);
        }
    }

    /// The silence of a node; `None` where it is heard, or was never seen.
    pub(super) fn of(&self, node: &Node, at: Instant) -> Option<Silent> {
        match self.nodes.get(node.uid())? {
            Seen::Heard => None,
            Seen::Silent { counted_from, beginning_seen, .. } => {
                Some(Silent { lasted: at.duration_since(*counted_from), beginning_seen: *beginning_seen })
            }
        }
    }
}

fn silent(before: Option<&Seen>, since: Option<Timestamp>, at: Instant, now: Timestamp) -> Seen {
    match before {
        None => Seen::Silent { contact_since: since, counted_from: at, beginning_seen: false },
        Some(Seen::Silent { contact_since, counted_from, beginning_seen }) if *contact_since == since => {
            Seen::Silent { contact_since: since, counted_from: *counted_from, beginning_seen: *beginning_seen }
        }
        Some(Seen::Heard | Seen::Silent { .. }) => {
            let passed = since.map_or(SOONEST, |since| now.since(since)).clamp(SOONEST, LATEST);
            let counted_from = at.checked_sub(passed).unwrap_or(at);
            Seen::Silent { contact_since: since, counted_from, beginning_seen: true }
        }
    }
}

#[cfg(test)]
mod tests {
    use orion_types::node::{NodeObserved, NodeSpec};

    use super::*;

    const T0: i64 = 1_000_000;

    fn node(contact: Contact, since_secs: i64) -> Arc<Node> {
        let mut node = Node::new("node-1", NodeSpec::default());
        node.metadata.uid = "u".into();
        let contact_since = Some(Timestamp::from_millis((T0 + since_secs) * 1000));
        node.status.observed = Some(NodeObserved { contact, contact_since, ..NodeObserved::default() });
        Arc::new(node)
    }

    /// Seconds, contact and its time.
    type Look = (u64, Contact, i64);
    type Counted = Option<(u64, bool)>;

    /// What is counted at the end of these looks: (seconds, contact, its time), the last also the moment of asking.
    fn counted(looks: &[Look]) -> Counted {
        let (mut silence, start) = (Silence::default(), Instant::now());
        let mut answer = None;
        for (at, contact, since) in looks {
            let node = node(*contact, *since);
            let instant = start + Duration::from_secs(1000 + at);
            let now = Timestamp::from_millis((T0 + i64::try_from(*at).expect("small")) * 1000);
            silence.observe(std::slice::from_ref(&node), instant, now);
            answer = silence.of(&node, instant).map(|silent| (silent.lasted.as_secs(), silent.beginning_seen));
        }
        answer
    }

    #[test]
    fn a_silence_counts_from_the_last_contact_where_its_beginning_was_seen() {
        use Contact::{Connected, Silent};
        let table: [(&[Look], Counted); 8] = [
            (&[(0, Connected, 0)], None),
            (&[(0, Silent, -500)], Some((0, false))),
            (&[(0, Silent, -500), (30, Silent, -500)], Some((30, false))),
            (&[(0, Connected, 0), (20, Silent, 0)], Some((20, true))),
            (&[(0, Connected, 0), (20, Silent, 20)], Some((10, true))),
            (&[(0, Connected, 0), (20, Silent, 99_999)], Some((10, true))),
            (&[(0, Connected, 0), (20, Silent, -99_999), (25, Silent, -99_999)], Some((25, true))),
            (&[(0, Silent, -9), (30, Silent, 20)], Some((10, true))),
        ];
        for (looks, expected) in table {
            assert_eq!(counted(looks), expected, "{looks:?}");
        }
        assert_eq!(counted(&[(0, Silent, -9), (30, Connected, 20), (40, Silent, 40)]), Some((10, true)));
    }
}
