//! Applying a configuration: `POST /api/apply`.

use orion_model::{ClientError, Issue, ResourceVersion};
use reqwest::{Method, StatusCode, header};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{HttpClient, client::nothing};

/// How a configuration is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Say what would change, and change nothing.
    pub dry_run: bool,
    /// Delete what this configuration once said and no longer does.
    pub prune: bool,
    /// Take over what belongs to another configuration or to none.
    pub force: bool,
    /// Refuse unknown fields instead of warning of them.
    pub strict: bool,
    /// Refuse if the configuration is no longer at this version.
    pub expect_version: Option<ResourceVersion>,
}

impl ApplyOptions {
    fn query(self) -> Vec<(&'static str, String)> {
        let flags = [("dryRun", self.dry_run), ("prune", self.prune), ("force", self.force), ("strict", self.strict)];
        let mut query: Vec<_> =
            flags.into_iter().filter(|(_, on)| *on).map(|(name, _)| (name, "true".to_owned())).collect();
        query.extend(self.expect_version.map(|version| ("expectVersion", version.to_string())));
        query
    }
}

/// Why a configuration was not applied.
#[derive(Clone, Debug)]
pub enum ApplyError {
    /// It is wrong.
    Invalid {
        /// What the server says of the whole.
        message: String,
        /// All that is wrong, each with its path and place.
        issues: Vec<Issue>,
    },
    /// Anything else: a conflict, a server that cannot be reached, an outcome that is unknown.
    Client(ClientError),
}

impl std::fmt::Display for ApplyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Invalid { message, issues } => {
                f.write_str(message)?;
                issues.iter().try_for_each(|issue| write!(f, "\n  {issue}"))
            }
            Self::Client(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ApplyError {}

impl From<ClientError> for ApplyError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

/// What the server says of a configuration that is wrong.
#[derive(Deserialize)]
struct Refusal {
    message: String,
    issues: Vec<Issue>,
}

impl HttpClient {
    /// Applies a configuration as it is written, of type `application/yaml` or `application/json`. `A` is the answer:
    /// orion-types' `ApplyAnswer`, or a JSON value.
    ///
    /// # Errors
    /// [`ApplyError::Invalid`] with all that is wrong, or why it could not be applied.
    pub async fn apply<A: DeserializeOwned>(
        &self,
        body: impl Into<reqwest::Body>,
        content_type: &str,
        options: ApplyOptions,
    ) -> Result<A, ApplyError> {
        let request = self.request(Method::POST, "/api/apply").query(&options.query());
        let request = request.header(header::CONTENT_TYPE, content_type).body(body);
        let answer = self.write(request).await?;
        if answer.code == StatusCode::BAD_REQUEST
            && let Ok(Refusal { message, issues }) = serde_json::from_slice(&answer.body)
        {
            return Err(ApplyError::Invalid { message, issues });
        }
        let about = nothing();
        Ok(answer.into_success(&about)?.json(&about)?)
    }
}
