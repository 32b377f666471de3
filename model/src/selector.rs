//! Which objects are meant: label selectors, field selectors, and the selection of a list or watch.
//!
//! The text forms are Kubernetes': `app=web,tier in (a,b),!gpu` and `metadata.name=web,spec.nodeName!=n1`
//! (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/>).

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use serde_json::Value;

use crate::{Kind, Metadata, Raw, path::FieldPath};

/// A selector that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("selector {selector:?}: {message}")]
pub struct SelectorError {
    /// The text.
    pub selector: String,
    /// What is wrong with it.
    pub message: String,
}

/// Requirements on labels, all of which must hold; empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LabelSelector(Vec<Requirement>);

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// `label` is there with one of these values.
    In(String, Vec<String>),
    /// `label` is absent or has none of these values.
    NotIn(String, Vec<String>),
    /// `label` is there.
    Exists(String),
    /// `label` is not there.
    Absent(String),
    /// `label` is a number above this.
    Above(String, i64),
    /// `label` is a number below this.
    Below(String, i64),
}

impl Requirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let number = |label: &String| labels.get(label).and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(label, values) => labels.get(label).is_some_and(|value| values.contains(value)),
            Self::NotIn(label, values) => !labels.get(label).is_some_and(|value| values.contains(value)),
            Self::Exists(label) => labels.contains_key(label),
            Self::Absent(label) => !labels.contains_key(label),
            Self::Above(label, bound) => number(label).is_some_and(|value| value > *bound),
            Self::Below(label, bound) => number(label).is_some_and(|value| value < *bound),
        }
    }
}

impl LabelSelector {
    /// Selects everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects objects whose `label` has this value.
    pub fn equals(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self(vec![Requirement::In(label.into(), vec![value.into()])])
    }

    /// This selector with one more requirement.
    #[must_use]
    pub fn and(mut self, requirement: Requirement) -> Self {
        self.0.push(requirement);
        self
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether labels meet every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }
}

impl FromStr for LabelSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let terms = split_terms(text).into_iter().filter(|term| !term.trim().is_empty());
        terms
            .map(|term| parse_requirement(term.trim()).map_err(|message| error(text, message)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::In(label, values) if values.len() == 1 => write!(f, "{label}={}", values[0])?,
                Requirement::NotIn(label, values) if values.len() == 1 => write!(f, "{label}!={}", values[0])?,
                Requirement::In(label, values) => write!(f, "{label} in ({})", values.join(","))?,
                Requirement::NotIn(label, values) => write!(f, "{label} notin ({})", values.join(","))?,
                Requirement::Exists(label) => f.write_str(label)?,
                Requirement::Absent(label) => write!(f, "!{label}")?,
                Requirement::Above(label, bound) => write!(f, "{label}>{bound}")?,
                Requirement::Below(label, bound) => write!(f, "{label}<{bound}")?,
            }
        }
        Ok(())
    }
}

/// Requirements on fields of an object, all of which must hold; empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FieldSelector(Vec<FieldRequirement>);

/// One requirement on one field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldRequirement {
    /// Where: `metadata.name` or one of the kind's selectable fields.
    pub path: FieldPath,
    /// The value, as text.
    pub value: String,
    /// Whether the field must differ from the value instead.
    pub negated: bool,
}

impl FieldSelector {
    /// Selects the object of this name.
    pub fn name(name: impl Into<String>) -> Self {
        Self::default().and_equals("metadata.name", name)
    }

    /// This selector with the requirement that the field at `path` has this value.
    #[must_use]
    pub fn and_equals(mut self, path: &str, value: impl Into<String>) -> Self {
        self.0.push(FieldRequirement { path: FieldPath::new(path), value: value.into(), negated: false });
        self
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its requirements.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.0
    }

    /// Whether an object meets every requirement.
    pub fn matches(&self, object: &Raw) -> bool {
        let mut value = None;
        self.0.iter().all(|requirement| {
            let equal = match metadata_field(object.metadata(), &requirement.path) {
                Some(text) => text == requirement.value,
                None => {
                    let value: &Value = value.get_or_insert_with(|| object.to_value());
                    requirement.path.text_in(value).unwrap_or_default() == requirement.value
                }
            };
            equal != requirement.negated
        })
    }
}

impl FromStr for FieldSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let terms = text.split(',').map(str::trim).filter(|term| !term.is_empty());
        terms
            .map(|term| parse_field(term).ok_or_else(|| error(text, format!("{term:?} is not field=value"))))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let operator = if requirement.negated { "!=" } else { "=" };
            write!(f, "{comma}{}{operator}{}", requirement.path, requirement.value)?;
        }
        Ok(())
    }
}

/// What a list or a watch is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selection {
    /// The kind.
    pub kind: Kind,
    /// One namespace, or all.
    pub namespace: Option<Arc<str>>,
    /// Requirements on labels.
    pub labels: LabelSelector,
    /// Requirements on fields.
    pub fields: FieldSelector,
}

impl Selection {
    /// All objects of a kind.
    pub fn all(kind: Kind) -> Self {
        Self { kind, namespace: None, labels: LabelSelector::default(), fields: FieldSelector::default() }
    }

    /// This selection within one namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<Arc<str>>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// This selection with requirements on labels.
    #[must_use]
    pub fn with_labels(mut self, labels: LabelSelector) -> Self {
        self.labels = labels;
        self
    }

    /// This selection with requirements on fields.
    #[must_use]
    pub fn with_fields(mut self, fields: FieldSelector) -> Self {
        self.fields = fields;
        self
    }

    /// Whether an object is meant.
    pub fn matches(&self, object: &Raw) -> bool {
        &self.kind == object.kind()
            && self.namespace.as_deref().is_none_or(|namespace| namespace == object.metadata().namespace)
            && self.labels.matches(&object.metadata().labels)
            && self.fields.matches(object)
    }
}

fn metadata_field<'a>(metadata: &'a Metadata, path: &FieldPath) -> Option<&'a str> {
    match path.as_str() {
        "metadata.name" => Some(&metadata.name),
        "metadata.namespace" => Some(&metadata.namespace),
        _ => None,
    }
}

fn error(text: &str, message: String) -> SelectorError {
    SelectorError { selector: text.to_owned(), message }
}

/// Splits at the commas that stand outside parentheses.
fn split_terms(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn parse_requirement(term: &str) -> Result<Requirement, String> {
    if let Some(label) = term.strip_prefix('!').filter(|rest| !rest.contains('=')) {
        return Ok(Requirement::Absent(label_name(label)?));
    }
    if let Some((label, set)) = term.split_once(" notin ").or_else(|| term.split_once(" notin(")) {
        return Ok(Requirement::NotIn(label_name(label)?, parse_set(set)?));
    }
    if let Some((label, set)) = term.split_once(" in ").or_else(|| term.split_once(" in(")) {
        return Ok(Requirement::In(label_name(label)?, parse_set(set)?));
    }
    for (operator, negated) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((label, value)) = term.split_once(operator) {
            let (label, values) = (label_name(label)?, vec![label_value(value)?]);
            return Ok(if negated { Requirement::NotIn(label, values) } else { Requirement::In(label, values) });
        }
    }
    for (operator, above) in [('>', true), ('<', false)] {
        if let Some((label, bound)) = term.split_once(operator) {
            let label = label_name(label)?;
            let bound = bound.trim().parse().map_err(|_| format!("{:?} is not a whole number", bound.trim()))?;
            return Ok(if above { Requirement::Above(label, bound) } else { Requirement::Below(label, bound) });
        }
    }
    label_name(term).map(Requirement::Exists)
}

fn parse_set(text: &str) -> Result<Vec<String>, String> {
    let inner =
        text.trim().trim_start_matches('(').strip_suffix(')').ok_or("a set needs parentheses: `label in (a,b)`")?;
    inner.split(',').map(label_value).collect()
}

fn label_name(text: &str) -> Result<String, String> {
    let label = text.trim();
    let bare = label.rsplit_once('/').map_or(label, |(_, name)| name);
    if is_label_text(bare) && !bare.is_empty() {
        Ok(label.to_owned())
    } else {
        Err(format!("{label:?} is not a label name"))
    }
}

fn label_value(text: &str) -> Result<String, String> {
    let value = text.trim();
    if is_label_text(value) { Ok(value.to_owned()) } else { Err(format!("{value:?} is not a label value")) }
}

fn is_label_text(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && edge(text.chars().next())
        && edge(text.chars().last())
}

fn parse_field(term: &str) -> Option<FieldRequirement> {
    let (path, value, negated) = match term.split_once("!=") {
        Some((path, value)) => (path, value, true),
        None => term.split_once("==").or_else(|| term.split_once('=')).map(|(path, value)| (path, value, false))?,
    };
    Some(FieldRequirement { path: FieldPath::new(path.trim()), value: value.trim().to_owned(), negated })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn label_selectors_match_as_kubernetes_does() {
        let web = labels(&[("app", "web"), ("tier", "front"), ("size", "3")]);
        let table = [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app!=web", false),
            ("missing!=web", true),
            ("app in (api, web),tier", true),
            ("app notin (api,web)", false),
            ("!gpu", true),
            ("!app", false),
            ("size>2", true),
            ("size<3", false),
            ("app=web,tier=back", false),
        ];
        for (text, expected) in table {
            let selector: LabelSelector = text.parse().expect(text);
            assert_eq!(selector.matches(&web), expected, "{text}");
            let again: LabelSelector = selector.to_string().parse().expect("what is printed parses");
            assert_eq!(again, selector, "{text}");
        }
    }

    #[test]
    fn a_bad_label_selector_says_what_is_wrong() {
        for text in ["a b", "=x", "app in web", "app=a b", "size>big", "-app", "a/"] {
            assert!(text.parse::<LabelSelector>().is_err(), "{text}");
        }
    }
}
