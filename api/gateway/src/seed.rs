//! The original's surface, which stays as it is: health, services, nodes, apply.
//!
//! | endpoint | |
//! |---|---|
//! | `GET /health` | `{"status":"ok"}`, open to all |
//! | `GET /api/services` | services flat, as the original lists them, and jobs with a schedule |
//! | `GET /api/nodes` | nodes with their capacity and last heartbeat |
//! | `POST /api/apply` | an OrionConfig as JSON or YAML |

mod records;

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, Query, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use orion_apiserver::{Caller, Failure, body};
use orion_model::{Client, List, Object, Resource, ResourceVersion, Selection, yaml};
use orion_types::{Job, Node, Replica, Service, config::Format};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    agents::LiveMetrics,
    apply::{Apply, ApplyError, ApplyOptions},
};

/// The largest configuration that is taken, in bytes.
const MAX_CONFIG: usize = 4 * 1024 * 1024;

#[derive(Clone)]
struct Seed {
    client: Client,
    live: LiveMetrics,
    apply: Apply,
}

/// The routes of the original's surface.
pub fn router(client: Client, live: LiveMetrics, apply: Apply) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/api/services", get(services))
        .route("/api/nodes", get(nodes))
        .route("/api/apply", post(apply_config).layer(DefaultBodyLimit::max(MAX_CONFIG)))
        .with_state(Seed { client, live, apply })
}

async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

async fn services(State(seed): State<Seed>) -> Result<Json<Value>, Failure> {
    let kinds = vec![Selection::all(Service::KIND), Selection::all(Job::KIND), Selection::all(Replica::KIND)];
    let listed = seed.client.list_raw(List::snapshot(kinds)).await?;
    let mut services: Vec<Service> = Vec::new();
    let mut jobs: Vec<Job> = Vec::new();
    let mut replicas: Vec<Replica> = Vec::new();
    for stored in &listed.items {
        // An object that does not decode is not shown; its own resource shows it as it is.
        match stored.kind() {
            kind if *kind == Service::KIND => services.extend(Service::decode(stored).ok()),
            kind if *kind == Job::KIND => jobs.extend(Job::decode(stored).ok()),
            _ => replicas.extend(Replica::decode(stored).ok()),
        }
    }
    let mut items: Vec<Value> = services.iter().map(|service| records::service(service, &replicas)).collect();
    items.extend(jobs.iter().filter(|job| job.spec.schedule.is_some()).map(records::scheduled));
    Ok(Json(json!({ "items": items })))
}

async fn nodes(State(seed): State<Seed>) -> Result<Json<Value>, Failure> {
    let nodes: Vec<Node> = seed.client.list().await?;
    let live = seed.live.nodes();
    let items: Vec<Value> = nodes.iter().map(|node| records::node(node, live.get(&node.metadata.name))).collect();
    Ok(Json(json!({ "items": items })))
}

/// What an applier says in the query. A flag is off when it is absent, `false` or `0`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ApplyQuery {
    dry_run: Option<String>,
    prune: Option<String>,
    force: Option<String>,
    strict: Option<String>,
    expect_version: Option<String>,
}

impl ApplyQuery {
    fn options(&self) -> Result<ApplyOptions, Failure> {
        let on = |flag: &Option<String>| {
            flag.as_deref().is_some_and(|text| !(text.eq_ignore_ascii_case("false") || text == "0"))
        };
        let version = |text: &String| {
            text.parse::<ResourceVersion>().map_err(|_| Failure::invalid_option("expectVersion", "is not a version"))
        };
        Ok(ApplyOptions {
            dry_run: on(&self.dry_run),
            prune: on(&self.prune),
            force: on(&self.force),
            strict: on(&self.strict),
            expect_version: self.expect_version.as_ref().map(version).transpose()?,
        })
    }
}

async fn apply_config(
    State(seed): State<Seed>,
    caller: Option<Extension<Caller>>,
    Query(query): Query<ApplyQuery>,
    request: Request,
) -> Result<Response, Failure> {
    let options = query.options()?;
    let format = match body::Syntax::of(request.headers())? {
        body::Syntax::Json => Format::Json,
        body::Syntax::Yaml => Format::Yaml,
    };
    let caller = caller.map_or(Caller::Anonymous, |Extension(caller)| caller);
    let bytes = body::read(request).await?;
    let applied = match yaml::decode(&bytes) {
        Ok(text) => seed.apply.apply(&caller, text, format, options).await,
        Err(error) => Err(ApplyError::Invalid(vec![error.into()])),
    };
    match applied {
        Ok(answer) => Ok((StatusCode::ACCEPTED, Json(answer)).into_response()),
        Err(ApplyError::Invalid(issues)) => {
            let body = json!({"message": "Invalid configuration", "issues": issues});
            Ok((StatusCode::BAD_REQUEST, Json(body)).into_response())
        }
        Err(ApplyError::Client(error)) => Err(error.into()),
    }
}
