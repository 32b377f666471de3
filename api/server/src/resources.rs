//! The resources of a registry under `/apis/{group}/{version}`, and discovery beside them.
//!
//! ```text
//! path     ─▶ Target   what the request is about      (target)
//! query    ─▶ options  what it says beside it          (query)
//! Accept   ─▶ Format   how it is answered              (accept)
//! Call { definition, namespace, name, … } ─▶ read · watch · write
//! ```
//!
//! The registry is looked up anew for each request, since kinds come and go while a server runs.

mod accept;
pub mod body;
mod continue_token;
mod discovery;
mod query;
mod read;
mod table;
mod target;
mod watch;
mod write;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header, request::Parts},
    response::{IntoResponse, Response},
    routing::any,
};
use bytes::Bytes;
use orion_model::{Client, Definition, Kind, ObjectKey, Part, Selection};

use self::{
    accept::Accept,
    query::Query,
    target::{ResourcePath, Target},
};
use crate::{Audit, Caller, Closing, Failure, Verdict, WriteHandler, write_handler::Commits};

/// How long a read may take; one that waits for a version, or for a store that does not answer, ends then.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves the resources of a client's registry.
pub struct Resources {
    client: Client,
    commits: Arc<dyn WriteHandler>,
    handlers: BTreeMap<Kind, Arc<dyn WriteHandler>>,
}

impl Resources {
    /// Serves what this client's backend has.
    pub fn new(client: Client) -> Self {
        Self { commits: Arc::new(Commits(client.clone())), client, handlers: BTreeMap::new() }
    }

    /// These resources, with every write of one kind going through a handler instead of straight into a commit.
    #[must_use]
    pub fn handler(mut self, kind: Kind, handler: Arc<dyn WriteHandler>) -> Self {
        self.handlers.insert(kind, handler);
        self
    }

    /// The routes: `/api`, `/apis` and all below them, and `/version`. More specific routes may be merged with them.
    pub fn router(self) -> Router {
        Router::new()
            .route("/version", any(answer))
            .route("/version/", any(answer))
            .route("/api", any(answer))
            .route("/api/", any(answer))
            .route("/api/{*path}", any(answer))
            .route("/apis", any(answer))
            .route("/apis/", any(answer))
            .route("/apis/{*path}", any(answer))
            .with_state(Arc::new(self))
    }

    fn writes_of(&self, kind: &Kind) -> &Arc<dyn WriteHandler> {
        self.handlers.get(kind).unwrap_or(&self.commits)
    }

    /// Finds out what a request about a resource means.
    fn call<'a>(&'a self, path: ResourcePath, parts: &Parts) -> Result<Call<'a>, Failure> {
        let registry = self.client.registry();
        let definition = registry
            .served(&path.group, &path.version, &path.plural)
            .filter(|definition| fits(definition, &path))
            .ok_or_else(|| Failure::no_such_path(parts.uri.path()))?;
        let part = match path.subresource.as_deref() {
            None => Part::Main,
            Some("status") if definition.has_status => Part::Status,
            Some(_) => return Err(Failure::no_such_path(parts.uri.path())),
        };
        Ok(Call {
            resources: self,
            definition: definition.clone(),
            namespace: path.namespace,
            name: path.name,
            part,
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            headers: parts.headers.clone(),
            caller: parts.extensions.get().cloned().unwrap_or(Caller::Anonymous),
            closing: Closing::of(&parts.extensions),
        })
    }
}

/// Whether a path stands where the kind's objects do: with a namespace or without. Objects of all namespaces may be
/// listed, but have no names there.
fn fits(definition: &Definition, path: &ResourcePath) -> bool {
    match (definition.kind.is_namespaced(), &path.namespace) {
        (true, None) => path.name.is_none(),
        (true, Some(_)) | (false, None) => true,
        (false, Some(_)) => false,
    }
}

/// One request about a resource: what its path, query and headers mean.
struct Call<'a> {
    resources: &'a Resources,
    definition: Arc<Definition>,
    namespace: Option<String>,
    name: Option<String>,
    part: Part,
    query: Query,
    headers: HeaderMap,
    caller: Caller,
    closing: Closing,
}

impl Call<'_> {
    fn client(&self) -> &Client {
        &self.resources.client
    }

    fn kind(&self) -> &Kind {
        &self.definition.kind
    }

    fn key(&self, name: &str) -> ObjectKey {
        ObjectKey::new(self.kind().clone(), self.namespace.as_deref().unwrap_or_default(), name)
    }

    fn accept(&self) -> Result<Accept, Failure> {
        Accept::of(&self.headers)
    }

    /// The objects that path and selectors mean.
    fn selection(&self) -> Result<Selection, Failure> {
        let mut selection = Selection::all(self.kind().clone());
        selection.namespace = self.namespace.as_deref().map(Into::into);
        if let Some(text) = self.query.text("labelSelector") {
            selection.labels = text.parse().map_err(|error| Failure::bad_request(format!("{error}")))?;
        }
        if let Some(text) = self.query.text("fieldSelector") {
            selection.fields = text.parse().map_err(|error| Failure::bad_request(format!("{error}")))?;
        }
        for requirement in selection.fields.requirements() {
            let path = requirement.path.as_str();
            let of_all = matches!(path, "metadata.name" | "metadata.namespace");
            if !of_all && !self.definition.selectable.contains(&requirement.path) {
                return Err(Failure::bad_request(format!("field label not supported: {path}")));
            }
        }
        if let Some(name) = &self.name {
            selection.fields = selection.fields.and_equals("metadata.name", name);
        }
        Ok(selection)
    }
}

async fn answer(State(resources): State<Arc<Resources>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answered = match Target::parse(parts.uri.path()) {
        None => Err(Failure::no_such_path(parts.uri.path())),
        Some(Target::Resource(path)) => about_resource(&resources, path, parts, body).await,
        Some(target) if parts.method == Method::GET || parts.method == Method::HEAD => {
            discovery::answer(&resources.client.registry(), &target, &parts)
        }
        Some(_) => Err(Failure::method_not_allowed(parts.method.as_str(), "GET")),
    };
    answered.unwrap_or_else(IntoResponse::into_response)
}

async fn about_resource(
    resources: &Resources,
    path: ResourcePath,
    parts: Parts,
    body: axum::body::Body,
) -> Result<Response, Failure> {
    let call = resources.call(path, &parts)?;
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    let answered = dispatch(&call, &method, body::Unread::new(parts, body)).await;
    if let Err(failure) = &answered
        && method != Method::GET
    {
        let audit = Audit { caller: &call.caller, verb: method.as_str(), what: uri.path().to_owned() };
        audit.record(Verdict::Denied(failure.status().code));
    }
    answered
}

async fn dispatch(call: &Call<'_>, method: &Method, body: body::Unread) -> Result<Response, Failure> {
    let watches = call.query.flag("watch");
    match (method.as_str(), call.name.as_deref(), call.part) {
        ("GET", _, Part::Main) if watches => watch::watch(call).await,
        ("GET", Some(name), _) => read::get(call, name).await,
        ("GET", None, _) => read::list(call).await,
        ("POST", None, _) if call.namespace.is_some() || !call.kind().is_namespaced() => {
            write::create(call, body).await
        }
        ("PUT", Some(name), _) => write::replace(call, name, body).await,
        ("PATCH", Some(name), _) => write::patch(call, name, body).await,
        ("DELETE", Some(name), Part::Main) => write::delete(call, name, body).await,
        ("DELETE", None, _) if call.namespace.is_some() || !call.kind().is_namespaced() => {
            write::delete_collection(call, body).await
        }
        (method, ..) => Err(Failure::method_not_allowed(method, allowed(call))),
    }
}

fn allowed(call: &Call<'_>) -> &'static str {
    match (&call.name, call.part) {
        (Some(_), Part::Main) => "GET, PUT, PATCH, DELETE",
        (Some(_), _) => "GET, PUT, PATCH",
        (None, _) if call.namespace.is_none() && call.kind().is_namespaced() => "GET",
        (None, _) => "GET, POST, DELETE",
    }
}

/// An answer of JSON that is already text.
fn json(code: u16, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(axum::body::Body::from(body.into()));
    *response.status_mut() = axum::http::StatusCode::from_u16(code).expect("a status code of this crate's own");
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
