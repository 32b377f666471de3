//! Names as DNS labels: what services, jobs and nodes are called.

/// The longest DNS label.
pub const MAX_LABEL: usize = 63;
/// The longest name of a service or job: what is derived from it (replicas, runs) must be a label too.
pub const MAX_WORKLOAD_NAME: usize = 50;

/// Whether a name is a DNS label (RFC 1123): lower-case letters, digits and inner hyphens, at most 63.
pub fn is_dns_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty()
        && name.len() <= MAX_LABEL
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// The DNS label nearest to a name, at most `max` long; `None` where nothing of the name can stand in one.
pub fn to_dns_label(name: &str, max: usize) -> Option<String> {
    let mut label = String::with_capacity(name.len().min(max));
    for c in name.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            label.push(c);
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
        if label.len() >= max {
            break;
        }
    }
    let label = label.trim_end_matches('-');
    (!label.is_empty()).then(|| label.to_owned())
}

/// What is wrong with a name that should be a DNS label of at most `max` characters, with a name to use instead.
pub(crate) fn label_problem(name: &str, max: usize) -> Option<String> {
    let shown: String = name.chars().take(80).collect();
    let proposal = || to_dns_label(name, max).map(|label| format!("; use {label:?}")).unwrap_or_default();
    if name.is_empty() {
        Some("must not be empty".to_owned())
    } else if is_dns_label(name) && name.len() <= max {
        None
    } else if name.len() > max {
        Some(format!("{shown:?} has {} characters, at most {max} are allowed{}", name.chars().count(), proposal()))
    } else {
        Some(format!("{shown:?} is not a DNS label (lower-case letters, digits and inner hyphens){}", proposal()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_are_labels() {
        for good in ["a", "web", "web-1", "0", "a--b"] {
            assert!(is_dns_label(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "../../etc", "ä", &"a".repeat(64)] {
            assert!(!is_dns_label(bad), "{bad}");
        }
    }

    #[test]
    fn a_name_becomes_the_nearest_label() {
        let table = [
            ("../../etc", Some("etc")),
            ("My App", Some("my-app")),
            ("web_1", Some("web-1")),
            ("-x-", Some("x")),
            ("@orion/plugin-x", Some("orion-plugin-x")),
            ("…", None),
        ];
        for (name, label) in table {
            assert_eq!(to_dns_label(name, MAX_LABEL).as_deref(), label, "{name}");
        }
        assert_eq!(to_dns_label(&"ab-".repeat(40), 6).as_deref(), Some("ab-ab"));
    }
}
