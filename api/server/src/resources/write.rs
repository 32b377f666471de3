//! Writing objects: create, replace, merge, delete.
//!
//! A body may leave out what the path already says, and must not contradict it. What it says of version and uid becomes
//! the write's precondition.

use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};
use orion_model::{
    ClientError, CommitId, Issue, List, ObjectKey, Op, Precondition, ResourceVersion, Status, Uid, Write,
    schema::{Schema, UnknownField},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Duration, timeout};

use super::{Call, body::Unread, json as answer_json, query::is_dry_run};
use crate::{Audit, Failure, FieldValidation, Verdict, WriteAnswer, WriteOptions, WriteRequest};

/// How long a writer waits before it is told that the outcome is unknown.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The header by which a writer names its commit; Orion's own addition.
const COMMIT_ID: &str = "orion-commit-id";
/// How many warnings one answer carries, and how long each may be: headers are bounded.
const MAX_WARNINGS: usize = 32;
const MAX_WARNING: usize = 256;

/// Makes an object.
pub(super) async fn create(call: &Call<'_>, body: Unread) -> Result<Response, Failure> {
    let options = call.query.write_options()?;
    let mut object = body.value().await?;
    let metadata = fit_to_path(call, &mut object, None)?;
    if metadata.name.is_empty() && metadata.generate_name.is_empty() {
        let issue = Issue::at("metadata.name", "name or generateName is required");
        return Err(Failure::invalid(call.key(""), vec![issue]));
    }
    let warnings = check_fields(call, &object, options.field_validation)?;
    let key = call.key(&metadata.name);
    let write = Write { key, op: Op::Create(object), precondition: Precondition::NONE };
    let answer = make(call, commit_id(call)?, "create", write, options).await?;
    Ok(answer_object(201, &answer, warnings))
}

/// Replaces an object, or its status.
pub(super) async fn replace(call: &Call<'_>, name: &str, body: Unread) -> Result<Response, Failure> {
    let options = call.query.write_options()?;
    let mut object = body.value().await?;
    let precondition = fit_to_path(call, &mut object, Some(name))?.precondition();
    let warnings = check_fields(call, &object, options.field_validation)?;
    let write = Write { key: call.key(name), op: Op::Replace(object, call.part), precondition };
    let answer = make(call, commit_id(call)?, "update", write, options).await?;
    Ok(answer_object(200, &answer, warnings))
}

/// Applies a merge patch to an object, or to its status.
pub(super) async fn patch(call: &Call<'_>, name: &str, body: Unread) -> Result<Response, Failure> {
    let options = call.query.write_options()?;
    let patch = body.merge_patch().await?;
    let precondition = said_metadata(call, &patch, Some(name))?.precondition();
    let warnings = check_fields(call, &patch, options.field_validation)?;
    let write = Write { key: call.key(name), op: Op::Merge(patch, call.part), precondition };
    let answer = make(call, commit_id(call)?, "patch", write, options).await?;
    Ok(answer_object(200, &answer, warnings))
}

/// Asks for the deletion of an object.
pub(super) async fn delete(call: &Call<'_>, name: &str, body: Unread) -> Result<Response, Failure> {
    let options = DeleteOptions::read(call, body).await?;
    let write = Write { key: call.key(name), op: Op::Delete, precondition: options.preconditions.precondition() };
    let key = write.key.clone();
    let WriteAnswer { written, warnings } = make(call, commit_id(call)?, "delete", write, options.write).await?;
    if !written.gone {
        return Ok(answer_object(200, &WriteAnswer { written, warnings }, Vec::new()));
    }
    let status = Status::success(&key, written.object.metadata().uid.as_str());
    let body = serde_json::to_vec(&status).expect("a status always serialises");
    Ok(warn(answer_json(200, body), warnings))
}

/// Asks for the deletion of all objects of a selection, one after the other; answers what was there.
pub(super) async fn delete_collection(call: &Call<'_>, body: Unread) -> Result<Response, Failure> {
    let options = DeleteOptions::read(call, body).await?;
    let listed = call.client().list_raw(List::all(call.selection()?)).await?;
    let mut deleted = Vec::with_capacity(listed.items.len());
    for object in listed.items {
        let metadata = object.metadata();
        let precondition = Precondition { uid: Some(metadata.uid.clone()), version: options.preconditions.version()? };
        let key = ObjectKey::of(call.kind(), metadata);
        let write = Write { key, op: Op::Delete, precondition };
        match make(call, fresh_id(call), "delete", write, options.write.clone()).await {
            Ok(answer) => deleted.push(answer.written.object.to_value()),
            // Somebody else was faster.
            Err(failure) if failure.status().code == 404 => {}
            Err(failure) => return Err(failure),
        }
    }
    let list = json!({
        "kind": format!("{}List", call.kind().name()),
        "apiVersion": call.kind().api_version(),
        "metadata": {"resourceVersion": listed.version},
        "items": deleted,
    });
    Ok(answer_json(200, list.to_string()))
}

/// Makes a write through the kind's handler, and says in the audit that it took effect.
async fn make(
    call: &Call<'_>,
    id: CommitId,
    verb: &'static str,
    write: Write,
    options: WriteOptions,
) -> Result<WriteAnswer, Failure> {
    let (mut key, dry_run) = (write.key.clone(), options.dry_run);
    let request = WriteRequest { caller: call.caller.clone(), id: id.clone(), write, options };
    let outcome = timeout(WRITE_TIMEOUT, call.resources.writes_of(call.kind()).write(request)).await;
    let outcome = outcome.unwrap_or_else(|_| {
        Err(ClientError::Unknown { id, reason: format!("the store did not answer within {WRITE_TIMEOUT:?}") })
    });
    let answer = outcome?;
    // A generated name is known only now.
    key.name = answer.written.object.metadata().name.as_str().into();
    let version = Some(answer.written.object.version());
    let verdict = if dry_run { Verdict::DryRun } else { Verdict::Allowed { version } };
    Audit::of(&call.caller, verb, &key).record(verdict);
    Ok(answer)
}

/// The identity of the commit: what the writer gave, so that a write whose answer was lost takes effect once however
/// often it is sent; or a fresh one.
fn commit_id(call: &Call<'_>) -> Result<CommitId, Failure> {
    let Some(given) = call.headers.get(COMMIT_ID) else {
        return Ok(fresh_id(call));
    };
    let given = given.to_str().unwrap_or_default().parse();
    given.map_err(|error| Failure::bad_request(format!("header {COMMIT_ID}: {error}")))
}

fn fresh_id(call: &Call<'_>) -> CommitId {
    CommitId::fresh(call.client().clock().now(), call.client().randomness())
}

/// What a body says of its object's identity.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SaidMetadata {
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "text")]
    generate_name: String,
    #[serde(deserialize_with = "text")]
    namespace: String,
    #[serde(deserialize_with = "text")]
    uid: String,
    resource_version: Option<ResourceVersion>,
}

/// Reads `null` as nothing, since Kubernetes' clients write both.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl SaidMetadata {
    fn precondition(&self) -> Precondition {
        Precondition {
            version: self.resource_version.filter(|version| !version.is_zero()),
            uid: (!self.uid.is_empty()).then(|| Uid::new(self.uid.as_str())),
        }
    }
}

/// Fills in what the path says and a body left out.
fn fit_to_path(call: &Call<'_>, object: &mut Value, name: Option<&str>) -> Result<SaidMetadata, Failure> {
    let mut said = said_metadata(call, object, name)?;
    let fields = object.as_object_mut().expect("checked to be an object");
    fields.insert("apiVersion".into(), call.kind().api_version().into());
    fields.insert("kind".into(), call.kind().name().into());
    let metadata = fields.entry("metadata").or_insert(Value::Null);
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    let metadata = metadata.as_object_mut().expect("checked to be an object");
    if let Some(name) = name {
        metadata.insert("name".into(), name.into());
        name.clone_into(&mut said.name);
    }
    match &call.namespace {
        Some(namespace) => drop(metadata.insert("namespace".into(), namespace.as_str().into())),
        None => drop(metadata.remove("namespace")),
    }
    Ok(said)
}

/// Reads what a body says of its object's identity, and refuses what contradicts the path.
fn said_metadata(call: &Call<'_>, object: &Value, name: Option<&str>) -> Result<SaidMetadata, Failure> {
    let fields = object.as_object().ok_or_else(|| Failure::bad_request("the body of the request is not an object"))?;
    let kind = call.kind();
    agree("apiVersion", fields.get("apiVersion"), &kind.api_version())?;
    agree("kind", fields.get("kind"), kind.name())?;
    let said = match fields.get("metadata") {
        None | Some(Value::Null) => SaidMetadata::default(),
        Some(metadata) => SaidMetadata::deserialize(metadata).map_err(|error| {
            let key = call.key(name.unwrap_or_default());
            Failure::invalid(key, vec![Issue::at("metadata", error.to_string())])
        })?,
    };
    let contradicts = |what: &str, said: &str, url: &str| {
        Failure::bad_request(format!(
            "the {what} of the provided object ({said}) does not match the {what} sent on the request ({url})"
        ))
    };
    if let Some(name) = name.filter(|name| !said.name.is_empty() && said.name != *name) {
        return Err(contradicts("name", &said.name, name));
    }
    let namespace = call.namespace.as_deref().unwrap_or_default();
    if !said.namespace.is_empty() && said.namespace != namespace {
        return Err(contradicts("namespace", &said.namespace, namespace));
    }
    Ok(said)
}

fn agree(field: &str, said: Option<&Value>, expected: &str) -> Result<(), Failure> {
    match said {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(said)) if said == expected || said.is_empty() => Ok(()),
        Some(said) => {
            Err(Failure::bad_request(format!("{field} in the body is {said}, but this path is for {expected:?}")))
        }
    }
}

/// What is to be said of fields that the schema does not have.
fn check_fields(call: &Call<'_>, body: &Value, validation: FieldValidation) -> Result<Vec<String>, Failure> {
    if validation == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    let warnings: Vec<_> = unknown_fields(&call.definition.schema, body).iter().map(say_unknown).collect();
    match validation {
        FieldValidation::Strict if !warnings.is_empty() => {
            let message =
                format!("{} in the request: strict decoding error: {}", call.kind().name(), warnings.join(", "));
            Err(Failure::bad_request(message))
        }
        _ => Ok(warnings),
    }
}

/// The unknown fields of a body. A patch may remove what is there by `null`, known or not.
fn unknown_fields(schema: &Schema, body: &Value) -> Vec<UnknownField> {
    schema.unknown_fields(&without_nulls(body))
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

fn say_unknown(field: &UnknownField) -> String {
    match &field.meant {
        Some(meant) => format!("unknown field \"{}\" (did you mean \"{meant}\"?)", field.path),
        None => format!("unknown field \"{}\"", field.path),
    }
}

/// What somebody who deletes says beside it, in the body or in the query.
#[derive(Debug, Default)]
struct DeleteOptions {
    preconditions: Preconditions,
    write: WriteOptions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeleteBody {
    preconditions: Option<Preconditions>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    dry_run: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<ResourceVersion>,
}

impl Preconditions {
    fn precondition(self) -> Precondition {
        Precondition { version: self.resource_version, uid: self.uid.map(Uid::new) }
    }

    /// For a collection a uid makes no sense.
    fn version(&self) -> Result<Option<ResourceVersion>, Failure> {
        match self.uid {
            Some(_) => Err(Failure::bad_request("a collection has no uid")),
            None => Ok(self.resource_version),
        }
    }
}

impl DeleteOptions {
    async fn read(call: &Call<'_>, body: Unread) -> Result<Self, Failure> {
        let mut write = call.query.write_options()?;
        let body = match body.optional().await? {
            None => DeleteBody::default(),
            Some(value) => DeleteBody::deserialize(value)
                .map_err(|error| Failure::bad_request(format!("the body is not DeleteOptions: {error}")))?,
        };
        let policy = body.propagation_policy.as_deref().or_else(|| call.query.text("propagationPolicy"));
        let orphans = body.orphan_dependents == Some(true) || call.query.flag("orphanDependents");
        match policy {
            None | Some("Background") if !orphans => {}
            None | Some("Background" | "Foreground" | "Orphan") => {
                let message =
                    "only propagationPolicy Background is supported: dependents are deleted after their owner";
                return Err(Failure::new(501, "NotImplemented", message));
            }
            Some(other) => {
                let message = format!("{other:?} is not Background, Foreground or Orphan");
                return Err(Failure::invalid_option("propagationPolicy", message));
            }
        }
        write.dry_run |= is_dry_run(body.dry_run.iter().flatten().map(String::as_str))?;
        Ok(Self { preconditions: body.preconditions.unwrap_or_default(), write })
    }
}

fn answer_object(code: u16, answer: &WriteAnswer, mut warnings: Vec<String>) -> Response {
    warnings.extend_from_slice(&answer.warnings);
    warn(answer_json(code, answer.written.object.body().clone()), warnings)
}

/// Adds `Warning: 299 - "…"` headers.
fn warn(mut response: Response, warnings: Vec<String>) -> Response {
    for warning in warnings.iter().take(MAX_WARNINGS) {
        if let Ok(value) = HeaderValue::from_str(&format!("299 - {}", quoted(warning))) {
            response.headers_mut().append(HeaderName::from_static("warning"), value);
        }
    }
    response
}

/// A quoted string of a header: what is not printable ASCII becomes a question mark.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars().take(MAX_WARNING) {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted_for_a_header_and_bounded() {
        assert_eq!(quoted("unknown field \"spec.a\""), r#""unknown field \"spec.a\"""#);
        assert_eq!(quoted("a\r\nSet-Cookie: ä"), "\"a??Set-Cookie: ?\"");
        assert_eq!(quoted(&"x".repeat(1000)).len(), MAX_WARNING + 2);
    }
}
