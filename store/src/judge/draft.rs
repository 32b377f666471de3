//! One object while a commit is judged: what it was, and what the commit's writes have made of it so far.

use std::sync::Arc;

use orion_model::{
    Change, ChangeKind, ClientError, Definition, Issue, Kind, Lease, Metadata, ObjectKey, Part, Raw, Resource,
    ResourceVersion, Stored, Timestamp, Written, patch, path::FieldPath,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{lease, limits::OBJECT_BYTES, metadata_rules};

/// An object and its draft.
pub(super) struct Draft {
    key: ObjectKey,
    definition: Arc<Definition>,
    before: Option<Before>,
    metadata: Metadata,
    /// Everything but apiVersion, kind and metadata.
    fields: Value,
}

struct Before {
    object: Stored,
    fields: Value,
}

/// What a draft comes to.
pub(super) struct Finished {
    pub(super) written: Written,
    /// `None` where nothing changes.
    pub(super) change: Option<Change>,
}

impl Draft {
    pub(super) fn of(key: ObjectKey, definition: Arc<Definition>, object: Stored) -> Self {
        let mut fields = object.to_value();
        remove_head(&mut fields);
        let metadata = object.metadata().clone();
        Self { key, definition, metadata, before: Some(Before { object, fields: fields.clone() }), fields }
    }

    pub(super) fn created(
        key: ObjectKey,
        definition: Arc<Definition>,
        metadata: Metadata,
        mut fields: Value,
        whole: bool,
    ) -> Self {
        if definition.has_status && !whole {
            set_status(&mut fields, None);
        }
        Self { key, definition, before: None, metadata, fields }
    }

    pub(super) fn key(&self) -> &ObjectKey {
        &self.key
    }

    pub(super) fn replace(&mut self, body: Value, part: Part) -> Result<(), ClientError> {
        let (written, mut fields) = take_apart(&self.key, body)?;
        match part {
            Part::Status => {
                self.must_have_status()?;
                set_status(&mut self.fields, status(&fields));
                return Ok(());
            }
            Part::Main if self.definition.has_status => set_status(&mut fields, status(&self.fields)),
            Part::Main | Part::Whole => {}
        }
        self.metadata = metadata_rules::updated(written, &self.metadata, &self.key)?;
        self.fields = fields;
        Ok(())
    }

    pub(super) fn merge(&mut self, change: &Value, part: Part) -> Result<(), ClientError> {
        if !change.is_object() {
            return Err(ClientError::BadRequest(format!("the merge patch of {} is not an object", self.key)));
        }
        let mut whole = self.fields.clone();
        whole["metadata"] = serde_json::to_value(&self.metadata)?;
        patch::merge(&mut whole, change);
        self.replace(whole, part)
    }

    pub(super) fn delete(&mut self, now: Timestamp) {
        metadata_rules::mark_deleted(&mut self.metadata, now);
    }

    /// Ends the draft. A change gets `version`; a dry run has none, and its result keeps the version the object has.
    pub(super) fn finish(mut self, version: Option<ResourceVersion>) -> Result<Finished, ClientError> {
        let stamp = version.unwrap_or(self.metadata.resource_version);
        if metadata_rules::is_released(&self.metadata) {
            return Ok(self.finish_gone(stamp));
        }
        self.definition.schema.fill_defaults(&mut self.fields);
        let is_lease = self.key.kind == Lease::KIND;
        if is_lease {
            lease::keep_epoch(&mut self.fields, self.before.as_ref().map(|before| &before.fields));
        }
        self.derive()?;
        if let Some(before) = self.before.as_ref().filter(|before| self.is_same_as(before)) {
            let written = Written { object: before.object.clone(), gone: false };
            return Ok(Finished { written, change: None });
        }
        self.stamp(stamp);
        if is_lease {
            let before = self.before.as_ref().map(|before| &before.fields);
            lease::stamp_epoch(&mut self.fields, before, stamp);
        }
        self.finish_changed()
    }

    fn finish_gone(mut self, stamp: ResourceVersion) -> Finished {
        self.metadata.resource_version = stamp;
        if self.before.as_ref().is_some_and(|before| !before.object.metadata().is_being_deleted()) {
            self.metadata.spec_version = stamp;
        }
        let object = Arc::new(self.assemble());
        // What the same commit has made was never there for anybody else.
        let change = self.before.as_ref().map(|before| {
            let old = self.leaves_selections_of(before).then(|| before.object.clone());
            Change { kind: ChangeKind::Deleted, object: object.clone(), old }
        });
        Finished { written: Written { object, gone: true }, change }
    }

    fn finish_changed(self) -> Result<Finished, ClientError> {
        let raw = self.assemble();
        self.validate(&raw)?;
        let size = raw.body().len();
        if size > OBJECT_BYTES {
            let what = self.key.to_string();
            return Err(ClientError::TooLarge { what, size: size as u64, limit: OBJECT_BYTES as u64 });
        }
        let object = Arc::new(raw);
        let old = self.before.as_ref().filter(|before| self.leaves_selections_of(before));
        let kind = if self.before.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        let change = Change { kind, object: object.clone(), old: old.map(|before| before.object.clone()) };
        Ok(Finished { written: Written { object, gone: false }, change: Some(change) })
    }

    fn must_have_status(&self) -> Result<(), ClientError> {
        if self.definition.has_status {
            return Ok(());
        }
        Err(ClientError::BadRequest(format!("{} has no status to write", self.key.kind)))
    }

    fn is_same_as(&self, before: &Before) -> bool {
        self.fields == before.fields && metadata_rules::same(&self.metadata, before.object.metadata())
    }

    /// Whether a watch's selection may hold one of the two states and not the other.
    fn leaves_selections_of(&self, before: &Before) -> bool {
        let differs = |path: &FieldPath| path.text_in(&self.fields) != path.text_in(&before.fields);
        self.metadata.labels != before.object.metadata().labels || self.definition.selectable.iter().any(differs)
    }

    /// Sets the fields that are functions of the object.
    fn derive(&mut self) -> Result<(), ClientError> {
        if !self.definition.derives() {
            return Ok(());
        }
        let raw = self.assemble();
        match self.definition.derived_fields(&raw) {
            Ok(derived) => derived.into_iter().for_each(|(path, value)| path.set(&mut self.fields, value)),
            Err(error) => {
                self.validate(&raw)?;
                return Err(self.invalid(vec![Issue::at(error.path, error.message)]));
            }
        }
        // A derived field may be the first of a status, whose other defaults would else look like the next write's.
        self.definition.schema.fill_defaults(&mut self.fields);
        Ok(())
    }

    /// Gives a changed object its version, and its specification another generation if that is what changed.
    fn stamp(&mut self, version: ResourceVersion) {
        let spec_changed = self.before.as_ref().is_none_or(|before| self.spec_differs_from(&before.fields));
        let dies = self.metadata.is_being_deleted()
            && self.before.as_ref().is_some_and(|before| !before.object.metadata().is_being_deleted());
        self.metadata.resource_version = version;
        self.metadata.generation += i64::from(spec_changed);
        if spec_changed || dies {
            self.metadata.spec_version = version;
        }
    }

    /// Whether anything outside metadata and status differs.
    fn spec_differs_from(&self, before: &Value) -> bool {
        let counts = |name: &str| !(self.definition.has_status && name == "status");
        let spec = |fields: &Value| -> Map<String, Value> {
            let fields = fields.as_object().into_iter().flatten();
            fields.filter(|(name, _)| counts(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        spec(&self.fields) != spec(before)
    }

    fn validate(&self, raw: &Raw) -> Result<(), ClientError> {
        let mut issues = metadata_rules::issues(&self.key.kind, raw.metadata());
        issues.extend(self.definition.issues(raw, self.before.as_ref().map(|before| &*before.object)));
        if issues.is_empty() { Ok(()) } else { Err(self.invalid(issues)) }
    }

    fn invalid(&self, issues: Vec<Issue>) -> ClientError {
        ClientError::Invalid { key: self.key.clone(), issues }
    }

    fn assemble(&self) -> Raw {
        let fields = self.fields.as_object().cloned().unwrap_or_default();
        // The registry's kind, not the writer's: they are equal, but only one of them names the stored version.
        Raw::assemble(self.definition.kind.clone(), self.metadata.clone(), fields)
    }
}

/// Takes a written body apart into its metadata and its fields.
pub(super) fn take_apart(key: &ObjectKey, mut body: Value) -> Result<(Metadata, Value), ClientError> {
    if !body.is_object() {
        return Err(ClientError::BadRequest(format!("the body of {key} is not an object")));
    }
    check_kind(key, &body)?;
    let metadata = &body["metadata"];
    let metadata = Option::<Metadata>::deserialize(metadata).map_err(|error| {
        // Reading it again with the path costs only where there is something to say.
        let (path, message) = match Raw::from_value(key.kind.clone(), json!({ "metadata": metadata })) {
            Err(found) => (found.path, found.message),
            Ok(_) => ("metadata".into(), error.to_string()),
        };
        ClientError::Invalid { key: key.clone(), issues: vec![Issue::at(path, message)] }
    })?;
    remove_head(&mut body);
    Ok((metadata.unwrap_or_default(), body))
}

/// Refuses a body whose names are not those of the key it is written to.
pub(super) fn check_names(key: &ObjectKey, written: &Metadata) -> Result<(), ClientError> {
    let pairs = [("name", &*key.name, &written.name), ("namespace", &*key.namespace, &written.namespace)];
    let differing = pairs.into_iter().find(|(_, in_key, in_body)| !in_body.is_empty() && in_key != in_body);
    match differing {
        Some((what, in_key, in_body)) => {
            let message = format!("the {what} in the body, {in_body:?}, is not the one it is written to, {in_key:?}");
            Err(ClientError::BadRequest(message))
        }
        None => Ok(()),
    }
}

fn check_kind(key: &ObjectKey, body: &Value) -> Result<(), ClientError> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let group = text("apiVersion").map(|version| version.split_once('/').map_or("", |(group, _)| group));
    let is_of = |kind: &Kind| {
        text("kind").is_none_or(|name| name == kind.name()) && group.is_none_or(|group| group == kind.group())
    };
    if is_of(&key.kind) {
        return Ok(());
    }
    let said = format!("{} {}", text("apiVersion").unwrap_or_default(), text("kind").unwrap_or_default());
    let message = format!("the body says it is a {}, and it is written to {}", said.trim(), key.kind);
    Err(ClientError::BadRequest(message))
}

fn remove_head(body: &mut Value) {
    if let Some(fields) = body.as_object_mut() {
        for name in ["apiVersion", "kind", "metadata"] {
            fields.shift_remove(name);
        }
    }
}

/// The status; an explicit `null` is none.
fn status(fields: &Value) -> Option<Value> {
    fields.get("status").filter(|status| !status.is_null()).cloned()
}

fn set_status(fields: &mut Value, status: Option<Value>) {
    let Some(fields) = fields.as_object_mut() else { return };
    match status {
        Some(status) => fields.insert("status".into(), status),
        None => fields.shift_remove("status"),
    };
}
