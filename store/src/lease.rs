//! Leases' epochs: the version of the write by which the holder acquired the lease. The store alone writes them, and
//! commits may be bound to one.

use orion_model::{Raw, ResourceVersion};
use serde_json::{Value, json};

/// Takes over the epoch as it was, whatever the writer says.
pub(crate) fn keep_epoch(fields: &mut Value, before: Option<&Value>) {
    let epoch = before.and_then(|before| before.pointer("/spec/epoch")).cloned();
    let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut) else { return };
    match epoch {
        Some(epoch) => spec.insert("epoch".into(), epoch),
        None => spec.shift_remove("epoch"),
    };
}

/// Begins a new epoch where the holder has changed.
pub(crate) fn stamp_epoch(fields: &mut Value, before: Option<&Value>, version: ResourceVersion) {
    if holder(fields) == before.and_then(holder) {
        return;
    }
    if let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("epoch".into(), json!(version));
    }
}

/// Whether a lease is in this epoch.
pub(crate) fn is_in_epoch(lease: &Raw, epoch: ResourceVersion) -> bool {
    lease.to_value().pointer("/spec/epoch") == Some(&json!(epoch))
}

/// Who holds it; an empty name is nobody.
fn holder(fields: &Value) -> Option<&str> {
    fields.pointer("/spec/holderIdentity")?.as_str().filter(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_begins_when_the_holder_changes_and_no_writer_sets_it() {
        let held = |holder: &str, epoch: &str| json!({"spec": {"holderIdentity": holder, "epoch": epoch}});
        let free = json!({"spec": {}});
        let table = [
            ("made by its holder", None, held("a", "99"), Some("7")),
            ("made free", None, free.clone(), None),
            ("renewed", Some(held("a", "3")), held("a", "99"), Some("3")),
            ("renewed without its epoch", Some(held("a", "3")), json!({"spec": {"holderIdentity": "a"}}), Some("3")),
            ("taken over", Some(held("a", "3")), held("b", "3"), Some("7")),
            ("released", Some(held("a", "3")), free.clone(), Some("7")),
            ("acquired", Some(free), held("a", "3"), Some("7")),
        ];
        for (case, before, mut after, expected) in table {
            keep_epoch(&mut after, before.as_ref());
            stamp_epoch(&mut after, before.as_ref(), ResourceVersion::new(7));
            assert_eq!(after.pointer("/spec/epoch").and_then(Value::as_str), expected, "{case}");
        }
    }
}
