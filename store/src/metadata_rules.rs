//! Kubernetes' rules for metadata, as pure functions: who may write what of it, and what the store alone keeps.
//!
//! They are the ones of <https://kubernetes.io/docs/reference/using-api/api-concepts/> and of the API conventions, as
//! far as they concern every kind. Nothing else in Orion knows them.

use orion_model::{ClientError, Issue, Kind, Metadata, ObjectKey, OwnerReference, Timestamp, Uid};

/// The namespace of an object that is created without one.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// The longest name, which is the longest DNS subdomain.
const NAME_LENGTH: usize = 253;

/// The longest label value, namespace and part of a name, which is the longest DNS label.
const LABEL_LENGTH: usize = 63;

/// How much of a `generateName` is used, so that the whole is a DNS label.
const GENERATED_BASE: usize = LABEL_LENGTH - GENERATED_SUFFIX;

/// How many random characters end a generated name.
pub(crate) const GENERATED_SUFFIX: usize = 5;

/// How large all annotations of an object together may be.
const ANNOTATIONS_BYTES: usize = 256 << 10;

/// The metadata of an object that is being made: the writer's, without what only the store says.
pub(crate) fn created(written: Metadata, key: &ObjectKey, uid: Uid, now: Timestamp) -> Metadata {
    Metadata {
        name: key.name.to_string(),
        namespace: key.namespace.to_string(),
        uid,
        resource_version: Default::default(),
        generation: 0,
        spec_version: Default::default(),
        creation_timestamp: Some(now.to_seconds()),
        deletion_timestamp: None,
        deletion_grace_period_seconds: None,
        ..written
    }
}

/// The metadata of an object that is being changed: the writer's, but for what only the store says.
///
/// # Errors
/// Where the writer means another incarnation, changes a name, or adds a finalizer to a dying object.
pub(crate) fn updated(written: Metadata, current: &Metadata, key: &ObjectKey) -> Result<Metadata, ClientError> {
    if !written.uid.is_empty() && written.uid != current.uid {
        return Err(another_incarnation(key, current));
    }
    let issues = immutable(&written, current);
    if !issues.is_empty() {
        return Err(ClientError::Invalid { key: key.clone(), issues });
    }
    if current.is_being_deleted() && written.finalizers.iter().any(|new| !current.finalizers.contains(new)) {
        return Err(ClientError::BeingDeleted { key: key.clone(), refused: "a new finalizer".into() });
    }
    // A writer who sends no managed fields says nothing of them.
    let managed_fields =
        if written.managed_fields.is_empty() { current.managed_fields.clone() } else { written.managed_fields };
    Ok(Metadata {
        managed_fields,
        labels: written.labels,
        annotations: written.annotations,
        finalizers: written.finalizers,
        owner_references: written.owner_references,
        ..current.clone()
    })
}

/// The refusal of a write that means another incarnation than there is.
pub(crate) fn another_incarnation(key: &ObjectKey, current: &Metadata) -> ClientError {
    ClientError::Conflict { key: key.clone(), expected: None, current: Some(current.resource_version) }
}

/// Marks an object for deletion; one that is marked stays as it is.
pub(crate) fn mark_deleted(metadata: &mut Metadata, now: Timestamp) {
    if metadata.deletion_timestamp.is_none() {
        metadata.deletion_timestamp = Some(now.to_seconds());
        metadata.deletion_grace_period_seconds = Some(0);
    }
}

/// Whether an object goes: its deletion was asked for and nobody holds it.
pub(crate) fn is_released(metadata: &Metadata) -> bool {
    metadata.is_being_deleted() && metadata.finalizers.is_empty()
}

/// Whether two states differ in nothing that a writer says. Times in managed fields do not count: every apply has a
/// new one.
pub(crate) fn same(one: &Metadata, other: &Metadata) -> bool {
    let rest = |metadata: &Metadata| Metadata {
        managed_fields: Vec::new(),
        resource_version: Default::default(),
        spec_version: Default::default(),
        generation: 0,
        ..metadata.clone()
    };
    same_managers(one, other) && rest(one) == rest(other)
}

fn same_managers(one: &Metadata, other: &Metadata) -> bool {
    let timeless = |entry: &serde_json::Value| {
        let mut entry = entry.clone();
        entry.as_object_mut().map(|fields| fields.shift_remove("time"));
        entry
    };
    one.managed_fields.iter().map(timeless).eq(other.managed_fields.iter().map(timeless))
}

/// The beginning of a generated name.
pub(crate) fn generated_base(generate_name: &str) -> &str {
    let end = generate_name.len().min(GENERATED_BASE);
    // What is cut inside a character is refused as a name later on.
    generate_name.get(..end).unwrap_or(generate_name)
}

/// All that is wrong with an object's metadata.
pub(crate) fn issues(kind: &Kind, metadata: &Metadata) -> Vec<Issue> {
    let mut issues = Vec::new();
    let mut check = |path: &str, wrong: Option<String>| issues.extend(wrong.map(|message| Issue::at(path, message)));
    check("metadata.name", wrong_name(&metadata.name));
    check("metadata.namespace", wrong_namespace(kind, &metadata.namespace));
    for (name, value) in &metadata.labels {
        check(&format!("metadata.labels[{name}]"), wrong_qualified_name(name).or_else(|| wrong_label_value(value)));
    }
    for name in metadata.annotations.keys() {
        check(&format!("metadata.annotations[{name}]"), wrong_qualified_name(name));
    }
    check("metadata.annotations", wrong_size(metadata));
    for (index, finalizer) in metadata.finalizers.iter().enumerate() {
        check(&format!("metadata.finalizers[{index}]"), wrong_qualified_name(finalizer));
    }
    check("metadata.ownerReferences", wrong_controllers(&metadata.owner_references));
    for (index, owner) in metadata.owner_references.iter().enumerate() {
        check(&format!("metadata.ownerReferences[{index}]"), wrong_owner(owner));
    }
    issues
}

fn immutable(written: &Metadata, current: &Metadata) -> Vec<Issue> {
    let fields = [
        ("metadata.name", &written.name, &current.name),
        ("metadata.namespace", &written.namespace, &current.namespace),
    ];
    let changed = fields.into_iter().filter(|(_, written, current)| !written.is_empty() && written != current);
    changed.map(|(path, _, current)| Issue::at(path, format!("cannot be changed; it is {current:?}"))).collect()
}

fn wrong_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("is missing".into());
    }
    (name.len() > NAME_LENGTH || !name.split('.').all(is_dns_label)).then(|| {
        format!("{name:?} is no name: at most {NAME_LENGTH} lower-case letters, digits, '-' and '.', with a letter or digit at either end of each part")
    })
}

fn wrong_namespace(kind: &Kind, namespace: &str) -> Option<String> {
    match (kind.is_namespaced(), namespace) {
        (true, "") => Some("is missing".into()),
        (false, "") => None,
        (false, _) => Some(format!("must be empty: {kind} is not namespaced")),
        (true, name) => (name.len() > LABEL_LENGTH || !is_dns_label(name)).then(|| {
            format!("{name:?} is no namespace: at most {LABEL_LENGTH} lower-case letters, digits and '-', with a letter or digit at either end")
        }),
    }
}

/// One part of a DNS name. Its length is bounded with the whole, as Kubernetes does.
fn is_dns_label(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.first().copied().is_some_and(plain)
        && bytes.last().copied().is_some_and(plain)
        && bytes.iter().all(|byte| plain(*byte) || *byte == b'-')
}

/// `name` or `domain/name`, as labels, annotations and finalizers are called.
fn wrong_qualified_name(text: &str) -> Option<String> {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let wrong = name.is_empty() || !is_label_text(name) || prefix.is_some_and(|prefix| wrong_name(prefix).is_some());
    wrong.then(|| {
        format!(
            "{text:?} is no qualified name: [domain/]name, at most {LABEL_LENGTH} letters, digits, '-', '_' and '.'"
        )
    })
}

fn wrong_label_value(value: &str) -> Option<String> {
    (!is_label_text(value)).then(|| {
        format!("{value:?} is no label value: at most {LABEL_LENGTH} letters, digits, '-', '_' and '.', with a letter or digit at either end")
    })
}

fn is_label_text(text: &str) -> bool {
    let ends = [text.chars().next(), text.chars().next_back()];
    text.len() <= LABEL_LENGTH
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && ends.into_iter().flatten().all(|c| c.is_ascii_alphanumeric())
}

fn wrong_size(metadata: &Metadata) -> Option<String> {
    let size: usize = metadata.annotations.iter().map(|(name, value)| name.len() + value.len()).sum();
    (size > ANNOTATIONS_BYTES).then(|| format!("have {size} bytes together, more than {ANNOTATIONS_BYTES}"))
}

fn wrong_controllers(owners: &[OwnerReference]) -> Option<String> {
    let controllers: Vec<_> = owners.iter().filter(|owner| owner.controller).map(|owner| &*owner.name).collect();
    (controllers.len() > 1).then(|| format!("name several controllers: {}", controllers.join(", ")))
}

fn wrong_owner(owner: &OwnerReference) -> Option<String> {
    let fields = [
        ("apiVersion", &*owner.api_version),
        ("kind", &*owner.kind),
        ("name", &*owner.name),
        ("uid", owner.uid.as_str()),
    ];
    let missing: Vec<_> = fields.into_iter().filter(|(_, text)| text.is_empty()).map(|(name, _)| name).collect();
    (!missing.is_empty()).then(|| format!("lacks {}", missing.join(", ")))
}

#[cfg(test)]
mod tests;
