//! What a change of a Service does: nothing, something in place, or a restart; and whether old and new may meet.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    process::{Template, fields_of},
    service::{Replicas, ServiceSpec},
};

/// What a change does to what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Something, under the same pids.
    InPlace,
    /// Replicas are replaced.
    Restarts {
        /// The fields of the template that say so, sorted.
        fields: Vec<String>,
    },
}

/// What becoming `new` does to the replicas of a service that was `old`.
pub fn effect(old: &ServiceSpec, new: &ServiceSpec) -> Effect {
    let fields = changed_template_fields(&old.process.template, &new.process.template);
    if !fields.is_empty() {
        Effect::Restarts { fields }
    } else if old == new {
        Effect::None
    } else {
        Effect::InPlace
    }
}

/// The top-level fields in which two specs differ, sorted.
pub fn changed_fields<T: Serialize>(old: &T, new: &T) -> Vec<String> {
    differing(&fields_of(old), &fields_of(new))
}

fn changed_template_fields(old: &Template, new: &Template) -> Vec<String> {
    if old == new { Vec::new() } else { differing(&fields_of(old), &fields_of(new)) }
}

fn differing(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<String> {
    let mut names: Vec<&String> =
        old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name)).collect();
    names.sort();
    names.dedup();
    names.into_iter().cloned().collect()
}

/// Why a new replica cannot run beside the one it replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SurgeBlock {
    /// At most one process may live.
    Singleton,
    /// Each eligible node's static port is taken by a replica of this service.
    StaticPort {
        /// The port.
        port: u16,
        /// How many nodes may run the service.
        nodes: u32,
    },
}

impl std::fmt::Display for SurgeBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Singleton => f.write_str("a singleton has at most one live process"),
            Self::StaticPort { port, nodes: 1 } => write!(f, "port {port} is static and one node may run it"),
            Self::StaticPort { port, nodes } => {
                write!(f, "port {port} is static and all {nodes} nodes that may run it have a replica")
            }
        }
    }
}

/// Whether by the spec alone no surge copy can be placed, given how many nodes may run the service; then one old
/// replica is stopped before its successor starts. Whether a node has room otherwise is the scheduler's to find.
pub fn surge_block(spec: &ServiceSpec, eligible_nodes: u32) -> Option<SurgeBlock> {
    if spec.singleton {
        return Some(SurgeBlock::Singleton);
    }
    let port = spec.process.template.ports.iter().find_map(|port| port.exclusive())?.0;
    let nodes = if spec.placement.node.is_some() { eligible_nodes.min(1) } else { eligible_nodes };
    let replicas = match spec.replicas {
        Replicas::Count(count) => count,
        Replicas::EachNode => nodes,
    };
    (nodes > 0 && replicas >= nodes).then_some(SurgeBlock::StaticPort { port, nodes })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(fields: Value) -> ServiceSpec {
        serde_json::from_value(fields).expect("a spec")
    }

    fn restarts(fields: &[&str]) -> Effect {
        Effect::Restarts { fields: fields.iter().map(|field| (*field).to_owned()).collect() }
    }

    /// SPEC.md section 3, "What restarts".
    #[test]
    fn only_the_template_restarts() {
        let old = spec(json!({"command": "serve", "env": {"A": "1"}}));
        let with = |fields: Value| {
            let mut new = serde_json::to_value(&old).expect("serialises");
            fields.as_object().expect("fields").iter().for_each(|(name, value)| new[name] = value.clone());
            effect(&old, &spec(new))
        };
        let restarting = [
            ("command", json!("serve2")),
            ("entry", json!("main.ts")),
            ("runtime", json!("bun")),
            ("type", json!("worker")),
            ("release", json!("2")),
            ("artifact", json!({"url": "https://x"})),
            ("path", json!("web")),
            ("env", json!({"A": "2"})),
            ("envFrom", json!([{"secret": "b"}])),
            ("ports", json!([{"port": 80}])),
            ("user", json!("www")),
            ("shell", json!(true)),
            ("restartedAt", json!("2026-11-24T10:00:00Z")),
        ];
        for (field, value) in restarting {
            assert_eq!(with(json!({ field: value })), restarts(&[field]), "{field}");
        }
        let in_place = [
            ("replicas", json!(3)),
            ("labels", json!({"a": "b"})),
            ("placement", json!({"nodes": "zone=eu"})),
            ("update", json!({"maxSurge": 2})),
            ("restart", json!({"maxDelay": "5s"})),
            ("stop", json!({"timeout": "5s"})),
            ("logs", json!({"maxFiles": 2})),
            ("health", json!({"readiness": {"exec": {"command": "ok"}}})),
            ("resources", json!({"cpu": 1, "limits": {"memory": 64}})),
            ("autoscaling", json!({"enabled": true})),
            ("dependencies", json!(["db"])),
            ("hooks", json!({"beforeStart": "a:b"})),
            ("disconnect", json!({"lostAfter": "90s"})),
            ("singleton", json!(true)),
        ];
        for (field, value) in in_place {
            assert_eq!(with(json!({ field: value })), Effect::InPlace, "{field}");
        }
        assert_eq!(
            with(json!({"env": {"A": 1}, "type": "node", "stop": {"signal": "term"}})),
            Effect::None,
            "said otherwise, the same"
        );
        assert_eq!(with(json!({"shell": true, "replicas": 2, "env": {}})), restarts(&["env", "shell"]));
    }

    #[test]
    fn changed_fields_are_named_once_and_sorted() {
        let (old, new) = (spec(json!({"replicas": 1, "user": "a"})), spec(json!({"replicas": 2, "command": "x"})));
        assert_eq!(changed_fields(&old, &new), ["command", "replicas", "user"]);
        assert!(changed_fields(&old, &old).is_empty());
    }

    #[test]
    fn a_surge_copy_has_no_place_where_each_node_holds_the_port() {
        let port = |replicas: Value| json!({"replicas": replicas, "ports": [{"port": 80, "allocation": "dynamic"}, {"port": 81}]});
        let blocked = |nodes| Some(SurgeBlock::StaticPort { port: 81, nodes });
        let mut pinned = port(json!(1));
        pinned["placement"] = json!({"node": "n1"});
        let table = [
            (json!({"replicas": 5}), 1, None),
            (port(json!(1)), 1, blocked(1)),
            (port(json!(1)), 2, None),
            (port(json!(2)), 2, blocked(2)),
            (port(json!(3)), 2, blocked(2)),
            (port(json!(1)), 0, None),
            (port(json!("eachNode")), 3, blocked(3)),
            (pinned, 5, blocked(1)),
            (json!({"ports": [{"port": 80, "allocation": "socket"}]}), 1, None),
            (json!({"singleton": true}), 9, Some(SurgeBlock::Singleton)),
        ];
        for (fields, nodes, expected) in table {
            assert_eq!(surge_block(&spec(fields.clone()), nodes), expected, "{fields} on {nodes}");
        }
    }
}
