//! Who may use whom: DESIGN's table, held over the closure of normal, non-optional dependencies.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// What each crate of the house may reach, directly or through others.
const MAY_USE: [(&str, &[&str]); 13] = [
    ("orion-derive", &[]),
    ("orion-model", &["orion-derive"]),
    ("orion-store", &["orion-model", "orion-derive"]),
    ("orion-runtime", &["orion-model", "orion-derive"]),
    ("orion-types", &["orion-model", "orion-derive"]),
    ("orion-http", &["orion-model", "orion-derive", "orion-types"]),
    ("orion-apiserver", &["orion-model", "orion-derive"]),
    ("orion-gateway", &["orion-model", "orion-derive", "orion-types", "orion-runtime", "orion-apiserver"]),
    ("orion-controllers", &["orion-model", "orion-derive", "orion-types", "orion-runtime"]),
    ("orion-agent", &["orion-model", "orion-derive", "orion-types"]),
    ("orion-dashboard", &["orion-model", "orion-derive", "orion-types"]),
    ("orion-sdk", &["orion-model", "orion-derive", "orion-store", "orion-runtime", "orion-http", "orion-apiserver"]),
    (
        "orion-manager",
        &[
            "orion-model",
            "orion-derive",
            "orion-store",
            "orion-runtime",
            "orion-types",
            "orion-http",
            "orion-apiserver",
            "orion-gateway",
            "orion-controllers",
            "orion-agent",
            "orion-dashboard",
        ],
    ),
];

/// Packages that stand on the house from outside, as a user's would.
const OUTSIDE: [&str; 2] = ["orion-benches", "website"];

fn direct(package: &Package) -> BTreeSet<String> {
    let normal = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal && !d.optional);
    normal.map(|d| d.name.clone()).filter(|name| name.starts_with("orion-")).collect()
}

fn reach(from: &str, edges: &BTreeMap<String, BTreeSet<String>>, seen: &mut BTreeSet<String>) {
    for next in edges.get(from).into_iter().flatten() {
        if seen.insert(next.clone()) {
            reach(next, edges, seen);
        }
    }
}

#[test]
fn no_crate_reaches_one_it_may_not_use() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata runs");
    let edges: BTreeMap<_, _> = metadata.packages.iter().map(|p| (p.name.to_string(), direct(p))).collect();
    let rules: BTreeMap<_, _> = MAY_USE.into_iter().collect();
    for name in edges.keys() {
        if OUTSIDE.contains(&name.as_str()) {
            continue;
        }
        let allowed = rules.get(name.as_str()).unwrap_or_else(|| panic!("{name} has no line in the table"));
        let mut reached = BTreeSet::new();
        reach(name, &edges, &mut reached);
        let forbidden: Vec<_> = reached.iter().filter(|used| !allowed.contains(&used.as_str())).collect();
        assert!(forbidden.is_empty(), "{name} reaches {forbidden:?}");
    }
}
