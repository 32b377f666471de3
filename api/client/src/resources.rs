//! Objects by key and selection: read, list, write.

use orion_model::{ClientError, Kind, ObjectKey, Part, ResourceVersion, Selection};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    HttpClient, Table,
    client::{JSON, to_json},
};

/// Objects of one page of a list; kubectl asks for as many.
const PAGE: &str = "500";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const MERGE_PATCH: &str = "application/merge-patch+json";
/// What stands for itself in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Objects of a selection, and the version from which a watch misses nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// The version.
    pub version: ResourceVersion,
    /// The objects, ordered by namespace and name.
    pub items: Vec<Value>,
}

/// What a writer says beside the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Judge and answer, but change nothing.
    pub dry_run: bool,
    /// Refuse unknown fields instead of warning of them.
    pub strict: bool,
}

impl WriteOptions {
    fn query(self) -> Vec<(&'static str, &'static str)> {
        let mut query = vec![("fieldManager", "orion")];
        query.extend(self.dry_run.then_some(("dryRun", "All")));
        query.extend(self.strict.then_some(("fieldValidation", "Strict")));
        query
    }
}

/// What a write came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The object after it.
    pub object: Value,
    /// What the server warned of.
    pub warnings: Vec<String>,
}

/// What a deletion came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Deletion {
    /// The object is gone.
    Gone,
    /// It goes when its finalizers do; this is how it stands.
    Pending(Value),
}

impl HttpClient {
    /// Reads an object.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] where there is none.
    pub async fn get(&self, key: &ObjectKey) -> Result<Value, ClientError> {
        self.fetch(&object_path(key, Part::Main)?, &(), JSON, key).await?.json(key)
    }

    /// Lists the objects of a selection, page by page to the end.
    ///
    /// # Errors
    /// As the server answers; [`ClientError::Expired`] when the list took so long that it has to begin anew.
    pub async fn list(&self, selection: &Selection) -> Result<Listing, ClientError> {
        let mut whole = Listing { version: ResourceVersion::ZERO, items: Vec::new() };
        let mut next = String::new();
        loop {
            let mut page: Page = self.page(selection, &next, JSON).await?;
            whole.version = page.metadata.resource_version;
            whole.items.append(&mut page.items);
            next = page.metadata.next;
            if next.is_empty() {
                return Ok(whole);
            }
        }
    }

    /// Lists the objects of a selection as the table that the server prints, to the end.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn list_table(&self, selection: &Selection) -> Result<Table, ClientError> {
        let mut whole: Table = self.page(selection, "", TABLE).await?;
        while !whole.metadata.next.is_empty() {
            let mut page: Table = self.page(selection, &whole.metadata.next, TABLE).await?;
            whole.rows.append(&mut page.rows);
            whole.metadata = page.metadata;
        }
        Ok(whole)
    }

    /// Reads one object as a table of one row.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] where there is none.
    pub async fn get_table(&self, key: &ObjectKey) -> Result<Table, ClientError> {
        self.fetch(&object_path(key, Part::Main)?, &(), TABLE, key).await?.json(key)
    }

    async fn page<T: serde::de::DeserializeOwned>(
        &self,
        selection: &Selection,
        next: &str,
        accept: &str,
    ) -> Result<T, ClientError> {
        let about = ObjectKey::new(selection.kind.clone(), selection.namespace.clone().unwrap_or_default(), "");
        let mut query = selection_query(selection);
        query.push(("limit", PAGE.to_owned()));
        if !next.is_empty() {
            query.push(("continue", next.to_owned()));
        }
        let path = collection_path(&selection.kind, selection.namespace.as_deref());
        self.fetch(&path, &query, accept, &about).await?.json(&about)
    }

    /// Makes an object; a key with an empty name takes it from the object.
    ///
    /// # Errors
    /// [`ClientError::AlreadyExists`], [`ClientError::Invalid`] and whatever else the server answers.
    pub async fn create(&self, key: &ObjectKey, object: &Value, options: WriteOptions) -> Result<Written, ClientError> {
        let request = self.request(Method::POST, &collection_path(&key.kind, Some(&key.namespace)));
        self.write_object(key, with_json(request, object).query(&options.query())).await
    }

    /// Replaces an object, or its status, if it is still at the version that `object` carries.
    ///
    /// # Errors
    /// [`ClientError::Conflict`] when it has moved.
    pub async fn replace(
        &self,
        key: &ObjectKey,
        object: &Value,
        part: Part,
        options: WriteOptions,
    ) -> Result<Written, ClientError> {
        let request = self.request(Method::PUT, &object_path(key, part)?);
        self.write_object(key, with_json(request, object).query(&options.query())).await
    }

    /// Applies a merge patch to an object, or to its status.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] where there is none.
    pub async fn merge(
        &self,
        key: &ObjectKey,
        patch: &Value,
        part: Part,
        options: WriteOptions,
    ) -> Result<Written, ClientError> {
        let request = self.request(Method::PATCH, &object_path(key, part)?);
        let request = request.header(header::CONTENT_TYPE, MERGE_PATCH).body(to_json(patch));
        self.write_object(key, request.query(&options.query())).await
    }

    /// Asks for the deletion of an object.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] where there is none.
    pub async fn delete(&self, key: &ObjectKey, options: WriteOptions) -> Result<Deletion, ClientError> {
        let request = self.request(Method::DELETE, &object_path(key, Part::Main)?);
        let request = with_json(request, &json!({"propagationPolicy": "Background"}));
        let answer: Value = self.write(request.query(&options.query())).await?.into_success(key)?.json(key)?;
        Ok(if answer["kind"] == "Status" { Deletion::Gone } else { Deletion::Pending(answer) })
    }

    async fn write_object(&self, key: &ObjectKey, request: RequestBuilder) -> Result<Written, ClientError> {
        let answer = self.write(request).await?.into_success(key)?;
        Ok(Written { object: answer.json(key)?, warnings: answer.warnings })
    }
}

#[derive(Deserialize)]
struct Page {
    metadata: ListMetadata,
    items: Vec<Value>,
}

/// What a page of a list says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListMetadata {
    pub(crate) resource_version: ResourceVersion,
    /// Where the next page begins; empty on the last.
    #[serde(rename = "continue")]
    pub(crate) next: String,
}

fn with_json(request: RequestBuilder, value: &Value) -> RequestBuilder {
    request.header(header::CONTENT_TYPE, JSON).body(to_json(value))
}

/// The parameters that say which objects of a collection are meant.
pub(crate) fn selection_query(selection: &Selection) -> Vec<(&'static str, String)> {
    let mut query = Vec::new();
    if !selection.labels.is_empty() {
        query.push(("labelSelector", selection.labels.to_string()));
    }
    if !selection.fields.is_empty() {
        query.push(("fieldSelector", selection.fields.to_string()));
    }
    query
}

/// The path of a kind's objects in a namespace, or in all.
pub(crate) fn collection_path(kind: &Kind, namespace: Option<&str>) -> String {
    let encode = |segment| utf8_percent_encode(segment, SEGMENT);
    let (group, version, plural) = (encode(kind.group()), encode(kind.version()), encode(kind.plural()));
    let root = if kind.group().is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    match namespace.filter(|namespace| kind.is_namespaced() && !namespace.is_empty()) {
        Some(namespace) => format!("{root}/namespaces/{}/{plural}", encode(namespace)),
        None => format!("{root}/{plural}"),
    }
}

pub(crate) fn object_path(key: &ObjectKey, part: Part) -> Result<String, ClientError> {
    if key.name.is_empty() || *key.name == *"." || *key.name == *".." {
        return Err(ClientError::BadRequest(format!("{:?} is no name of {}", &*key.name, key.kind.resource())));
    }
    let collection = collection_path(&key.kind, Some(&key.namespace));
    let path = format!("{collection}/{}", utf8_percent_encode(&key.name, SEGMENT));
    match part {
        Part::Main => Ok(path),
        Part::Status => Ok(format!("{path}/status")),
        Part::Whole => Err(ClientError::Unsupported("object and status are written apart over HTTP".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use orion_model::{Lease, Resource as _};

    use super::*;

    #[test]
    fn names_stay_one_segment_of_the_path() {
        let path = |name: &str| object_path(&ObjectKey::new(Lease::KIND, "default", name), Part::Status);
        let root = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
        assert_eq!(path("a.b-c").expect("a path"), format!("{root}/a.b-c/status"));
        assert_eq!(path("../../etc").expect("a path"), format!("{root}/..%2F..%2Fetc/status"));
        assert_eq!(path("a?b#c").expect("a path"), format!("{root}/a%3Fb%23c/status"));
        for name in ["", ".", ".."] {
            assert!(path(name).is_err(), "{name:?}");
        }
    }
}
