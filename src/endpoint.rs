//! How the CLI finds its server and its token: `--server`, the environment, the running `orion up` of this folder or
//! one above, else the default address.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use orion_model::ClientError;
use reqwest::Url;

use crate::{cli::Global, failure::Failure};

/// Where a server listens unless it is told otherwise.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:6060";

/// The file in a data directory that says where the server of that directory listens.
pub(crate) const ENDPOINT_FILE: &str = "endpoint";

/// The name of a data directory.
pub(crate) const DATA_DIR: &str = ".orion";

/// A server and the way to be let in.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Its address.
    pub(crate) url: String,
    /// The token, where one was found.
    pub(crate) token: Option<String>,
    origin: Origin,
}

/// Who said where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Flag,
    Variable(&'static str),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("--server names it; is it running there?"),
            Self::Variable(name) => write!(f, "{name} names it; is it running there?"),
            Self::File(path) => {
                write!(f, "{} names it, but it has ended; `orion up` starts it again", path.display())
            }
            Self::Default => f.write_str(
                "no server was named, and no `orion up` runs in this folder or above it: \
                 `orion up` starts one, --server or ORION_API_URL names another",
            ),
        }
    }
}

impl Endpoint {
    /// The server that this process serves.
    pub(crate) fn own(url: &str, token: &str) -> Self {
        Self { url: url.to_owned(), token: Some(token.to_owned()), origin: Origin::Flag }
    }

    /// Finds the server a command is meant for.
    pub(crate) fn find(global: &Global) -> Result<Self, Failure> {
        let here = std::env::current_dir()?;
        let beside = nearest_data_dir(&here).and_then(Beside::read);
        let from_environment =
            ["ORION_API_URL", "ORION_API"].into_iter().find_map(|name| Some((variable(name)?, Origin::Variable(name))));
        let (url, origin) = global
            .server
            .clone()
            .map(|url| (url, Origin::Flag))
            .or(from_environment)
            .or_else(|| beside.as_ref().map(|beside| (beside.url.clone(), Origin::File(beside.file.clone()))))
            .unwrap_or_else(|| (DEFAULT_URL.to_owned(), Origin::Default));
        let url = normalised(&url)?;
        // A token is only for the server whose directory it lies in.
        let beside = beside.filter(|beside| normalised(&beside.url).is_ok_and(|known| known == url));
        let token = variable("ORION_TOKEN").or_else(|| beside?.token);
        Ok(Self { url, token, origin })
    }

    /// What is wrong where this server gives no answer, and what to do.
    pub(crate) fn unreachable(&self, error: &ClientError) -> Failure {
        Failure::usage(format!("{error}\n  {}", self.origin))
    }
}

/// What a data directory says of its server.
struct Beside {
    file: PathBuf,
    url: String,
    token: Option<String>,
}

impl Beside {
    fn read(data_dir: PathBuf) -> Option<Self> {
        let file = data_dir.join(ENDPOINT_FILE);
        Some(Self { url: first_line(&file)?, token: first_line(&data_dir.join("admin.token")), file })
    }
}

/// The data directory of the server nearest to a folder: the one `ORION_DATA_DIR` names, else `.orion` there or above.
pub(crate) fn nearest_data_dir(from: &Path) -> Option<PathBuf> {
    let named = variable("ORION_DATA_DIR").map(PathBuf::from);
    named
        .into_iter()
        .chain(from.ancestors().map(|dir| dir.join(DATA_DIR)))
        .find(|dir| dir.join(ENDPOINT_FILE).is_file())
}

/// A variable of the environment; one that is empty says nothing.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn first_line(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// A server's address in one form: scheme, host and port, without an end.
fn normalised(given: &str) -> Result<String, Failure> {
    let with_scheme = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    let url = Url::parse(&with_scheme).map_err(|error| Failure::usage(format!("the server {given:?}: {error}")))?;
    match url.scheme() {
        "http" => Ok(url.as_str().trim_end_matches('/').to_owned()),
        "https" => Err(Failure::usage(format!(
            "the server {given:?}: https is not built yet; use http:// on loopback or through a tunnel"
        ))),
        _ => Err(Failure::usage(format!("the server {given:?}: its address begins with http://"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_written_in_any_usual_way() {
        let table = [
            ("http://127.0.0.1:6060/", "http://127.0.0.1:6060"),
            ("localhost:6060", "http://localhost:6060"),
            ("127.0.0.1:6060", "http://127.0.0.1:6060"),
            ("http://[::1]:6060", "http://[::1]:6060"),
            ("http://host/orion/", "http://host/orion"),
        ];
        for (given, expected) in table {
            assert_eq!(normalised(given).expect(given), expected);
        }
        for refused in ["https://host", "ftp://host", "http://"] {
            assert!(normalised(refused).is_err(), "{refused}");
        }
    }
}
