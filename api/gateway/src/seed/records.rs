//! Services and nodes as the original's clients read them.

use orion_model::{Object, Timestamp};
use orion_types::{
    Job, Node, Replica, Service,
    node::NodePhase,
    replica::{Phase, ProcessState},
    service::Replicas,
};
use serde_json::{Map, Value, json};

use crate::agents::NodeLive;

/// A service: its config fields flat, and what is.
pub(super) fn service(service: &Service, replicas: &[Replica]) -> Value {
    let own: Vec<&Replica> = replicas
        .iter()
        .filter(|replica| {
            replica.spec.service_name.as_deref() == Some(service.name()) && replica.namespace() == service.namespace()
        })
        .collect();
    let status = &service.status;
    let desired = match service.spec.replicas {
        Replicas::Count(count) => count,
        Replicas::EachNode => status.desired,
    };
    let mut record = flat(&service.spec, service.metadata());
    record.insert("replicas".into(), desired.into());
    record.insert("status".into(), service_status(service, desired, &own).into());
    let observed = json!({
        "ready": status.ready,
        "available": status.available,
        "updated": status.updated,
        "replicas": own.iter().filter(|replica| !replica.status.phase.is_finished()).map(|r| replica(r)).collect::<Vec<_>>(),
    });
    record.insert("observed".into(), observed);
    Value::Object(record)
}

/// A job with a schedule, which the original calls a service.
pub(super) fn scheduled(job: &Job) -> Value {
    let mut record = flat(&job.spec, job.metadata());
    record.insert("status".into(), "pending".into());
    record.insert("observed".into(), json!({"ready": 0, "available": 0, "updated": 0, "replicas": []}));
    Value::Object(record)
}

fn flat(spec: &impl serde::Serialize, metadata: &orion_model::Metadata) -> Map<String, Value> {
    let mut record = serde_json::to_value(spec).ok().and_then(|spec| spec.as_object().cloned()).unwrap_or_default();
    let created = metadata.creation_timestamp.map_or(0, Timestamp::as_millis);
    record.insert("id".into(), metadata.uid.as_str().into());
    record.insert("name".into(), metadata.name.as_str().into());
    record.insert("namespace".into(), metadata.namespace.as_str().into());
    record.insert("createdAt".into(), created.into());
    record.insert("updatedAt".into(), created.into());
    record
}

fn replica(replica: &Replica) -> Value {
    let observed = replica.status.observed.as_ref();
    json!({
        "replicaId": replica.name(),
        "nodeName": replica.spec.node_name,
        "phase": replica.status.phase,
        "pid": observed.and_then(|observed| observed.pid),
        "restarts": observed.map_or(0, |observed| observed.restarts),
        "ready": replica.is_ready(),
    })
}

/// The first that holds: `stopped`, `failed`, `running`, `pending`.
fn service_status(service: &Service, desired: u32, own: &[&Replica]) -> &'static str {
    let status = &service.status;
    let live = own.iter().filter(|replica| !replica.status.phase.is_finished()).count();
    let refused = status.failed.is_some() && status.failed == status.current;
    let newest = own.iter().max_by_key(|replica| (replica.metadata.creation_timestamp, replica.version()));
    let newest_failed = newest.is_some_and(|replica| {
        replica.status.phase == Phase::Backoff
            || replica.status.observed.as_ref().is_some_and(|observed| observed.state == ProcessState::Failed)
    });
    if desired == 0 && live == 0 {
        "stopped"
    } else if refused || (status.available == 0 && newest_failed) {
        "failed"
    } else if status.available >= desired {
        "running"
    } else {
        "pending"
    }
}

/// A node, with the live numbers where its agent has been heard.
pub(super) fn node(node: &Node, live: Option<&NodeLive>) -> Value {
    let observed = node.status.observed.as_ref();
    let capacity = node.capacity();
    let status = match node.status.phase {
        NodePhase::Ready => "ready",
        NodePhase::Unknown => "unknown",
        NodePhase::Lost => "not-ready",
    };
    json!({
        "id": observed.map_or(node.name(), |observed| observed.node_id.as_str()),
        "name": node.name(),
        "address": observed.map(|observed| observed.address.clone()).or_else(|| node.spec.address.clone()).unwrap_or_default(),
        "labels": node.placement_labels(),
        "capacity": {
            "cpu": capacity.cpu.map(|cpu| cpu.cores()),
            "memory": capacity.memory.map(|memory| memory.bytes() / (1024 * 1024)),
        },
        "status": status,
        "lastHeartbeat": live.map_or(0, |live| live.last_heartbeat.as_millis()),
        "metrics": live.map(|live| json!({"cpu": live.metrics.cpu, "memory": live.metrics.memory})),
    })
}
