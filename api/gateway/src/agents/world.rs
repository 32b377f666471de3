//! What the gateway sees of the store: its informers' caches, by node.

use std::sync::Arc;

use orion_model::{Key, ResourceVersion, Uid};
use orion_runtime::{Index, Informer, Manager, Select, Subscription};
use orion_types::{JobRun, Node, Replica, Revision, Service};

use super::definition::Source;

/// The informers the gateway reads; all of everything.
#[derive(Clone, Debug)]
pub struct Informers {
    /// Replicas.
    pub replicas: Informer<Replica>,
    /// Revisions, which hold the templates of Services' replicas.
    pub revisions: Informer<Revision>,
    /// Runs, which hold the templates of their attempts.
    pub runs: Informer<JobRun>,
    /// Services, for their labels.
    pub services: Informer<Service>,
    /// Nodes.
    pub nodes: Informer<Node>,
}

impl Informers {
    /// The informers of a manager; where it has them already, those.
    pub fn of(manager: &Manager) -> Self {
        Self {
            replicas: manager.informer(Select::all()),
            revisions: manager.informer(Select::all()),
            runs: manager.informer(Select::all()),
            services: manager.informer(Select::all()),
            nodes: manager.informer(Select::all()),
        }
    }
}

/// The store as the gateway's caches show it.
#[derive(Clone, Debug)]
pub(super) struct World {
    informers: Informers,
    by_node: Index<Replica, String>,
}

/// An object as a cache shows it, and up to which version that cache has seen everything.
pub(super) struct Seen<K> {
    pub(super) object: Option<Arc<K>>,
    pub(super) version: ResourceVersion,
}

impl World {
    pub(super) fn new(informers: Informers) -> Self {
        let by_node = informers.replicas.index(|replica: &Replica| replica.spec.node_name.clone());
        Self { informers, by_node }
    }

    /// Whether all first lists are in.
    pub(super) fn is_synced(&self) -> bool {
        let Informers { replicas, revisions, runs, services, nodes } = &self.informers;
        replicas.is_synced() && revisions.is_synced() && runs.is_synced() && services.is_synced() && nodes.is_synced()
    }

    /// Resolves when all first lists are in.
    pub(super) async fn synced(&self) {
        let Informers { replicas, revisions, runs, services, nodes } = &self.informers;
        tokio::join!(replicas.synced(), revisions.synced(), runs.synced(), services.synced(), nodes.synced());
    }

    pub(super) fn replica_changes(&self) -> Subscription<Replica> {
        self.informers.replicas.subscribe()
    }

    pub(super) fn node_changes(&self) -> Subscription<Node> {
        self.informers.nodes.subscribe()
    }

    pub(super) fn node(&self, name: &str) -> Seen<Node> {
        let nodes = self.informers.nodes.lister().latest();
        Seen { object: nodes.get(&Key::new("", name)), version: nodes.version() }
    }

    pub(super) fn replica(&self, key: &Key<Replica>) -> Seen<Replica> {
        let replicas = self.informers.replicas.lister().latest();
        Seen { object: replicas.get(key), version: replicas.version() }
    }

    /// The part of the world that concerns one node.
    pub(super) fn of_node(&self, node: impl Into<Arc<str>>) -> NodeView {
        NodeView { world: self.clone(), node: node.into() }
    }
}

/// What concerns one node.
#[derive(Clone, Debug)]
pub(super) struct NodeView {
    world: World,
    node: Arc<str>,
}

impl NodeView {
    /// The version up to which the replicas are seen.
    pub(super) fn version(&self) -> ResourceVersion {
        self.world.informers.replicas.lister().latest().version()
    }

    /// The replicas bound to the node.
    pub(super) fn replicas(&self) -> Vec<Arc<Replica>> {
        let replicas = self.world.informers.replicas.lister().latest();
        replicas.by(&self.world.by_node, &*self.node).cloned().collect()
    }

    /// A replica of this incarnation that is bound to the node.
    pub(super) fn replica(&self, key: &Key<Replica>, uid: &Uid) -> Seen<Replica> {
        let mut seen = self.world.replica(key);
        seen.object = seen
            .object
            .filter(|replica| replica.metadata.uid == *uid && replica.spec.node_name.as_deref() == Some(&*self.node));
        seen
    }

    /// The replica of this name that is bound to the node, of whatever namespace: all that original agents say of one.
    pub(super) fn replica_named(&self, name: &str) -> Option<Arc<Replica>> {
        let replicas = self.world.informers.replicas.lister().latest();
        replicas.by(&self.world.by_node, &*self.node).find(|replica| replica.metadata.name == name).cloned()
    }

    /// What a replica runs; `None` while its Revision or Run is not there.
    pub(super) fn source(&self, replica: &Replica) -> Option<Source> {
        let informers = &self.world.informers;
        let namespace = replica.metadata.namespace.as_str();
        if let Some(run) = &replica.spec.run_name {
            let run = informers.runs.lister().latest().get(&Key::new(namespace, run.as_str()))?;
            let (name, template) = (run.spec.job_name.clone(), run.spec.template.clone());
            return Some(Source { name, template, labels: run.metadata.labels.clone() });
        }
        let key = Key::new(namespace, replica.spec.revision.as_str());
        let revision = informers.revisions.lister().latest().get(&key)?;
        let labels = self.service(replica).map(|service| service.spec.labels.clone()).unwrap_or_default();
        let (name, template) = (revision.spec.service_name.clone(), revision.spec.template.clone());
        Some(Source { name, template, labels })
    }

    /// The Service a replica is a copy of, where it is there.
    pub(super) fn service(&self, replica: &Replica) -> Option<Arc<Service>> {
        let name = replica.spec.service_name.as_deref()?;
        self.world.informers.services.lister().latest().get(&Key::new(replica.metadata.namespace.as_str(), name))
    }

    /// The name of the service or job, for a command that carries no definition.
    pub(super) fn workload(&self, replica: &Replica) -> String {
        if let Some(service) = &replica.spec.service_name {
            return service.clone();
        }
        let run = replica.spec.run_name.as_deref().unwrap_or_default();
        let key = Key::new(replica.metadata.namespace.as_str(), run);
        let run_object = self.world.informers.runs.lister().latest().get(&key);
        run_object.map_or_else(|| run.to_owned(), |run| run.spec.job_name.clone())
    }
}
