//! The check by shape: what is wrong is told and left out, the rest comes out in canonical form.

use orion_model::yaml::{Document, Path};
use serde_json::{Map, Value};

use crate::{
    config::{
        check::Findings,
        shape::{CONFIG, Format, Object, Shape},
    },
    scalar::kind_of,
    suggest::{did_you_mean, nearest},
};

/// The content of a document in canonical form, without what is wrong, unknown or nothing.
pub(super) fn normalised(shape: &Shape, document: &Document, findings: &mut Findings<'_>) -> Option<Value> {
    let mut form = Form { document, path: Path::root(), findings };
    form.value(shape, &document.value)
}

struct Form<'a, 'd> {
    document: &'a Document,
    path: Path,
    findings: &'a mut Findings<'d>,
}

impl Form<'_, '_> {
    /// The value in canonical form; `None` when it is wrong, which has been told then.
    fn value(&mut self, shape: &Shape, value: &Value) -> Option<Value> {
        let read = match shape {
            Shape::Any => Ok(value.clone()),
            Shape::Bool => value.is_boolean().then(|| value.clone()).ok_or_else(|| self.wanted("true or false", value)),
            Shape::Text => value.is_string().then(|| value.clone()).ok_or_else(|| self.wanted_text(value)),
            Shape::Word(words) => self.word(words, value),
            Shape::Integer { min, max } => self.integer(*min, *max, value),
            Shape::Number { min, max } => self.number(*min, *max, value),
            Shape::Format(format) => self.format(format, value),
            Shape::TextOr(_) if value.is_string() => Ok(value.clone()),
            Shape::TextOr(other) => return self.value(other, value),
            Shape::List(items) => match value {
                Value::Array(list) => return self.list(items, list),
                other => Err(self.wanted("a list", other)),
            },
            Shape::Entries(items) => match value {
                Value::Array(list) => return Some(self.entries(items, list)),
                other => Err(self.wanted("a list", other)),
            },
            Shape::Map(values) => match value {
                Value::Object(fields) => return self.map(values, fields),
                other => Err(self.wanted("a mapping", other)),
            },
            Shape::Object(object) => match value {
                Value::Object(fields) => return self.whole_object(object, fields),
                other => Err(self.wanted("a mapping", other)),
            },
        };
        read.map_err(|message| self.findings.issue(self.path.clone(), message)).ok()
    }

    /// A list; if an item is wrong there is none, so that no item takes another's index.
    fn list(&mut self, items: &Shape, list: &[Value]) -> Option<Value> {
        let read: Vec<Option<Value>> =
            list.iter().enumerate().map(|(index, item)| self.at(index, |form| form.value(items, item))).collect();
        read.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
    }

    /// A list in which what is wrong leaves its place empty.
    fn entries(&mut self, items: &Shape, list: &[Value]) -> Value {
        let entry = |(index, item): (usize, &Value)| self.at(index, |form| form.entry(items, item)).unwrap_or_default();
        list.iter().enumerate().map(entry).collect()
    }

    fn entry(&mut self, shape: &Shape, value: &Value) -> Option<Value> {
        match (shape.object(), value) {
            (Some(object), Value::Object(fields)) => Some(Value::Object(self.object(object, fields).0)),
            _ => self.value(shape, value),
        }
    }

    fn map(&mut self, values: &Shape, fields: &Map<String, Value>) -> Option<Value> {
        let read: Vec<Option<(String, Value)>> = fields
            .iter()
            .map(|(name, value)| {
                self.at(name.as_str(), |form| form.value(values, value)).map(|value| (name.clone(), value))
            })
            .collect();
        read.into_iter().collect::<Option<Map<_, _>>>().map(Value::Object)
    }

    /// A mapping with known fields; if a required one is missing there is none.
    fn whole_object(&mut self, object: &Object, fields: &Map<String, Value>) -> Option<Value> {
        let (read, complete) = self.object(object, fields);
        complete.then_some(Value::Object(read))
    }

    /// The fields that are known and right, and whether all required ones are there. A field that is nothing counts as
    /// one that is not said.
    fn object(&mut self, object: &Object, fields: &Map<String, Value>) -> (Map<String, Value>, bool) {
        let mut read = Map::new();
        for (name, value) in fields {
            match object.fields.get(name) {
                Some(_) if value.is_null() => {}
                Some(shape) => {
                    if let Some(value) = self.at(name.as_str(), |form| form.value(shape, value)) {
                        read.insert(name.clone(), value);
                    }
                }
                None if name.starts_with("x-") => {}
                None => self.at(name.as_str(), |form| form.unknown(object, name)),
            }
        }
        let missing: Vec<&String> =
            object.required.iter().filter(|name| fields.get(*name).is_none_or(Value::is_null)).collect();
        for name in &missing {
            self.findings.issue(self.path.join(name.as_str()), "is missing");
        }
        (read, missing.is_empty())
    }

    fn at<T>(&mut self, segment: impl Into<orion_model::yaml::PathSegment>, inner: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(segment);
        let result = inner(self);
        self.path.pop();
        result
    }

    fn unknown(&mut self, object: &Object, name: &str) {
        let meant = nearest(name, object.fields.keys().map(String::as_str));
        let elsewhere = if meant.is_some_and(|meant| meant.eq_ignore_ascii_case(name)) {
            None
        } else {
            field_elsewhere(self.path.segments().len(), name)
        };
        let hint = elsewhere.unwrap_or_else(|| did_you_mean(name, meant));
        self.findings.unknown(self.path.clone(), format!("is an unknown field and has no effect{hint}"));
    }

    fn word(&self, words: &[String], value: &Value) -> Result<Value, String> {
        match value {
            Value::String(word) if words.contains(word) => Ok(value.clone()),
            Value::String(word) => Err(format!(
                "must be one of {}, not {word:?}{}",
                words.join(", "),
                did_you_mean(word, words.iter().map(String::as_str))
            )),
            other => Err(self.wanted(&format!("one of {}", words.join(", ")), other)),
        }
    }

    fn integer(&self, min: i128, max: i128, value: &Value) -> Result<Value, String> {
        let Value::Number(number) = value else { return Err(self.wanted("a whole number", value)) };
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        let Some(whole) = whole else { return Err(format!("must be a whole number, not {}", self.written(value))) };
        if (min..=max).contains(&whole) {
            Ok(value.clone())
        } else {
            Err(format!("must be {min} to {max}, not {whole}"))
        }
    }

    fn number(&self, min: f64, max: f64, value: &Value) -> Result<Value, String> {
        let Some(number) = value.as_f64() else { return Err(self.wanted("a number", value)) };
        if number < min {
            return Err(format!("must be at least {min}, not {}", self.written(value)));
        }
        if number > max {
            Err(format!("must be at most {max}, not {}", self.written(value)))
        } else {
            Ok(value.clone())
        }
    }

    fn format(&self, format: &Format, value: &Value) -> Result<Value, String> {
        match value {
            Value::Number(_) | Value::Bool(_) if format.takes_any_text => {
                (format.normalise)(&Value::String(self.written(value)))
            }
            _ => (format.normalise)(value),
        }
    }

    fn wanted_text(&self, value: &Value) -> String {
        match value {
            Value::Number(_) | Value::Bool(_) => format!("must be a string; write \"{}\"", self.written(value)),
            other => self.wanted("a string", other),
        }
    }

    fn wanted(&self, what: &str, value: &Value) -> String {
        match value {
            Value::String(text) if text.len() <= 40 => format!("must be {what}, not the string {text:?}"),
            other => format!("must be {what}, not {}", kind_of(other)),
        }
    }

    /// The value as it stands in the text.
    fn written(&self, value: &Value) -> String {
        self.document.source(self.path.segments()).map_or_else(|| value.to_string(), str::to_owned)
    }
}

/// Where a field belongs that stands in the wrong mapping: at the top instead of in `spec`, or at a service instead of
/// a job.
fn field_elsewhere(depth: usize, name: &str) -> Option<String> {
    let spec = CONFIG.object()?.within("spec")?;
    match depth {
        1 if spec.fields.contains_key(name) => Some(format!("; it belongs under spec: spec.{name}")),
        4 => {
            let other = ["services", "jobs"]
                .into_iter()
                .find(|list| spec.within(list).is_some_and(|entry| entry.fields.contains_key(name)))?;
            Some(format!("; it is a field of {other}"))
        }
        _ => None,
    }
}
