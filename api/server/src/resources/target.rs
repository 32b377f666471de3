//! What a path is about.

use percent_encoding::percent_decode_str;

/// What a path below `/api`, `/apis` or `/version` is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `/version`
    Version,
    /// `/api`: the versions of the core group.
    CoreVersions,
    /// `/apis`: the groups.
    Groups,
    /// `/apis/{group}`
    Group(String),
    /// `/apis/{group}/{version}`, or `/api/{version}` with an empty group: the resources of a group.
    GroupVersion(String, String),
    /// Objects.
    Resource(ResourcePath),
}

/// A path to a collection, an object, or a part of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResourcePath {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: Option<String>,
    pub(super) plural: String,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Target {
    /// Reads a path as it came, percent-encoded; one trailing slash does not count. `None` where it can be about
    /// nothing.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<String> = path.split('/').map(segment).collect::<Option<_>>()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments[..] {
            ["version"] => Some(Self::Version),
            ["api"] => Some(Self::CoreVersions),
            ["api", version] => Some(Self::GroupVersion(String::new(), version.to_owned())),
            ["api", version, ref rest @ ..] => resource("", version, rest),
            ["apis"] => Some(Self::Groups),
            ["apis", group] => Some(Self::Group(group.to_owned())),
            ["apis", group, version] => Some(Self::GroupVersion(group.to_owned(), version.to_owned())),
            ["apis", group, version, ref rest @ ..] => resource(group, version, rest),
            _ => None,
        }
    }
}

/// One decoded segment. A name with a slash in it must not turn into two segments, nor an empty one into none.
fn segment(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    let whole = !decoded.is_empty() && !decoded.contains(['/', '\0']);
    whole.then(|| decoded.into_owned())
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Option<Target> {
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
        rest => (None, rest),
    };
    let (plural, name, subresource) = match *rest {
        [plural] => (plural, None, None),
        [plural, name] => (plural, Some(name), None),
        [plural, name, subresource] => (plural, Some(name), Some(subresource)),
        _ => return None,
    };
    Some(Target::Resource(ResourcePath {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.map(str::to_owned),
        plural: plural.to_owned(),
        name: name.map(str::to_owned),
        subresource: subresource.map(str::to_owned),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(parts: [&str; 6]) -> Option<Target> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Some(Target::Resource(ResourcePath {
            group: parts[0].into(),
            version: parts[1].into(),
            namespace: some(parts[2]),
            plural: parts[3].into(),
            name: some(parts[4]),
            subresource: some(parts[5]),
        }))
    }

    #[test]
    fn paths_are_read_as_kubernetes_reads_them() {
        let table = [
            ("/version", Some(Target::Version)),
            ("/api/", Some(Target::CoreVersions)),
            ("/apis", Some(Target::Groups)),
            ("/apis/orion", Some(Target::Group("orion".into()))),
            ("/apis/orion/v1", Some(Target::GroupVersion("orion".into(), "v1".into()))),
            ("/api/v1", Some(Target::GroupVersion(String::new(), "v1".into()))),
            ("/apis/orion/v1/nodes", path(["orion", "v1", "", "nodes", "", ""])),
            ("/apis/orion/v1/nodes/", path(["orion", "v1", "", "nodes", "", ""])),
            ("/apis/orion/v1/nodes/a/status", path(["orion", "v1", "", "nodes", "a", "status"])),
            ("/apis/orion/v1/namespaces/d/services", path(["orion", "v1", "d", "services", "", ""])),
            ("/apis/orion/v1/namespaces/d/services/a%20b", path(["orion", "v1", "d", "services", "a b", ""])),
            ("/api/v1/namespaces/d/events", path(["", "v1", "d", "events", "", ""])),
            ("/apis/orion/v1/namespaces/d", path(["orion", "v1", "", "namespaces", "d", ""])),
            ("/apis/orion/v1/nodes/a/b/c", None),
            ("/apis/orion/v1//nodes", None),
            ("/apis/orion/v1/nodes/a%2Fb", None),
            ("/apis/orion/v1/nodes/%00", None),
            ("/apis/orion/v1/nodes/%ff", None),
            ("/other", None),
        ];
        for (text, expected) in table {
            assert_eq!(Target::parse(text), expected, "{text}");
        }
    }
}
