//! `orion server`: a control plane in the foreground.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use crate::{
    cli,
    control_plane::{ControlPlane, Options},
    failure::Failure,
    shutdown,
};

/// Where a server listens unless told otherwise.
const DEFAULT_PORT: u16 = 6060;

/// Runs until INT, TERM or HUP.
pub(crate) async fn run(server: &cli::Server) -> Result<(), Failure> {
    let (shutdown, _signals) = shutdown::listen()?;
    let control_plane = ControlPlane::start(&options(server)?).await?;
    println!("orion server listening on {}", control_plane.url());
    control_plane.run_until(shutdown.end).await
}

fn options(server: &cli::Server) -> Result<Options, Failure> {
    let environment = std::env::var("ORION_STATE_DB").ok().filter(|text| !text.is_empty());
    let database = match server.db.clone().or(environment) {
        Some(text) => database(&text)?,
        None => server.data_dir.join("state.sqlite"),
    };
    Ok(Options {
        listen: listen(server)?,
        data_dir: server.data_dir.clone(),
        database,
        controllers: server.controllers,
        require_token: server.require_token,
        insecure: server.insecure,
        host_names: server.host_names.clone(),
    })
}

fn listen(server: &cli::Server) -> Result<SocketAddr, Failure> {
    if let Some(address) = server.listen {
        return Ok(address);
    }
    let host: IpAddr = match server.host.as_deref() {
        None | Some("localhost" | "") => Ipv4Addr::LOCALHOST.into(),
        Some(host) => {
            host.parse().map_err(|_| Failure::usage(format!("--host {host}: is no IP address of this machine")))?
        }
    };
    Ok(SocketAddr::new(host, server.port.unwrap_or(DEFAULT_PORT)))
}

/// A path, or a `sqlite://` URL.
fn database(text: &str) -> Result<PathBuf, Failure> {
    if text.starts_with("mongodb://") || text.starts_with("mongodb+srv://") {
        // The URL may hold a password: it is not repeated.
        return Err(Failure::usage("--db: MongoDB is not built yet; give a path or a sqlite:// URL"));
    }
    let path = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")).unwrap_or(text);
    if path.is_empty() || path.contains("://") {
        return Err(Failure::usage(format!("--db {text}: give a path or a sqlite:// URL")));
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_a_path_or_a_sqlite_url() {
        for text in ["a/b.sqlite", "sqlite:a/b.sqlite", "sqlite://a/b.sqlite"] {
            assert_eq!(database(text).expect(text), PathBuf::from("a/b.sqlite"));
        }
        assert_eq!(database("sqlite:///abs.sqlite").expect("absolute"), PathBuf::from("/abs.sqlite"));
        let refused = database("mongodb://user:secret@host/db").expect_err("not built").to_string();
        assert!(!refused.contains("secret"), "{refused}");
        assert!(database("postgres://x").is_err());
    }
}
