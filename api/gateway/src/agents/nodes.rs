//! Writes what the gateway knows of nodes into the store: changes only, one write of a node at a time.
//!
//! ```text
//! hello, close, return ──► register ──wake──┐
//! deadline of silence ──────────────────────┼─► assess ─► plan beside the stored Node ─► write, if it differs
//! Node changed in the store ────────────────┘
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use orion_model::{
    ClientError, Commit, Key, Object, Op, Part, Precondition, Resource, Timestamp, Whole, Write,
    backoff::{Backoff, Retry},
};
use orion_types::{
    Node,
    node::{NodeObserved, NodeSpec},
};
use serde_json::json;
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::Instant,
};

use super::{Shared, own_writes::OwnWrites, register::Assessment};

/// Writes under way at a time.
const MAX_WRITES: usize = 32;

/// A look at all nodes at least this often, whatever the deadlines say.
const IDLE: Duration = Duration::from_secs(60);

/// Keeps the stored Nodes as the gateway sees them.
pub(super) struct Nodes {
    shared: Arc<Shared>,
    own: OwnWrites<Node>,
    dirty: BTreeSet<String>,
    /// Whose write each task makes.
    writing: BTreeMap<Id, String>,
    writes: JoinSet<Result<Node, ClientError>>,
    retries: BTreeMap<String, (Retry, Instant)>,
    next_look: Instant,
}

impl Nodes {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            own: OwnWrites::default(),
            dirty: BTreeSet::new(),
            writing: BTreeMap::new(),
            writes: JoinSet::new(),
            retries: BTreeMap::new(),
            next_look: Instant::now() + IDLE,
        }
    }

    /// Runs until the gateway closes; writes under way are abandoned then, and made again by the next gateway.
    pub(super) async fn run(mut self) {
        let shared = self.shared.clone();
        let mut changes = shared.world.node_changes();
        loop {
            self.work();
            tokio::select! {
                biased;
                () = shared.closing.cancelled() => return,
                names = shared.register.changed() => self.dirty.extend(names),
                changes = changes.next() => match changes {
                    Some(changes) => {
                        let names = changes.changes.iter().map(|change| change.either().metadata.name.clone());
                        self.dirty.extend(names);
                    }
                    None => return,
                },
                Some(outcome) = self.writes.join_next_with_id() => self.ended(outcome),
                () = tokio::time::sleep_until(self.next_look) => self.look_at_all(),
            }
        }
    }

    fn look_at_all(&mut self) {
        self.next_look = Instant::now() + IDLE;
        self.dirty.extend(self.shared.register.names());
    }

    fn work(&mut self) {
        let now = Instant::now();
        for name in std::mem::take(&mut self.dirty) {
            if self.writing.values().any(|written| *written == name) || self.writes.len() >= MAX_WRITES {
                // The end of a write has it looked at again.
                self.dirty.insert(name);
            } else if let Some((_, at)) = self.retries.get(&name).filter(|(_, at)| now < *at) {
                self.next_look = self.next_look.min(*at);
            } else {
                self.assess(name, now);
            }
        }
    }

    fn assess(&mut self, name: String, now: Instant) {
        let seen = self.shared.world.node(&name);
        let stored = self.own.newest(&Key::new("", name.as_str()), seen.object, seen.version);
        let Some(assessment) = self.shared.register.assess(&name, self.shared.settings.patience(), now) else {
            if stored.is_some_and(|node| node.is_connected()) {
                self.shared.register.expect(&name, now);
                self.next_look = self.next_look.min(now + self.shared.settings.patience().open);
            }
            return;
        };
        if let Some(until) = assessment.until {
            self.next_look = self.next_look.min(until);
        }
        if stored.is_none() && !assessment.is_open {
            self.shared.register.forget(&name);
            self.shared.live.forget(&name);
            return;
        }
        if let Some(write) = plan(&name, stored.as_deref(), &assessment, self.shared.client.clock().now()) {
            self.write(name, write);
        }
    }

    fn write(&mut self, name: String, writes: Vec<Write>) {
        let client = self.shared.client.clone();
        let task = self.writes.spawn(async move {
            let committed = client.commit(Commit { writes, ..Commit::default() }).await?;
            let written = committed.into_single().ok_or_else(|| ClientError::Unavailable("no result".into()))?;
            Node::decode(&written.object).map_err(Into::into)
        });
        self.writing.insert(task.id(), name);
    }

    fn ended(&mut self, outcome: Result<(Id, Result<Node, ClientError>), JoinError>) {
        let (id, result) = outcome.unwrap_or_else(|error| {
            tracing::error!(%error, "a write of a Node has panicked");
            (error.id(), Err(ClientError::Unavailable("its write has panicked".into())))
        });
        if let Some(name) = self.writing.remove(&id) {
            self.written(name, result);
        }
    }

    fn written(&mut self, name: String, result: Result<Node, ClientError>) {
        match result {
            Ok(node) => {
                tracing::debug!(node = name, contact = ?node.status.observed.as_ref().map(|o| o.contact), "a Node is written");
                self.own.note(Arc::new(node));
                self.retries.remove(&name);
            }
            Err(error) => {
                tracing::warn!(node = name, %error, "a Node could not be written");
                let fresh = || Retry::new(Backoff::reconnecting(), self.shared.client.randomness().clone());
                let (retry, at) = self.retries.entry(name.clone()).or_insert_with(|| (fresh(), Instant::now()));
                *at = Instant::now() + retry.next_delay();
            }
        }
        self.dirty.insert(name);
    }
}

/// What is to be written of a node; `None` where the store says it already.
fn plan(name: &str, stored: Option<&Node>, assessment: &Assessment, now: Timestamp) -> Option<Vec<Write>> {
    let known = stored.and_then(|node| node.status.observed.as_ref());
    let base = assessment.said.as_deref().or(known)?;
    let since = known.filter(|known| known.contact == assessment.contact).and_then(|known| known.contact_since);
    let observed =
        NodeObserved { contact: assessment.contact, contact_since: Some(since.unwrap_or(now)), ..base.clone() };
    if known == Some(&observed) {
        return None;
    }
    let Some(node) = stored else {
        return Some(vec![create(name, observed)?]);
    };
    let write = |patch| Write {
        key: node.object_key(),
        op: Op::Merge(patch, Part::Status),
        precondition: Precondition { version: None, uid: Some(node.metadata.uid.clone()) },
    };
    // What is said replaces all that was said before.
    Some(vec![write(json!({"status": {"observed": null}})), write(json!({"status": {"observed": observed}}))])
}

fn create(name: &str, observed: NodeObserved) -> Option<Write> {
    let mut node = Node::new(name, NodeSpec::default());
    node.status.observed = Some(observed);
    let body = node.encode().inspect_err(|error| tracing::error!(%error, "a Node does not encode")).ok()?;
    let key = Key::<Node>::new("", name).of_kind(Node::KIND);
    Some(Write { key, op: Op::CreateWhole(body), precondition: Precondition::NONE })
}

#[cfg(test)]
mod tests {
    use orion_types::node::Contact;

    use super::*;

    fn assessment(contact: Contact, said: Option<NodeObserved>) -> Assessment {
        Assessment { contact, until: None, said: said.map(Arc::new), is_open: true }
    }

    fn said(address: &str) -> Option<NodeObserved> {
        Some(NodeObserved { address: address.into(), ..NodeObserved::default() })
    }

    fn stored(observed: Option<NodeObserved>) -> Node {
        let mut node = Node::new("node-1", NodeSpec::default());
        node.status.observed = observed;
        node
    }

    #[test]
    fn only_a_change_is_written_and_its_time_is_kept() {
        let (t1, t2) = (Timestamp::UNIX_EPOCH, Timestamp::from_millis(1000));
        let connected = |address: &str| NodeObserved {
            address: address.into(),
            contact: Contact::Connected,
            contact_since: Some(t1),
            ..NodeObserved::default()
        };
        let node = stored(Some(connected("a")));
        let change = |node: Option<&Node>, contact, said| plan("node-1", node, &assessment(contact, said), t2);
        assert_eq!(change(Some(&node), Contact::Connected, said("a")), None);
        assert_eq!(change(Some(&node), Contact::Connected, None), None);
        let written =
            |writes: Option<Vec<Write>>| match writes.and_then(|mut writes| writes.pop()).map(|write| write.op) {
                Some(Op::Merge(patch, Part::Status)) => patch["status"]["observed"].clone(),
                Some(Op::CreateWhole(body)) => body["status"]["observed"].clone(),
                other => panic!("{other:?}"),
            };
        let moved = written(change(Some(&node), Contact::Connected, said("b")));
        assert_eq!((&moved["address"], &moved["contactSince"]), (&json!("b"), &json!(t1)));
        let silent = written(change(Some(&node), Contact::Silent, None));
        assert_eq!((&silent["contact"], &silent["contactSince"]), (&json!("silent"), &json!(t2)));
        assert_eq!(silent["address"], "a");
        assert_eq!(written(change(None, Contact::Connected, said("a")))["address"], "a");
        assert_eq!(written(change(Some(&stored(None)), Contact::Connected, said("a")))["address"], "a");
        assert_eq!(change(Some(&stored(None)), Contact::Silent, None), None, "a declared node that was never seen");
    }
}
