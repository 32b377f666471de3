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
use orion_apiserver::{Audit, Caller, Failure, Verdict, body};
use orion_model::{Client, List, Object, Resource, ResourceVersion, Selection, yaml};
use orion_types::{Job, Node, Replica, Service, config::Format, suggest::did_you_mean};
use serde_json::{Value, json};

use crate::{
    agents::LiveMetrics,
    apply::{Apply, ApplyError, ApplyOptions, PATH},
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
        .route(PATH, post(apply_config).layer(DefaultBodyLimit::max(MAX_CONFIG)))
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
    let listed = seed.client.list_raw(List::snapshot(vec![Selection::all(Node::KIND)])).await?;
    // As above: one that does not decode hides no other.
    let nodes = listed.items.iter().filter_map(|stored| Node::decode(stored).ok());
    let live = seed.live.nodes();
    let items: Vec<Value> = nodes.map(|node| records::node(&node, live.get(&node.metadata.name))).collect();
    Ok(Json(json!({ "items": items })))
}

/// What may be said in the query of an apply.
const FLAGS: [&str; 4] = ["dryRun", "prune", "force", "strict"];
const EXPECT_VERSION: &str = "expectVersion";

/// What an applier says in the query. Whatever is not understood is refused: `dryrun=true` must not apply.
fn options(query: &[(String, String)]) -> Result<ApplyOptions, Failure> {
    let mut options = ApplyOptions::default();
    for (index, (name, value)) in query.iter().enumerate() {
        if query[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(Failure::bad_request(format!("the query parameter {name:?} is there twice")));
        }
        match name.as_str() {
            "dryRun" => options.dry_run = is_on(name, value)?,
            "prune" => options.prune = is_on(name, value)?,
            "force" => options.force = is_on(name, value)?,
            "strict" => options.strict = is_on(name, value)?,
            EXPECT_VERSION => {
                let version = value.parse::<ResourceVersion>();
                let version = version.map_err(|_| Failure::invalid_option(EXPECT_VERSION, "is not a version"))?;
                options.expect_version = Some(version);
            }
            unknown => {
                let known = FLAGS.into_iter().chain([EXPECT_VERSION]);
                let hint = did_you_mean(unknown, known);
                return Err(Failure::bad_request(format!("there is no query parameter {unknown:?} here{hint}")));
            }
        }
    }
    Ok(options)
}

/// A flag that is there without a value is on.
fn is_on(flag: &str, value: &str) -> Result<bool, Failure> {
    match value.to_ascii_lowercase().as_str() {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Failure::bad_request(format!("the query parameter {flag} is true or false, not {value:?}"))),
    }
}

async fn apply_config(
    State(seed): State<Seed>,
    caller: Option<Extension<Caller>>,
    Query(query): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, Failure> {
    let options = options(&query)?;
    let format = match body::Syntax::of(request.headers())? {
        body::Syntax::Json => Format::Json,
        body::Syntax::Yaml => Format::Yaml,
    };
    let caller = caller.map_or(Caller::Anonymous, |Extension(caller)| caller);
    let bytes = body::read(request).await?;
    let applied = match yaml::decode(&bytes) {
        Ok(text) => seed.apply.apply(&caller, text, format, options).await,
        Err(error) => {
            Audit { caller: &caller, verb: "apply", what: PATH.into() }.record(Verdict::Denied(400));
            Err(ApplyError::Invalid(vec![error.into()]))
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&str, &str)]) -> Result<ApplyOptions, Failure> {
        options(&query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn a_flag_is_on_off_or_absent() {
        let table = [("", true), ("true", true), ("True", true), ("1", true), ("false", false), ("0", false)];
        for (value, on) in table {
            let expected = ApplyOptions { dry_run: on, ..ApplyOptions::default() };
            assert_eq!(read(&[("dryRun", value)]).expect("is understood"), expected, "{value:?}");
        }
        let all = read(&[("prune", ""), ("force", "1"), ("strict", "true"), ("expectVersion", "7")]);
        let expect_version = Some(ResourceVersion::new(7));
        let expected = ApplyOptions { dry_run: false, prune: true, force: true, strict: true, expect_version };
        assert_eq!(all.expect("is understood"), expected);
        assert_eq!(read(&[]).expect("says nothing"), ApplyOptions::default());
    }

    #[test]
    fn what_is_not_understood_is_refused_and_named() {
        type Said<'a> = &'a [(&'a str, &'a str)];
        let table: [(Said<'_>, u16, &str); 6] = [
            (&[("dryrun", "true")], 400, "\"dryrun\" here; did you mean \"dryRun\"?"),
            (&[("DRYRUN", "true")], 400, "did you mean \"dryRun\"?"),
            (&[("colour", "red")], 400, "\"colour\""),
            (&[("dryRun", "yes")], 400, "dryRun is true or false, not \"yes\""),
            (&[("dryRun", "true"), ("dryRun", "false")], 400, "twice"),
            (&[("expectVersion", "x")], 422, "expectVersion"),
        ];
        for (query, code, says) in table {
            let refused = read(query).expect_err("is refused");
            assert_eq!(refused.status().code, code, "{query:?}");
            assert!(refused.status().message.contains(says), "{}", refused.status().message);
        }
    }
}
