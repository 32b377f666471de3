//! What of a deleted Config goes next: a pure function of what still belongs to it.

use std::{collections::BTreeSet, sync::Arc};

use orion_model::Object;
use orion_types::{
    Capacity, Config, Job, Node, Plugin, Replica, Service, applied::CONFIG_LABEL, replica::Phase, service::Dependency,
};
use serde_json::{Map, Value};

/// What belongs to the Config, of each kind.
pub(super) struct Input {
    pub(super) services: Vec<Arc<Service>>,
    pub(super) jobs: Vec<Arc<Job>>,
    pub(super) plugins: Vec<Arc<Plugin>>,
    pub(super) replicas: Vec<Arc<Replica>>,
    pub(super) nodes: Vec<Arc<Node>>,
}

/// What goes now.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) services: Vec<Arc<Service>>,
    pub(super) jobs: Vec<Arc<Job>>,
    pub(super) plugins: Vec<Arc<Plugin>>,
    /// Nodes that were never more than declared.
    pub(super) undeclared: Vec<Arc<Node>>,
    /// Nodes that stay, without what the Config said of them.
    pub(super) released: Vec<Arc<Node>>,
    /// What is still there; the Config goes when nothing is. Nodes go, or are let go, at once.
    pub(super) left: Option<String>,
}

pub(super) fn plan(input: &Input) -> Plan {
    let mut plan = Plan::default();
    let (undeclared, released) =
        input.nodes.iter().cloned().partition(|node: &Arc<Node>| node.status.observed.is_none());
    (plan.undeclared, plan.released) = (undeclared, released);
    let ending = ending(input);
    if ending.is_empty() {
        plan.take_down(input);
    }
    // Hooks of what still runs may need them.
    if input.services.is_empty() && input.jobs.is_empty() && ending.is_empty() {
        plan.plugins.clone_from(&input.plugins);
    }
    plan.left = left(input, &ending);
    plan
}

impl Plan {
    /// Those that nobody depends on who is still there; all, should they depend on each other in a circle.
    fn take_down(&mut self, input: &Input) {
        let of_services = input.services.iter().flat_map(|service| &service.spec.dependencies);
        let of_jobs = input.jobs.iter().flat_map(|job| &job.spec.dependencies);
        let needed: BTreeSet<&str> = of_services.chain(of_jobs).map(|Dependency { name, .. }| name.as_str()).collect();
        self.services = input.services.iter().filter(|service| !needed.contains(service.name())).cloned().collect();
        self.jobs = input.jobs.iter().filter(|job| !needed.contains(job.name())).cloned().collect();
        if self.services.is_empty() && self.jobs.is_empty() {
            self.services.clone_from(&input.services);
            self.jobs.clone_from(&input.jobs);
        }
        self.services.retain(|service| !service.is_being_deleted());
        self.jobs.retain(|job| !job.is_being_deleted());
    }
}

/// The replicas on their way out whose end the next ones wait for: their creator is gone. Nobody waits for a node that
/// is silent.
fn ending(input: &Input) -> Vec<&str> {
    let services: BTreeSet<&str> = input.services.iter().map(|service| service.name()).collect();
    let has_creator = |replica: &Replica| match &replica.spec.service_name {
        Some(service) => services.contains(service.as_str()),
        // An attempt of a Run: its job's label tells.
        None => replica
            .metadata
            .labels
            .get(crate::labels::JOB)
            .is_some_and(|job| input.jobs.iter().any(|known| known.name() == job)),
    };
    let is_heard = |replica: &Replica| {
        replica.status.phase != Phase::Unknown
            && replica.status.disposition == orion_types::replica::Disposition::Active
    };
    let ending = input
        .replicas
        .iter()
        .filter(|replica| !replica.status.phase.is_finished() && is_heard(replica) && !has_creator(replica));
    ending.map(|replica| replica.name()).collect()
}

fn left(input: &Input, ending: &[&str]) -> Option<String> {
    let services = input.services.iter().map(|service| format!("service {}", service.name()));
    let jobs = input.jobs.iter().map(|job| format!("job {}", job.name()));
    let plugins = input.plugins.iter().map(|plugin| format!("plugin {}", plugin.name()));
    let replicas = ending.iter().map(|name| format!("replica {name}"));
    let left: Vec<String> = replicas.chain(services).chain(jobs).chain(plugins).take(5).collect();
    (!left.is_empty()).then(|| format!("waits for the end of {}", left.join(", ")))
}

/// Takes back what the Config said of a node.
pub(super) fn release(node: &mut Node, config: &Config) {
    let name = node.metadata.name.clone();
    let is_its = |declared: &&Map<String, Value>| declared.get("name").and_then(Value::as_str) == Some(&name);
    for declared in config.spec.nodes.iter().filter(is_its) {
        let labels = declared.get("labels").and_then(Value::as_object);
        labels.into_iter().flat_map(Map::keys).for_each(|label| drop(node.spec.labels.remove(label)));
        if declared.contains_key("address") {
            node.spec.address = None;
        }
        if declared.contains_key("capacity") {
            node.spec.capacity = Capacity::default();
        }
    }
    node.metadata.labels.remove(CONFIG_LABEL);
}

#[cfg(test)]
mod tests {
    use orion_types::{
        applied::ConfigSpec,
        job::JobSpec,
        node::{NodeObserved, NodeSpec},
        plugin::PluginSpec,
        replica::ReplicaSpec,
        service::{DependencyCondition, ServiceSpec},
    };
    use serde_json::json;

    use super::*;

    fn on(names: &[&str]) -> Vec<Dependency> {
        let dependency = |name: &&str| Dependency { name: (*name).into(), condition: DependencyCondition::Started };
        names.iter().map(dependency).collect()
    }

    fn service(name: &str, dependencies: &[&str]) -> Arc<Service> {
        Arc::new(Service::new(name, ServiceSpec { dependencies: on(dependencies), ..ServiceSpec::default() }))
    }

    fn replica(service: &str, phase: Phase) -> Arc<Replica> {
        let spec = ReplicaSpec { service_name: Some(service.into()), ..ReplicaSpec::default() };
        let mut replica = Replica::new(format!("{service}-0-x"), spec);
        replica.status.phase = phase;
        Arc::new(replica)
    }

    fn config() -> Config {
        let nodes = vec![json!({"name": "n1", "labels": {"zone": "eu"}, "capacity": {"cpu": 2}})];
        let nodes = nodes.into_iter().map(|node| node.as_object().expect("an object").clone()).collect();
        Config::new("shop", ConfigSpec { nodes, ..ConfigSpec::default() })
    }

    fn gone(services: &[Arc<Service>], replicas: &[Arc<Replica>]) -> (Vec<String>, bool, Option<String>) {
        let plan = plan(&Input {
            services: services.to_vec(),
            jobs: vec![],
            plugins: vec![Arc::new(Plugin::new("p", PluginSpec::default()))],
            replicas: replicas.to_vec(),
            nodes: vec![],
        });
        let names = plan.services.iter().map(|service| service.name().to_owned()).collect();
        (names, !plan.plugins.is_empty(), plan.left)
    }

    #[test]
    fn dependents_go_before_what_they_depend_on_and_plugins_last() {
        let (db, api, web) = (service("db", &[]), service("api", &["db"]), service("web", &["api"]));
        let all = [db.clone(), api.clone(), web.clone()];
        let running = [replica("db", Phase::Ready), replica("api", Phase::Ready), replica("web", Phase::Ready)];
        assert_eq!(gone(&all, &running).0, ["web"]);
        let stopping = [replica("db", Phase::Ready), replica("api", Phase::Ready), replica("web", Phase::Stopping)];
        assert_eq!(gone(&all[..2], &stopping).0, [""; 0], "web's process is not gone yet");
        let stopped = [replica("db", Phase::Ready), replica("api", Phase::Ready), replica("web", Phase::Stopped)];
        assert_eq!(gone(&all[..2], &stopped).0, ["api"]);
        assert_eq!(gone(&all[..1], &[]), (vec!["db".to_owned()], false, gone(&all[..1], &[]).2));
        assert!(!gone(&[], &[replica("db", Phase::Stopping)]).1);
        let (_, plugins, left) = gone(&[], &[]);
        assert_eq!((plugins, left.as_deref()), (true, Some("waits for the end of plugin p")));
    }

    #[test]
    fn a_circle_and_a_silent_node_hold_nothing_up() {
        assert_eq!(gone(&[service("a", &["b"]), service("b", &["a"])], &[]).0, ["a", "b"]);
        assert_eq!(gone(&[service("a", &[])], &[replica("b", Phase::Unknown)]).0, ["a"]);
        assert_eq!(gone(&[service("a", &[])], &[replica("b", Phase::Lost)]).0, ["a"]);
    }

    #[test]
    fn jobs_are_part_of_the_order() {
        let job = JobSpec { dependencies: on(&["db"]), ..JobSpec::default() };
        let plan = plan(&Input {
            services: vec![service("db", &[]), service("web", &["migrate"])],
            jobs: vec![Arc::new(Job::new("migrate", job))],
            plugins: vec![],
            replicas: vec![],
            nodes: vec![],
        });
        assert_eq!(plan.services.iter().map(|one| one.name()).collect::<Vec<_>>(), ["web"]);
        assert!(plan.jobs.is_empty());
    }

    #[test]
    fn a_live_node_stays_without_what_was_declared_and_a_mere_declaration_goes() {
        let config = config();
        let mut live = Node::new("n1", NodeSpec::default());
        live.spec.labels = [("zone".into(), "eu".into()), ("rack".into(), "1".into())].into();
        live.spec.capacity = serde_json::from_value(json!({"cpu": 2})).expect("a capacity");
        live.metadata.labels.insert(CONFIG_LABEL.into(), "shop".into());
        live.status.observed = Some(NodeObserved::default());
        let unseen = Arc::new(Node::new("n2", NodeSpec::default()));
        let plan = plan(&Input {
            services: vec![],
            jobs: vec![],
            plugins: vec![],
            replicas: vec![],
            nodes: vec![Arc::new(live.clone()), unseen],
        });
        assert_eq!(plan.undeclared.iter().map(|node| node.name()).collect::<Vec<_>>(), ["n2"]);
        assert_eq!(plan.released.iter().map(|node| node.name()).collect::<Vec<_>>(), ["n1"]);
        release(&mut live, &config);
        assert_eq!(live.spec.labels, [("rack".to_owned(), "1".to_owned())].into());
        assert_eq!((live.spec.capacity, live.metadata.labels.len()), (Capacity::default(), 0));
    }
}
