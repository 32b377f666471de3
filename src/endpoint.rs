//! How the CLI finds its server and its token: `--server`, the environment, the running `orion up` of this folder or
//! one above, else the default address.

use std::path::{Path, PathBuf};

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
}

impl Endpoint {
    /// Finds the server a command is meant for.
    pub(crate) fn find(global: &Global) -> Result<Self, Failure> {
        let environment = ["ORION_API_URL", "ORION_API"].iter().find_map(|name| std::env::var(name).ok());
        let local = std::env::current_dir().ok().and_then(|here| nearest_data_dir(&here));
        let named = global.server.clone().or(environment.filter(|url| !url.is_empty()));
        let written = local.as_ref().and_then(|dir| read_line(&dir.join(ENDPOINT_FILE)));
        let from_file = named.is_none() && written.is_some();
        let url = named.or(written).unwrap_or_else(|| DEFAULT_URL.to_owned());
        let url = normalised(&url)?;
        let token = std::env::var("ORION_TOKEN").ok().or_else(|| {
            // A token is only for the server whose directory it lies in.
            let dir = local.filter(|_| from_file || is_loopback(&url))?;
            read_line(&dir.join("admin.token"))
        });
        Ok(Self { url, token })
    }
}

/// The nearest `.orion` here or above.
pub(crate) fn nearest_data_dir(from: &Path) -> Option<PathBuf> {
    from.ancestors().map(|dir| dir.join(DATA_DIR)).find(|dir| dir.join(ENDPOINT_FILE).is_file())
}

fn read_line(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

fn normalised(url: &str) -> Result<String, Failure> {
    let url = url.trim_end_matches('/');
    if url.starts_with("http://") {
        return Ok(url.to_owned());
    }
    if url.starts_with("https://") {
        return Err(Failure::usage(format!(
            "{url}: https is not built yet; use http:// on loopback or through a tunnel"
        )));
    }
    if url.contains("://") {
        return Err(Failure::usage(format!("{url}: a server's address begins with http://")));
    }
    Ok(format!("http://{url}"))
}

fn is_loopback(url: &str) -> bool {
    ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|prefix| url.starts_with(prefix))
}
