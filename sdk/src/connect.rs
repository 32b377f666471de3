//! From a URL to a client.

use orion_model::{Client, Registry, registry::Kinds};
use orion_store::OpenError;

/// Why there is no client at this URL.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL names no store that this program knows how to open.
    #[error("cannot connect to {url:?}: {reason}")]
    Url {
        /// The URL, without its secrets.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The store does not open.
    #[error("cannot open {url}")]
    Open {
        /// The URL.
        url: String,
        /// Why not, and what to do.
        #[source]
        source: Box<OpenError>,
    },
}

const SCHEMES: &str = "say `memory:` or `sqlite:PATH`";

/// Opens a store that knows the kinds of a tuple, and gives a client of it. The store ends with its last client.
///
/// - `memory:` forgets everything at the end of the program.
/// - `sqlite:PATH` is a file, made where it is missing (feature `sqlite`, on by default). One program at a time has it.
///
/// # Errors
/// When the URL is neither, and when the store does not open; the error says what to do.
///
/// # Examples
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), orion_sdk::ConnectError> {
/// let client = orion_sdk::connect::<()>("memory:").await?;
/// assert!(client.registry().iter().count() >= 2, "events and leases are in every store");
/// let refused = orion_sdk::connect::<()>("websites.db").await.unwrap_err();
/// assert_eq!(refused.to_string(), r#"cannot connect to "websites.db": say `memory:` or `sqlite:PATH`"#);
/// # Ok(())
/// # }
/// ```
pub async fn connect<K: Kinds>(url: &str) -> Result<Client, ConnectError> {
    let registry = Registry::new().with_all::<K>();
    match Target::of(url) {
        Target::Memory => Ok(orion_store::memory(registry).await.map_err(|source| open(url, source))?.client()),
        Target::Sqlite(path) => sqlite(url, path, registry).await,
        Target::None(reason) => Err(ConnectError::Url { url: without_secrets(url), reason }),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    Memory,
    Sqlite(&'a str),
    None(&'static str),
}

impl<'a> Target<'a> {
    fn of(url: &'a str) -> Self {
        let Some((scheme, rest)) = url.split_once(':') else { return Self::None(SCHEMES) };
        let path = rest.strip_prefix("//").unwrap_or(rest);
        match scheme {
            "memory" if path.is_empty() => Self::Memory,
            "memory" => Self::None("a store in memory has no path: say `memory:`"),
            "sqlite" if path.is_empty() => Self::None("the path of the file is missing: say `sqlite:PATH`"),
            "sqlite" => Self::Sqlite(path),
            "mongodb" | "mongodb+srv" => Self::None("MongoDB is not built into this program"),
            "http" | "https" => Self::None("a server over HTTP cannot be a controller's backend yet"),
            _ => Self::None(SCHEMES),
        }
    }
}

#[cfg(feature = "sqlite")]
async fn sqlite(url: &str, path: &str, registry: Registry) -> Result<Client, ConnectError> {
    Ok(orion_store::sqlite(path, registry).await.map_err(|source| open(url, source))?.client())
}

#[cfg(not(feature = "sqlite"))]
async fn sqlite(url: &str, _: &str, _: Registry) -> Result<Client, ConnectError> {
    Err(ConnectError::Url { url: url.to_owned(), reason: "the feature `sqlite` is not built into this program" })
}

fn open(url: &str, source: OpenError) -> ConnectError {
    ConnectError::Open { url: url.to_owned(), source: Box::new(source) }
}

/// The URL without what stands before an `@`.
fn without_secrets(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_store_or_say_what_is_wrong() {
        let table = [
            ("memory:", Target::Memory),
            ("memory://", Target::Memory),
            ("memory:x", Target::None("a store in memory has no path: say `memory:`")),
            ("sqlite:state.db", Target::Sqlite("state.db")),
            ("sqlite:///var/lib/state.db", Target::Sqlite("/var/lib/state.db")),
            ("sqlite:/var/lib/state.db", Target::Sqlite("/var/lib/state.db")),
            ("sqlite:", Target::None("the path of the file is missing: say `sqlite:PATH`")),
            ("mongodb://host", Target::None("MongoDB is not built into this program")),
            ("https://host", Target::None("a server over HTTP cannot be a controller's backend yet")),
            ("state.db", Target::None(SCHEMES)),
            ("postgres://host", Target::None(SCHEMES)),
        ];
        for (url, expected) in table {
            assert_eq!(Target::of(url), expected, "{url}");
        }
    }

    #[tokio::test]
    async fn a_password_is_not_repeated_in_an_error() {
        let error = connect::<()>("mongodb://me:secret@host/db").await.expect_err("not built in").to_string();
        assert!(!error.contains("secret"), "{error}");
        assert!(error.contains("@host/db"), "{error}");
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn a_file_keeps_what_was_written_and_has_one_program_at_a_time() {
        use std::time::Duration;

        use orion_model::{Lease, LeaseSpec, Resource};

        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("state.db").display());
        let client = connect::<()>(&url).await.expect("it opens");
        client.create(&Lease::new("a", LeaseSpec::default())).await.expect("it is new");
        let error = connect::<()>(&url).await.expect_err("it is in use");
        assert!(matches!(error, ConnectError::Open { .. }), "{error}");
        drop(client);
        // The last client's store gives the file back in the background.
        let reopened = async {
            loop {
                match connect::<()>(&url).await {
                    Ok(client) => break client,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let again = tokio::time::timeout(Duration::from_secs(30), reopened).await.expect("the file is given back");
        assert!(again.get(&Lease::key_of("default", "a")).await.expect("it answers").is_some());
    }
}
