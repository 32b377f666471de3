//! `orion version`

use orion_http::HttpClient;
use serde_json::{Value, json};

use crate::{
    cli::{self, Global, Output},
    commands::get::print_document,
    endpoint::Endpoint,
    failure::Failure,
    out::say,
    remote::text,
};

/// Says which version this is and, where one answers, which the server is.
pub(crate) async fn run(global: &Global, version: &cli::Version) -> Result<(), Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let endpoint = Endpoint::find(global)?;
    let client = HttpClient::new(&endpoint.url, endpoint.token.clone())?;
    let server: Option<Value> = client.read("/version", &[]).await.ok();
    match version.output {
        Output::Json | Output::Yaml => {
            print_document(&json!({"client": {"version": own}, "server": server}), version.output)
        }
        Output::Table | Output::Wide | Output::Name => {
            say!("orion {own}");
            match server {
                Some(server) => say!("server {} at {}", own_version(&text(&server, "/gitVersion")), endpoint.url),
                None => say!("no server answers at {}", endpoint.url),
            }
            Ok(())
        }
    }
}

/// Orion's version in the one that Kubernetes' clients read: `v1.37.0+orion.0.1.0`.
fn own_version(git_version: &str) -> &str {
    git_version.split_once("+orion.").map_or(git_version, |(_, own)| own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orions_version_is_found_in_what_kubernetes_clients_read() {
        assert_eq!(own_version("v1.37.0+orion.0.1.0"), "0.1.0");
        assert_eq!(own_version("v1.37.0"), "v1.37.0");
    }
}
