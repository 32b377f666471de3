//! What is wrong with a file, or worth a look, on stderr: `orion.yaml:5:17: error: spec.services[0].ports[0].port: …`.

use orion_model::{Issue, issue::Place};

use crate::{
    config_files::Document,
    out::note,
    style::{Style, Tone, safe},
};

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// It is refused.
    Error,
    /// It is accepted, but not silently.
    Warning,
}

/// Prints what is said of a config.
pub(crate) fn print_of(document: &Document, issues: &[Issue], severity: Severity) {
    let placed = issues.iter().map(|issue| (document.place(issue), issue));
    print(&document.sources().to_string(), placed, severity);
}

/// Prints one line for each issue.
pub(crate) fn print<'a>(
    source: &str,
    issues: impl IntoIterator<Item = (Option<Place>, &'a Issue)>,
    severity: Severity,
) {
    let style = Style::of_stderr();
    for (place, issue) in issues {
        note!("{}", line(style, source, place, issue, severity));
    }
}

fn line(style: Style, source: &str, place: Option<Place>, issue: &Issue, severity: Severity) -> String {
    let place = place.map_or(String::new(), |place| format!(":{}:{}", place.line, place.column));
    let path = if issue.path.is_empty() { String::new() } else { format!("{}: ", issue.path) };
    let word = match severity {
        Severity::Error => style.paint("error", Tone::Bad),
        Severity::Warning => style.paint("warning", Tone::Notice),
    };
    format!("{source}{place}: {word}: {}", safe(&format!("{path}{}", issue.message)))
}

/// `1 error`, `3 errors`.
pub(crate) fn counted(errors: usize) -> String {
    if errors == 1 { "1 error".to_owned() } else { format!("{errors} errors") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_names_file_line_column_and_field() {
        let issue = Issue::at("spec.services[0].replicas", "must be 0 or more");
        let place = Some(Place { line: 4, column: 7 });
        let line = |place| line(Style::plain(), "a.yaml", place, &issue, Severity::Error);
        assert_eq!(line(place), "a.yaml:4:7: error: spec.services[0].replicas: must be 0 or more");
        assert_eq!(line(None), "a.yaml: error: spec.services[0].replicas: must be 0 or more");
    }
}
