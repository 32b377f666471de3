//! What a request says in its query, read the way Kubernetes' clients write it.

use std::{fmt::Display, str::FromStr, time::Duration};

use orion_model::ResourceVersion;

use crate::{Failure, FieldValidation, WriteOptions};

/// The longest name of a field manager.
const MAX_FIELD_MANAGER: usize = 128;

/// The parameters of a query. Unknown ones are never looked at; of one that comes twice the first counts.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// A parameter that is there and not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|value| !value.is_empty())
    }

    /// A parameter that is on: absent, `false` and `0` are off, everything else, even nothing, is on.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| !value.eq_ignore_ascii_case("false") && value != "0")
    }

    /// A parameter that is a number or the like.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|error| Failure::bad_request(format!("{name}={text}: {error}")))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The version a read or watch names, and how it is meant.
    pub(super) fn version(&self) -> Result<Option<ResourceVersion>, Failure> {
        let Some(text) = self.text("resourceVersion") else { return Ok(None) };
        let version = text.parse().map_err(|_| Failure::bad_request(format!("invalid resource version {text:?}")))?;
        Ok(Some(version))
    }

    /// How the version is meant.
    pub(super) fn version_match(&self) -> Result<Option<VersionMatch>, Failure> {
        match self.text("resourceVersionMatch") {
            None => Ok(None),
            Some("NotOlderThan") => Ok(Some(VersionMatch::NotOlderThan)),
            Some("Exact") => Ok(Some(VersionMatch::Exact)),
            Some(other) => {
                Err(Failure::invalid_option("resourceVersionMatch", format!("{other:?} is not Exact or NotOlderThan")))
            }
        }
    }

    /// How long the client wants a watch to last.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, Failure> {
        let seconds = self.parsed::<u32>("timeoutSeconds")?;
        Ok(seconds.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into())))
    }

    /// What a writer says beside the object.
    pub(super) fn write_options(&self) -> Result<WriteOptions, Failure> {
        Ok(WriteOptions {
            dry_run: is_dry_run(self.0.iter().filter(|(name, _)| name == "dryRun").map(|(_, value)| value.as_str()))?,
            field_manager: self.field_manager()?,
            field_validation: self.field_validation()?,
        })
    }

    fn field_manager(&self) -> Result<Option<String>, Failure> {
        let Some(manager) = self.text("fieldManager") else { return Ok(None) };
        if manager.chars().count() > MAX_FIELD_MANAGER || manager.chars().any(char::is_control) {
            let message = format!("must be at most {MAX_FIELD_MANAGER} printable characters");
            return Err(Failure::invalid_option("fieldManager", message));
        }
        Ok(Some(manager.to_owned()))
    }

    fn field_validation(&self) -> Result<FieldValidation, Failure> {
        match self.text("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some(other) => {
                Err(Failure::invalid_option("fieldValidation", format!("{other:?} is not Ignore, Warn or Strict")))
            }
        }
    }
}

/// How a version is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VersionMatch {
    /// That one or a newer one.
    NotOlderThan,
    /// That one.
    Exact,
}

/// Whether a list of dry-run stages asks for a dry run; `All` is the only stage there is.
pub(super) fn is_dry_run<'a>(stages: impl IntoIterator<Item = &'a str>) -> Result<bool, Failure> {
    let mut asked = false;
    for stage in stages {
        match stage {
            "" => {}
            "All" => asked = true,
            other => return Err(Failure::invalid_option("dryRun", format!("{other:?} is not All"))),
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_off_only_when_absent_false_or_0() {
        let table = [
            ("", false),
            ("watch=false", false),
            ("watch=False", false),
            ("watch=0", false),
            ("watch=true", true),
            ("watch=True", true),
            ("watch=1", true),
            ("watch=", true),
            ("watch", true),
            ("?&watch=true", true),
        ];
        for (text, on) in table {
            assert_eq!(Query::parse(text).flag("watch"), on, "{text:?}");
        }
    }

    #[test]
    fn what_is_wrong_in_a_query_is_refused_by_name() {
        let code = |result: Result<WriteOptions, Failure>| result.map_err(|failure| failure.status().code);
        assert_eq!(code(Query::parse("dryRun=None").write_options()), Err(422));
        assert_eq!(code(Query::parse("fieldValidation=strict").write_options()), Err(422));
        assert_eq!(code(Query::parse("fieldManager=a%0ab").write_options()), Err(422));
        let options = Query::parse("dryRun=All&fieldValidation=Strict&fieldManager=me&other=1").write_options();
        let expected =
            WriteOptions { dry_run: true, field_manager: Some("me".into()), field_validation: FieldValidation::Strict };
        assert_eq!(code(options), Ok(expected));
        assert!(Query::parse("resourceVersion=abc").version().is_err());
        assert!(Query::parse("timeoutSeconds=-1").timeout().is_err());
        assert_eq!(Query::parse("resourceVersion=").version().expect("none"), None);
    }
}
