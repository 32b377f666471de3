//! What a webhook is told: a CloudEvent 1.0 in JSON.

use orion_model::{Object, Timestamp};
use orion_types::{Plugin, Replica, plugin::HookPoint, service::Hook};
use serde_json::json;

use super::{HookCall, LONGEST_CALL};

/// The call of a `beforeStart` hook for a replica.
pub(super) fn of(replica: &Replica, gate: &Hook, plugin: &Plugin, key: &str, now: Timestamp) -> HookCall {
    let webhook = plugin.spec.webhook.clone().unwrap_or_default();
    let action = gate.parts().map_or("", |(_, action)| action);
    let spec = &replica.spec;
    let body = json!({
        "specversion": "1.0",
        "id": key,
        "source": "orion",
        "type": format!("orion.{}", HookPoint::BeforeStart),
        "subject": format!("{}/{}", replica.namespace(), replica.name()),
        "time": now,
        "datacontenttype": "application/json",
        "data": {
            "hook": gate.as_str(),
            "action": action,
            "point": HookPoint::BeforeStart,
            "namespace": replica.namespace(),
            "replica": replica.name(),
            "service": spec.service_name,
            "run": spec.run_name,
            "index": spec.index,
            "revision": spec.revision,
            "node": spec.node_name,
            "labels": replica.metadata.labels,
            "config": plugin.spec.config,
        },
    });
    HookCall {
        url: webhook.url,
        secret: webhook.secret,
        idempotency_key: key.to_owned(),
        body: body.to_string().into_bytes(),
        timeout: plugin.spec.timeout.0.get().min(LONGEST_CALL),
    }
}
