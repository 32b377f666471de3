//! Errors as Kubernetes' `Status` objects: the one mapping between [`ClientError`] and HTTP, in both directions.

use serde::{Deserialize, Serialize};

use crate::{ClientError, CommitId, Issue, Kind, ObjectKey, ResourceVersion};

/// The answer to a request that did not end well, or that has no object to answer with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Always `Status`.
    #[serde(default = "kind")]
    pub kind: String,
    /// Always `v1`.
    #[serde(default = "api_version")]
    pub api_version: String,
    /// Always empty.
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// `Success` or `Failure`.
    pub status: String,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// A CamelCase word for programs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// The HTTP status code.
    pub code: u16,
}

/// What a [`Status`] is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// The object's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The object's namespace: Orion's own addition.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its resource (or, for invalid objects, its kind).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its incarnation, where it was deleted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// All that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// After how many seconds to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
    /// The version an object has, for a conflict; the oldest kept one, where history has expired. Orion's own addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_version: Option<ResourceVersion>,
    /// The version that was expected, or the epoch of a lease. Orion's own addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<ResourceVersion>,
    /// The commit whose outcome is unknown. Orion's own addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_id: Option<String>,
}

/// One thing that is wrong with an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// A CamelCase word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Where: `spec.ports[0].port`.
    pub field: String,
}

fn kind() -> String {
    "Status".to_owned()
}

fn api_version() -> String {
    "v1".to_owned()
}

impl Status {
    /// A failure.
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: kind(),
            api_version: api_version(),
            metadata: serde_json::Map::new(),
            status: "Failure".to_owned(),
            message: message.into(),
            reason: reason.to_owned(),
            details: None,
            code,
        }
    }

    /// A success that is about an object, as a deletion answers.
    pub fn success(key: &ObjectKey, uid: &str) -> Self {
        let details = Details { uid: uid.to_owned(), ..details(key) };
        Self { status: "Success".into(), details: Some(details), ..Self::failure(200, "", "") }
    }

    /// This status with details.
    #[must_use]
    pub fn about(mut self, details: Details) -> Self {
        self.details = Some(details);
        self
    }

    /// The error this status stands for, as far as a client can tell; `key` is what the request was about.
    pub fn into_error(self, key: &ObjectKey) -> ClientError {
        let details = self.details.unwrap_or_default();
        let key = match details.name.as_str() {
            "" => key.clone(),
            name => ObjectKey::new(key.kind.clone(), key.namespace.clone(), name),
        };
        match (self.code, self.reason.as_str()) {
            (404, "UnknownKind") => ClientError::UnknownKind(key.kind),
            (404, _) => ClientError::NotFound(key),
            (409, "AlreadyExists") => ClientError::AlreadyExists(key),
            (409, "NotLeader") => {
                ClientError::NotLeader { lease: key, epoch: details.expected_version.unwrap_or_default() }
            }
            (409, "OwnedElsewhere") => {
                unframed(self.message, |whose| ClientError::OwnedElsewhere { key: key.clone(), whose })
            }
            (409, "BeingDeleted") => ClientError::BeingDeleted { key, refused: self.message },
            (409, _) => {
                ClientError::Conflict { key, expected: details.expected_version, current: details.current_version }
            }
            (422, _) => {
                let mut issues: Vec<_> =
                    details.causes.into_iter().map(|cause| Issue::at(cause.field, cause.message)).collect();
                if issues.is_empty() {
                    issues.push(Issue::at("", self.message));
                }
                ClientError::Invalid { key, issues }
            }
            (410, _) => {
                let oldest = details.current_version.unwrap_or_default();
                unframed(self.message, |what| ClientError::Expired { what, oldest })
            }
            (504, _) => match details.commit_id.and_then(|id| id.parse::<CommitId>().ok()) {
                Some(id) => unframed(self.message, |reason| ClientError::Unknown { id: id.clone(), reason }),
                None => ClientError::Unavailable(self.message),
            },
            (401, _) => ClientError::Unauthorized(self.message),
            (403, _) => ClientError::Forbidden(self.message),
            (501 | 405, _) => ClientError::Unsupported(self.message),
            (500.., "StoreStopped") => ClientError::Stopped(self.message),
            (429 | 500.., _) => ClientError::Unavailable(self.message),
            (_, _) => ClientError::BadRequest(self.message),
        }
    }
}

/// The error whose sentence `message` is: what `frame` puts around its own words is taken off again, so that nothing is
/// said twice. A sentence that begins otherwise, as one about another object, keeps its beginning.
fn unframed(message: String, frame: impl Fn(String) -> ClientError) -> ClientError {
    const WORDS: char = '\0';
    let shown = frame(WORDS.to_string()).to_string();
    let (before, after) = shown.split_once(WORDS).unwrap_or_default();
    let words = message.strip_prefix(before).unwrap_or(&message);
    frame(words.strip_suffix(after).unwrap_or(words).to_owned())
}

impl From<&ClientError> for Status {
    fn from(error: &ClientError) -> Self {
        match error {
            ClientError::NotFound(key) => Self::failure(404, "NotFound", not_found(key)).about(details(key)),
            ClientError::UnknownKind(kind) => {
                Self::failure(404, "UnknownKind", error.to_string()).about(kind_details(kind))
            }
            ClientError::AlreadyExists(key) => {
                let message = format!("{} \"{}\" already exists", key.kind.resource(), key.name);
                Self::failure(409, "AlreadyExists", message).about(details(key))
            }
            ClientError::Conflict { key, expected, current } => {
                Self::failure(409, "Conflict", operation_conflict(key, error)).about(Details {
                    current_version: *current,
                    expected_version: *expected,
                    ..details(key)
                })
            }
            ClientError::NotLeader { lease, epoch } => Self::failure(409, "NotLeader", error.to_string())
                .about(Details { expected_version: Some(*epoch), ..details(lease) }),
            ClientError::BeingDeleted { key, refused } => {
                Self::failure(409, "BeingDeleted", refused.clone()).about(details(key))
            }
            ClientError::Invalid { key, issues } => invalid(key, issues),
            ClientError::OwnedElsewhere { key, .. } => {
                Self::failure(409, "OwnedElsewhere", error.to_string()).about(details(key))
            }
            ClientError::BadRequest(message) => Self::failure(400, "BadRequest", message),
            ClientError::Forbidden(message) => Self::failure(403, "Forbidden", message),
            ClientError::Unauthorized(message) => Self::failure(401, "Unauthorized", message),
            ClientError::TooLarge { .. } => Self::failure(413, "RequestEntityTooLarge", error.to_string()),
            ClientError::Expired { oldest, .. } => Self::failure(410, "Expired", error.to_string())
                .about(Details { current_version: Some(*oldest), ..Details::default() }),
            ClientError::Unavailable(message) => Self::failure(503, "ServiceUnavailable", message)
                .about(Details { retry_after_seconds: Some(1), ..Details::default() }),
            ClientError::Unknown { id, .. } => Self::failure(504, "Timeout", error.to_string())
                .about(Details { commit_id: Some(id.to_string()), ..Details::default() }),
            ClientError::Stopped(message) => Self::failure(500, "StoreStopped", message),
            ClientError::Unsupported(message) => Self::failure(501, "NotImplemented", message),
            ClientError::CommitId(error) => Self::failure(400, "BadRequest", error.to_string()),
            ClientError::Decode(_) | ClientError::Encode(_) => Self::failure(500, "InternalError", error.to_string()),
        }
    }
}

fn not_found(key: &ObjectKey) -> String {
    format!("{} \"{}\" not found", key.kind.resource(), key.name)
}

fn operation_conflict(key: &ObjectKey, error: &ClientError) -> String {
    format!("Operation cannot be fulfilled on {} \"{}\": {error}", key.kind.resource(), key.name)
}

fn invalid(key: &ObjectKey, issues: &[Issue]) -> Status {
    let causes: Vec<_> = issues
        .iter()
        .map(|issue| Cause {
            reason: "FieldValueInvalid".into(),
            message: issue.message.clone(),
            field: issue.path.clone(),
        })
        .collect();
    let all: Vec<_> = issues.iter().map(|issue| format!("{}: {}", issue.path, issue.message)).collect();
    let message = format!("{} \"{}\" is invalid: {}", key.kind, key.name, all.join(", "));
    let about = Details { kind: key.kind.name().to_owned(), causes, ..details(key) };
    Status::failure(422, "Invalid", message).about(about)
}

fn details(key: &ObjectKey) -> Details {
    Details { name: key.name.to_string(), namespace: key.namespace.to_string(), ..kind_details(&key.kind) }
}

fn kind_details(kind: &Kind) -> Details {
    Details { group: kind.group().to_owned(), kind: kind.plural().to_owned(), ..Details::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lease, Resource};

    #[test]
    fn errors_survive_the_way_over_http_and_back() {
        let key = ObjectKey::new(Lease::KIND, "default", "a");
        let errors = [
            ClientError::NotFound(key.clone()),
            ClientError::AlreadyExists(key.clone()),
            ClientError::Conflict {
                key: key.clone(),
                expected: Some(ResourceVersion::new(3)),
                current: Some(ResourceVersion::new(4)),
            },
            ClientError::NotLeader { lease: key.clone(), epoch: ResourceVersion::new(7) },
            ClientError::BeingDeleted { key: key.clone(), refused: "a new finalizer".into() },
            ClientError::Invalid { key: key.clone(), issues: vec![Issue::at("spec.a", "is wrong")] },
            ClientError::OwnedElsewhere { key: key.clone(), whose: "is another's".into() },
            ClientError::BadRequest("no".into()),
            ClientError::Forbidden("no".into()),
            ClientError::Unauthorized("no".into()),
            ClientError::Expired { what: "commit 5-a".into(), oldest: ResourceVersion::new(9) },
            ClientError::Unavailable("later".into()),
            ClientError::Unknown { id: "5-000000000000000a".parse().expect("an id"), reason: "r".into() },
            ClientError::Stopped("fsync".into()),
            ClientError::Unsupported("no".into()),
            ClientError::UnknownKind(Lease::KIND),
        ];
        for error in errors {
            let back = Status::from(&error).into_error(&key);
            assert_eq!(std::mem::discriminant(&back), std::mem::discriminant(&error), "{error}");
            assert_eq!(back.to_string(), error.to_string());
        }
    }

    #[test]
    fn errors_that_are_others_to_a_client_keep_their_sentence() {
        let key = ObjectKey::new(Lease::KIND, "default", "a");
        let decode = crate::object::DecodeError { key: key.clone(), path: "spec.a".into(), message: "is wrong".into() };
        let bad_id = "x".parse::<CommitId>().expect_err("it is none");
        let errors = [
            ClientError::TooLarge { what: "a commit".into(), size: 9, limit: 8 },
            ClientError::Decode(decode),
            ClientError::CommitId(bad_id),
        ];
        for error in errors {
            assert_eq!(Status::from(&error).into_error(&key).to_string(), error.to_string());
        }
    }

    #[test]
    fn a_sentence_about_another_object_keeps_its_beginning_and_ends_once() {
        let shop = ObjectKey::new(Lease::KIND, "default", "shop");
        let error = ClientError::OwnedElsewhere { key: shop, whose: "is another's".into() };
        let status = Status { details: None, ..Status::from(&error) };
        let about = ObjectKey::new(Lease::KIND, "default", "config");
        let said = status.into_error(&about).to_string();
        assert!(said.ends_with(&error.to_string()), "it names the object that it is about: {said}");
        assert_eq!(said.matches("rename it").count(), 1, "{said}");
    }
}
