//! Discovery: which groups, versions and resources there are.

use std::collections::BTreeMap;

use axum::{
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::Response,
};
use orion_model::{Definition, Registry, kind::Scope};
use serde_json::{Value, json};

use super::{accept::MediaRange, json as answer_json, target::Target};
use crate::Failure;

/// The version of Kubernetes whose API this is; clients refuse to read anything else as a version.
const KUBERNETES: (&str, &str) = ("1", "37");

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

/// Answers a question about the registry.
pub(super) fn answer(registry: &Registry, target: &Target, parts: &Parts) -> Result<Response, Failure> {
    let missing = || Failure::no_such_path(parts.uri.path());
    let body = match target {
        Target::Version => version(),
        Target::CoreVersions | Target::Groups => {
            let core = *target == Target::CoreVersions;
            if let Some(aggregated) = Aggregated::asked(&parts.headers) {
                return Ok(aggregated.answer(registry, core));
            }
            if core { core_versions(registry) } else { groups(registry) }
        }
        Target::Group(name) => {
            group(name, groups_of(registry).get(name.as_str()).filter(|_| !name.is_empty()).ok_or_else(missing)?)
        }
        Target::GroupVersion(group, version) => resources(registry, group, version).ok_or_else(missing)?,
        Target::Resource(_) => return Err(missing()),
    };
    Ok(answer_json(200, body.to_string()))
}

fn version() -> Value {
    let (major, minor) = KUBERNETES;
    let git = format!("v{major}.{minor}.0+orion.{}", env!("CARGO_PKG_VERSION"));
    let platform = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
    json!({"major": major, "minor": minor, "gitVersion": git, "platform": platform})
}

/// The definitions of each version of each group, in the registry's order.
type Groups<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Vec<&'a Definition>>>;

fn groups_of(registry: &Registry) -> Groups<'_> {
    let mut groups = Groups::new();
    for definition in registry.iter() {
        let versions = groups.entry(definition.kind.group()).or_default();
        versions.entry(definition.kind.version()).or_default().push(definition);
    }
    groups
}

fn core_versions(registry: &Registry) -> Value {
    let versions: Vec<_> = groups_of(registry).remove("").unwrap_or_default().into_keys().collect();
    json!({"kind": "APIVersions", "versions": versions, "serverAddressByClientCIDRs": []})
}

fn groups(registry: &Registry) -> Value {
    let groups = groups_of(registry);
    let named = groups.iter().filter(|(name, _)| !name.is_empty());
    let groups: Vec<_> = named.map(|(name, versions)| group_fields(name, versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn group(name: &str, versions: &BTreeMap<&str, Vec<&Definition>>) -> Value {
    let mut group = group_fields(name, versions);
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    group
}

fn group_fields(name: &str, versions: &BTreeMap<&str, Vec<&Definition>>) -> Value {
    let versions: Vec<_> = versions
        .keys()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let groups = groups_of(registry);
    let definitions = groups.get(group)?.get(version)?;
    let group_version = definitions.first()?.kind.api_version();
    let resources: Vec<_> = definitions.iter().flat_map(|definition| plain(definition)).collect();
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}))
}

fn plain(definition: &Definition) -> Vec<Value> {
    let names = definition.kind.names();
    let namespaced = names.scope == Scope::Namespaced;
    let mut resources = vec![json!({
        "name": names.plural, "singularName": names.singular, "namespaced": namespaced, "kind": names.kind,
        "verbs": VERBS, "shortNames": names.short,
    })];
    if definition.has_status {
        resources.push(json!({
            "name": format!("{}/status", names.plural), "singularName": "", "namespaced": namespaced,
            "kind": names.kind, "verbs": STATUS_VERBS,
        }));
    }
    resources
}

/// The aggregated form of discovery, all groups at once, in the version that was asked for.
struct Aggregated {
    version: &'static str,
}

impl Aggregated {
    /// Whether the client prefers it to the plain form.
    fn asked(headers: &HeaderMap) -> Option<Self> {
        MediaRange::all(headers).filter(MediaRange::takes_json).find_map(|range| {
            match (range.parameter("as"), range.parameter("g"), range.parameter("v")) {
                (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => {
                    Some(Some(Self { version: "v2" }))
                }
                (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2beta1")) => {
                    Some(Some(Self { version: "v2beta1" }))
                }
                (Some(_), ..) => None,
                (None, ..) => Some(None),
            }
        })?
    }

    fn answer(&self, registry: &Registry, core: bool) -> Response {
        let groups = groups_of(registry);
        let items: Vec<_> = groups
            .iter()
            .filter(|(name, _)| name.is_empty() == core)
            .map(|(name, versions)| Self::group(name, versions))
            .collect();
        let api_version = format!("apidiscovery.k8s.io/{}", self.version);
        let body = json!({"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items});
        let mut response = answer_json(200, body.to_string());
        // Clients know the form by this header alone.
        let content_type =
            format!("application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList", self.version);
        let content_type = HeaderValue::from_str(&content_type).expect("is ASCII");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
        response
    }

    fn group(name: &str, versions: &BTreeMap<&str, Vec<&Definition>>) -> Value {
        let versions: Vec<_> = versions
            .iter()
            .map(|(version, definitions)| {
                let resources: Vec<_> = definitions.iter().map(|definition| Self::resource(definition)).collect();
                json!({"version": version, "freshness": "Current", "resources": resources})
            })
            .collect();
        // The core group has no name, and so no name in its metadata.
        let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
        json!({"metadata": metadata, "versions": versions})
    }

    fn resource(definition: &Definition) -> Value {
        let names = definition.kind.names();
        let kind = json!({"group": names.group, "version": names.version, "kind": names.kind});
        let scope = if names.scope == Scope::Namespaced { "Namespaced" } else { "Cluster" };
        let mut resource = json!({
            "resource": names.plural, "responseKind": kind, "scope": scope, "singularResource": names.singular,
            "verbs": VERBS, "shortNames": names.short,
        });
        if definition.has_status {
            resource["subresources"] = json!([{"subresource": "status", "responseKind": kind, "verbs": STATUS_VERBS}]);
        }
        resource
    }
}
