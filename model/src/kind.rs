//! What a kind is called and where its objects live.
//!
//! A [`Kind`] is two words, cheap to clone and to compare. Two kinds are the same when group and kind name agree: a
//! version is a spelling of a kind, not another one.

use std::{
    borrow::Cow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// Whether a kind's objects live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each object stands in a namespace.
    Namespaced,
    /// Objects have a name only.
    Cluster,
}

/// The names of a kind, as Kubernetes' discovery shows them.
#[derive(Clone, Debug)]
pub struct Names {
    /// API group, `""` for the core group.
    pub group: Cow<'static, str>,
    /// Version of the group in which the kind is stored and served.
    pub version: Cow<'static, str>,
    /// CamelCase name of the kind: `Service`.
    pub kind: Cow<'static, str>,
    /// Lower-case plural, the path segment under which it is served: `services`.
    pub plural: Cow<'static, str>,
    /// Lower-case singular: `service`.
    pub singular: Cow<'static, str>,
    /// Short names the CLI accepts: `svc`.
    pub short: Cow<'static, [Cow<'static, str>]>,
    /// Namespaced or cluster.
    pub scope: Scope,
}

/// A kind of object: a shared pointer to its [`Names`], equal by group and kind.
#[derive(Clone)]
pub struct Kind(Inner);

#[derive(Clone)]
enum Inner {
    Static(&'static Names),
    Shared(Arc<Names>),
}

impl Kind {
    /// A kind whose names are known when the program is built.
    pub const fn from_static(names: &'static Names) -> Self {
        Self(Inner::Static(names))
    }

    /// A kind that was learned while running.
    pub fn shared(names: Names) -> Self {
        Self(Inner::Shared(Arc::new(names)))
    }

    /// All names.
    pub fn names(&self) -> &Names {
        match &self.0 {
            Inner::Static(names) => names,
            Inner::Shared(names) => names,
        }
    }

    /// API group, `""` for the core group.
    pub fn group(&self) -> &str {
        &self.names().group
    }

    /// Version in which the kind is stored and served.
    pub fn version(&self) -> &str {
        &self.names().version
    }

    /// CamelCase name of the kind.
    pub fn name(&self) -> &str {
        &self.names().kind
    }

    /// Lower-case plural.
    pub fn plural(&self) -> &str {
        &self.names().plural
    }

    /// Whether objects stand in namespaces.
    pub fn is_namespaced(&self) -> bool {
        self.names().scope == Scope::Namespaced
    }

    /// `group/version`, or `version` in the core group.
    pub fn api_version(&self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// `plural.group`, or `plural` in the core group: how messages name a resource.
    pub fn resource(&self) -> String {
        match self.group() {
            "" => self.plural().to_owned(),
            group => format!("{}.{group}", self.plural()),
        }
    }

    /// Whether `word` is one of this kind's names: kind, plural, singular, short, each also as `name.group`.
    pub fn is_called(&self, word: &str) -> bool {
        let bare = word.strip_suffix(self.group()).and_then(|w| w.strip_suffix('.')).unwrap_or(word);
        let names = self.names();
        [&names.kind, &names.plural, &names.singular].into_iter().any(|name| name.eq_ignore_ascii_case(bare))
            || names.short.iter().any(|short| short.eq_ignore_ascii_case(bare))
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.names(), other.names()) || (self.name() == other.name() && self.group() == other.group())
    }
}

impl Eq for Kind {}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Self) -> Ordering {
        if std::ptr::eq(self.names(), other.names()) {
            return Ordering::Equal;
        }
        (self.group(), self.name()).cmp(&(other.group(), other.name()))
    }
}

impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.group().hash(state);
        self.name().hash(state);
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group() {
            "" => f.write_str(self.name()),
            group => write!(f, "{}.{group}", self.name()),
        }
    }
}
