//! Reading objects: one, or a list of them.

use axum::response::Response;
use orion_model::{
    Client, ClientError, Freshness, Get, List, Listed, ResourceVersion, Watch,
    status::{Cause, Details},
};
use serde_json::json;
use tokio::time::{Duration, timeout};

use super::{
    Call, READ_TIMEOUT,
    accept::Accept,
    continue_token::ContinueToken,
    json,
    query::VersionMatch,
    table::{self, Include},
};
use crate::Failure;

/// How long a read waits for a version that is not here yet: shorter than a store would (3 s), so that informers hear
/// what Kubernetes tells them and not that the store is unavailable.
const VERSION_WAIT: Duration = Duration::from_secs(2);

/// Answers one object.
pub(super) async fn get(call: &Call<'_>, name: &str) -> Result<Response, Failure> {
    let (accept, freshness) = (call.accept()?, freshness(call.query.version()?));
    let key = call.key(name);
    let get = Get { key: key.clone(), freshness };
    let found = within(freshness, call.client().backend().get(get)).await?;
    let object = found.ok_or(ClientError::NotFound(key))?;
    Ok(match accept {
        Accept::Objects => json(200, object.body().clone()),
        Accept::Table => {
            let include = Include::of(&call.query)?;
            let now = call.client().clock().now();
            let table = table::table(&call.definition, std::slice::from_ref(&object), object.version(), include, now);
            json(200, table.to_string())
        }
    })
}

/// Answers a list.
pub(super) async fn list(call: &Call<'_>) -> Result<Response, Failure> {
    let accept = call.accept()?;
    let page = Page::of(call)?;
    if let Some(token) = &page.token {
        still_kept(call, token.version).await?;
    }
    let list = List {
        selections: vec![call.selection()?],
        freshness: page.freshness,
        limit: page.limit,
        after: page.token.as_ref().map(|token| token.key(call.kind())),
    };
    let listed = within(page.freshness, call.client().list_raw(list)).await?;
    if let Some(exact) = page.exact.filter(|exact| *exact != listed.version) {
        let what = format!("a list at exactly version {exact}");
        return Err(ClientError::Expired { what, oldest: listed.version }.into());
    }
    let version = page.token.map_or(listed.version, |token| token.version);
    let next = next_page(&listed, version);
    Ok(match accept {
        Accept::Objects => json(200, objects(call, &listed, version, next.as_ref())),
        Accept::Table => {
            let include = Include::of(&call.query)?;
            let mut table =
                table::table(&call.definition, &listed.items, version, include, call.client().clock().now());
            if let Some(next) = next {
                table["metadata"]["continue"] = next.to_string().into();
            }
            json(200, table.to_string())
        }
    })
}

/// Which page of a list is meant, and how fresh it must be.
struct Page {
    token: Option<ContinueToken>,
    limit: Option<usize>,
    freshness: Freshness,
    exact: Option<ResourceVersion>,
}

impl Page {
    fn of(call: &Call<'_>) -> Result<Self, Failure> {
        let token = call.query.text("continue").map(ContinueToken::parse).transpose()?;
        let limit = call.query.parsed::<usize>("limit")?.filter(|limit| *limit > 0);
        let (version, meant) = (call.query.version()?, call.query.version_match()?);
        if token.is_some() && version.is_some_and(|version| !version.is_zero()) {
            return Err(Failure::bad_request("specifying resource version is not allowed when using continue"));
        }
        match (version, meant) {
            (None, Some(_)) => {
                Err(Failure::invalid_option("resourceVersionMatch", "is forbidden unless resourceVersion is provided"))
            }
            (Some(ResourceVersion::ZERO), Some(VersionMatch::Exact)) => {
                Err(Failure::invalid_option("resourceVersionMatch", "Exact is forbidden for resourceVersion 0"))
            }
            (version, meant) => {
                let exact = version.filter(|_| meant == Some(VersionMatch::Exact));
                Ok(Self { token, limit, freshness: freshness(version), exact })
            }
        }
    }
}

/// What a version in a query means for a read: none asks for the newest, 0 for whatever is at hand.
fn freshness(version: Option<ResourceVersion>) -> Freshness {
    match version {
        None => Freshness::Confirmed,
        Some(ResourceVersion::ZERO) => Freshness::Any,
        Some(version) => Freshness::AtLeast(version),
    }
}

/// Bounds a read in time. One that waits for a version that never comes is told what Kubernetes tells its informers:
/// they list anew then.
async fn within<T>(freshness: Freshness, read: impl Future<Output = Result<T, ClientError>>) -> Result<T, Failure> {
    let limit = if matches!(freshness, Freshness::AtLeast(_)) { VERSION_WAIT } else { READ_TIMEOUT };
    match (timeout(limit, read).await, freshness) {
        (Ok(answer), _) => answer.map_err(Into::into),
        (Err(_), Freshness::AtLeast(version)) => Err(too_large(version)),
        (Err(_), _) => Err(ClientError::Unavailable(format!("the store did not answer within {limit:?}")).into()),
    }
}

fn too_large(version: ResourceVersion) -> Failure {
    let message = format!("Too large resource version: {version}");
    let cause = Cause { reason: "ResourceVersionTooLarge".into(), message: message.clone(), field: String::new() };
    let details = Details { causes: vec![cause], retry_after_seconds: Some(1), ..Details::default() };
    Failure::new(504, "Timeout", message).about(details)
}

/// Refuses to go on with a list whose first page is older than the kept history: no watch could begin there.
async fn still_kept(call: &Call<'_>, version: ResourceVersion) -> Result<(), Failure> {
    let watch = Watch { bookmarks: None, ..Watch::after(vec![call.selection()?], version) };
    let client: &Client = call.client();
    match timeout(READ_TIMEOUT, client.watch(watch)).await {
        Ok(watching) => watching.map(drop).map_err(Into::into),
        Err(_) => Err(ClientError::Unavailable(format!("the store did not answer within {READ_TIMEOUT:?}")).into()),
    }
}

fn next_page(listed: &Listed, version: ResourceVersion) -> Option<ContinueToken> {
    let last = listed.items.last().filter(|_| listed.more)?;
    Some(ContinueToken::after(version, &last.key()))
}

/// A list of whole objects, put together from their bytes.
fn objects(call: &Call<'_>, listed: &Listed, version: ResourceVersion, next: Option<&ContinueToken>) -> Vec<u8> {
    let mut metadata = json!({"resourceVersion": version});
    if let Some(next) = next {
        metadata["continue"] = next.to_string().into();
    }
    let kind = json!(format!("{}List", call.kind().name()));
    let api_version = json!(call.kind().api_version());
    let head = format!("{{\"kind\":{kind},\"apiVersion\":{api_version},\"metadata\":{metadata},\"items\":[");
    let size: usize = listed.items.iter().map(|item| item.body().len() + 1).sum();
    let mut text = Vec::with_capacity(head.len() + size + 2);
    text.extend_from_slice(head.as_bytes());
    for (index, item) in listed.items.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.extend_from_slice(item.body());
    }
    text.extend_from_slice(b"]}");
    text
}
