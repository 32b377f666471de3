//! What a check finds, and how it is told: once each, with its place, in the order of the text.

use std::collections::BTreeSet;

use orion_model::{
    Issue,
    issue::{Place, Warning},
    yaml::{Document, Path},
};

/// How many issues, and how many warnings, are told at most; of the others only their number.
const MAX_TOLD: usize = 1000;
/// How many characters of a message are told at most: it quotes what strangers write.
const MAX_MESSAGE: usize = 600;

/// What has been found so far.
pub(in crate::config) struct Findings<'d> {
    document: &'d Document,
    issues: Vec<Issue>,
    /// Paths of what did not read.
    broken: Vec<String>,
    unknown: Vec<Issue>,
    warnings: Vec<Warning>,
}

impl<'d> Findings<'d> {
    pub(in crate::config) fn new(document: &'d Document) -> Self {
        Self { document, issues: Vec::new(), broken: Vec::new(), unknown: Vec::new(), warnings: Vec::new() }
    }

    /// Something wrong at `path`.
    pub(in crate::config) fn issue(&mut self, path: Path, message: impl Into<String>) {
        self.broken.push(path.to_string());
        self.issues.push(self.located(&path, message));
    }

    /// What a rule says of a typed spec. What did not read stood at its default when the rule saw it, so the rule's
    /// word on that, or on what holds it, does not count.
    pub(in crate::config) fn rule(&mut self, issue: Issue) {
        let holds = |broken: &String| {
            broken.strip_prefix(&issue.path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if !self.broken.iter().any(holds) {
            let path = Path::parse(&issue.path);
            self.issues.push(self.located(&path, issue.message));
        }
    }

    /// Something wrong with what is below `path`, unless that has been found there already.
    pub(in crate::config) fn backstop(&mut self, path: Path, message: String) {
        let prefix = path.to_string();
        if !self.issues.iter().any(|known| known.path.starts_with(&prefix)) {
            self.issue(path, message);
        }
    }

    /// A field that is not known: wrong if the check is strict.
    pub(in crate::config) fn unknown(&mut self, path: Path, message: impl Into<String>) {
        self.unknown.push(self.located(&path, message));
    }

    /// Something that is accepted.
    pub(in crate::config) fn warn(&mut self, path: Path, message: impl Into<String>) {
        self.warnings.push(self.located(&path, message));
    }

    /// Whether the names of all services and jobs could be read, so that a name which is not among them is nobody's.
    pub(in crate::config) fn knows_all_names(&self) -> bool {
        let hides_names = |issue: &Issue| {
            let entry = issue.path.strip_suffix(".name").unwrap_or(&issue.path);
            let list = entry.split('[').next().unwrap_or_default();
            matches!(list, "" | "spec" | "spec.services" | "spec.jobs") && !entry.contains("].")
        };
        !self.issues.iter().any(hides_names)
    }

    /// Where a path stands.
    pub(in crate::config) fn place(&self, path: &Path) -> Option<Place> {
        self.document.nearest_place(path.segments())
    }

    fn located(&self, path: &Path, message: impl Into<String>) -> Issue {
        Issue { place: self.place(path), ..Issue::at(path.to_string(), shortened(message.into())) }
    }

    /// Issues and warnings.
    pub(in crate::config) fn into_parts(self, strict: bool) -> (Vec<Issue>, Vec<Warning>) {
        let (mut issues, mut warnings) = (self.issues, self.warnings);
        if strict {
            issues.extend(self.unknown)
        } else {
            warnings.extend(self.unknown)
        }
        (in_order(issues), in_order(warnings))
    }
}

fn in_order(mut issues: Vec<Issue>) -> Vec<Issue> {
    issues.sort_by(|a, b| (a.place, &a.path).cmp(&(b.place, &b.path)));
    let mut seen = BTreeSet::new();
    issues.retain(|issue| seen.insert((issue.path.clone(), issue.message.clone())));
    let more = issues.len().saturating_sub(MAX_TOLD);
    if more > 0 {
        issues.truncate(MAX_TOLD);
        issues.push(Issue::at("", format!("and {more} more")));
    }
    issues
}

/// A long message without its middle.
fn shortened(message: String) -> String {
    let length = message.chars().count();
    if length <= MAX_MESSAGE {
        return message;
    }
    let head: String = message.chars().take(MAX_MESSAGE / 2).collect();
    let tail: String = message.chars().skip(length - MAX_MESSAGE / 2).collect();
    format!("{head} … {tail}")
}
