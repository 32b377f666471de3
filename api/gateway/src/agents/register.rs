//! Who is connected: one session a node, and what was last heard of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orion_types::{
    Node,
    node::{Contact, NodeObserved, NodePhase},
    protocol::{Hello, close},
};
use tokio::{sync::Notify, time::Instant};

use super::{
    frame::Close,
    line::{Agent, Line},
    liveness::{Patience, Signs, contact},
};

/// All nodes that are, or lately were, connected.
#[derive(Default)]
pub(super) struct Register {
    nodes: Mutex<BTreeMap<String, Presence>>,
    changed: Mutex<BTreeSet<String>>,
    news: Notify,
}

struct Presence {
    line: Option<Arc<Line>>,
    /// What its last hello said; `None` where only the store knows it.
    said: Option<Arc<NodeObserved>>,
    /// When it was last heard before the present line.
    heard: Instant,
    closed: Option<Instant>,
}

/// What is to be said of a node.
pub(super) struct Assessment {
    pub(super) contact: Contact,
    /// Until when that holds if nothing happens.
    pub(super) until: Option<Instant>,
    pub(super) said: Option<Arc<NodeObserved>>,
    pub(super) is_open: bool,
}

impl Register {
    /// Makes a session the node's session, where the rules allow it; an older session of the node is ended.
    ///
    /// # Errors
    /// Why it may not be the node's session.
    pub(super) fn admit(
        &self,
        line: Arc<Line>,
        hello: &Hello,
        stored: Option<&Node>,
        now: Instant,
    ) -> Result<(), Close> {
        let mut nodes = self.lock();
        let present = nodes.get(&line.node).and_then(|presence| presence.line.as_ref());
        let ending = match present {
            Some(present) => Some(succession(&present.agent, &line.agent)?),
            None => {
                may_have_name(&line.agent, stored)?;
                None
            }
        };
        if let (Some(present), Some(ending)) = (present, ending) {
            present.evict(ending);
        }
        let presence =
            Presence { said: Some(Arc::new(said(hello))), heard: now, closed: None, line: Some(line.clone()) };
        nodes.insert(line.node.clone(), presence);
        drop(nodes);
        self.wake(&line.node);
        Ok(())
    }

    /// A session has ended. That of a newer one of the same node stays.
    pub(super) fn leave(&self, line: &Arc<Line>, now: Instant) {
        let mut nodes = self.lock();
        let Some(presence) = nodes.get_mut(&line.node) else { return };
        if presence.line.as_ref().is_none_or(|present| !Arc::ptr_eq(present, line)) {
            return;
        }
        presence.heard = line.heard();
        presence.closed = Some(now);
        presence.line = None;
        drop(nodes);
        self.wake(&line.node);
    }

    /// Takes a node that the store says is connected as heard now.
    pub(super) fn expect(&self, node: &str, now: Instant) {
        let presence = Presence { line: None, said: None, heard: now, closed: None };
        self.lock().entry(node.to_owned()).or_insert(presence);
    }

    /// Lets go of a node that has no session.
    pub(super) fn forget(&self, node: &str) {
        let mut nodes = self.lock();
        if nodes.get(node).is_some_and(|presence| presence.line.is_none()) {
            nodes.remove(node);
        }
    }

    /// The session of a node.
    pub(super) fn line(&self, node: &str) -> Option<Arc<Line>> {
        self.lock().get(node)?.line.clone()
    }

    /// The nodes that are known here.
    pub(super) fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// What is to be said of a node now; `None` for one that is not known here.
    pub(super) fn assess(&self, node: &str, patience: Patience, now: Instant) -> Option<Assessment> {
        let nodes = self.lock();
        let presence = nodes.get(node)?;
        let judge = |heard| contact(Signs { heard, closed: presence.closed }, patience, now);
        let (contact, until) = match &presence.line {
            None => judge(presence.heard),
            Some(line) => {
                if judge(line.heard()).0 == Contact::Silent {
                    line.found_silent(true);
                }
                // Asked once more: what was heard before the note was made has not woken anybody.
                let judged = judge(line.heard());
                if judged.0 == Contact::Connected {
                    line.found_silent(false);
                }
                judged
            }
        };
        Some(Assessment { contact, until, said: presence.said.clone(), is_open: presence.line.is_some() })
    }

    /// Says that something is to be said of a node.
    pub(super) fn wake(&self, node: &str) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(node.to_owned());
        self.news.notify_one();
    }

    /// The nodes of which something is to be said.
    ///
    /// # Cancel safety
    /// May be dropped at any point; nothing is lost.
    pub(super) async fn changed(&self) -> BTreeSet<String> {
        loop {
            let changed = std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner));
            if !changed.is_empty() {
                return changed;
            }
            self.news.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Presence>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a hello says of the node, but for the contact, which the gateway judges.
fn said(hello: &Hello) -> NodeObserved {
    // Labels under `orion/` are Orion's own; an agent cannot place itself by them.
    let labels = hello.labels.iter().filter(|(name, _)| !name.starts_with("orion/"));
    NodeObserved {
        node_id: hello.node_id.clone(),
        address: hello.address.clone(),
        labels: labels.map(|(name, value)| (name.clone(), value.clone())).collect(),
        capacity: hello.capacity.unwrap_or_default(),
        agent_version: hello.agent_version.clone(),
        agent_id: hello.agent_id.clone(),
        instance_id: hello.instance_id.clone(),
        legacy: hello.protocol.is_none(),
        ..NodeObserved::default()
    }
}

/// How the present session ends for a new one of the same node.
fn succession(present: &Agent, new: &Agent) -> Result<Close, Close> {
    match (present, new) {
        (Agent::Known { agent: a, instance: old }, Agent::Known { agent: b, instance }) if a == b => {
            if old == instance {
                Ok(Close::new(1000, "this agent has connected again"))
            } else if is_later(instance, old) {
                Ok(Close::new(close::SUPERSEDED, "a later start of this agent has connected"))
            } else {
                Err(Close::new(close::SUPERSEDED, "a later start of this agent is connected"))
            }
        }
        (Agent::Original(a), Agent::Original(b)) if a == b => Ok(Close::new(1000, "this agent has connected again")),
        _ => Err(Close::new(close::NAME_TAKEN, "another agent is connected under this node's name")),
    }
}

/// A name stays with its agent until its node is given up.
fn may_have_name(new: &Agent, stored: Option<&Node>) -> Result<(), Close> {
    let Some(node) = stored.filter(|node| node.status.phase != NodePhase::Lost) else { return Ok(()) };
    let holder = node.status.observed.as_ref().map_or("", |observed| observed.agent_id.as_str());
    let is_holder = matches!(new, Agent::Known { agent, .. } if agent == holder);
    if holder.is_empty() || is_holder {
        return Ok(());
    }
    Err(Close::new(close::NAME_TAKEN, "another agent holds this node's name until the node is lost or forgotten"))
}

fn is_later(instance: &str, than: &str) -> bool {
    (instance.len(), instance) > (than.len(), than)
}

#[cfg(test)]
mod tests {
    use orion_types::node::NodeSpec;

    use super::*;

    fn known(agent: &str, instance: &str) -> Agent {
        Agent::Known { agent: agent.into(), instance: instance.into() }
    }

    fn original(id: &str) -> Agent {
        Agent::Original(id.into())
    }

    #[test]
    fn a_later_start_supersedes_the_same_start_replaces_and_another_agent_is_refused() {
        let code = |result: Result<Close, Close>| result.map(|close| close.code).map_err(|close| close.code);
        let table = [
            (known("a", "9"), known("a", "10"), Ok(close::SUPERSEDED)),
            (known("a", "10"), known("a", "10"), Ok(1000)),
            (known("a", "10"), known("a", "9"), Err(close::SUPERSEDED)),
            (known("a", "1"), known("b", "2"), Err(close::NAME_TAKEN)),
            (known("a", "1"), original("a"), Err(close::NAME_TAKEN)),
            (original("x"), known("a", "1"), Err(close::NAME_TAKEN)),
            (original("x"), original("x"), Ok(1000)),
            (original("x"), original("y"), Err(close::NAME_TAKEN)),
        ];
        for (present, new, expected) in table {
            assert_eq!(code(succession(&present, &new)), expected, "{present:?}, {new:?}");
        }
    }

    #[test]
    fn a_name_stays_with_its_agent_until_the_node_is_lost() {
        let node = |agent: &str, phase| {
            let mut node = Node::new("node-1", NodeSpec::default());
            node.status.phase = phase;
            node.status.observed = Some(NodeObserved { agent_id: agent.into(), ..NodeObserved::default() });
            node
        };
        let table = [
            (None, known("b", "1"), true),
            (Some(Node::new("node-1", NodeSpec::default())), known("b", "1"), true),
            (Some(node("", NodePhase::Ready)), known("b", "1"), true),
            (Some(node("b", NodePhase::Unknown)), known("b", "1"), true),
            (Some(node("a", NodePhase::Unknown)), known("b", "1"), false),
            (Some(node("a", NodePhase::Ready)), original("b"), false),
            (Some(node("a", NodePhase::Lost)), known("b", "1"), true),
        ];
        for (stored, new, allowed) in table {
            assert_eq!(may_have_name(&new, stored.as_ref()).is_ok(), allowed, "{stored:?}, {new:?}");
        }
    }
}
