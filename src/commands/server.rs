//! `orion server`: a control plane in the foreground.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use crate::{
    cli,
    control_plane::{ControlPlane, Options},
    endpoint::variable,
    failure::Failure,
    out, shutdown,
};

/// Where a server listens unless told otherwise.
const DEFAULT_PORT: u16 = 6060;

/// Runs until INT, TERM or HUP.
pub(crate) async fn run(server: &cli::Server) -> Result<(), Failure> {
    let (shutdown, _signals) = shutdown::listen()?;
    let options = options(server)?;
    let control_plane = tokio::select! {
        biased;
        () = shutdown.end.cancelled() => return Ok(()),
        started = ControlPlane::start(&options) => started?,
    };
    let said = out::write(format_args!("orion server listening on {}\n", control_plane.url()));
    if said.is_err() {
        shutdown.end.cancel();
    }
    control_plane.run_until(shutdown.end).await.and(said)
}

fn options(server: &cli::Server) -> Result<Options, Failure> {
    Ok(Options {
        listen: listen(server)?,
        data_dir: server.data_dir.clone(),
        database: database(server.db.db.as_deref(), &server.data_dir)?,
        controllers: server.controllers,
        require_token: server.require_token,
        insecure: server.insecure,
        host_names: server.host_names.clone(),
    })
}

fn listen(server: &cli::Server) -> Result<SocketAddr, Failure> {
    match server.listen {
        Some(address) => Ok(address),
        None => Ok(SocketAddr::new(listen_address(server.host.as_deref())?, server.port.unwrap_or(DEFAULT_PORT))),
    }
}

/// The address that a host to listen on stands for.
pub(crate) fn listen_address(host: Option<&str>) -> Result<IpAddr, Failure> {
    match host {
        None | Some("localhost" | "") => Ok(Ipv4Addr::LOCALHOST.into()),
        Some(host) => {
            host.parse().map_err(|_| Failure::usage(format!("--host {host}: is no IP address of this machine")))
        }
    }
}

/// The state file: what `--db` or `ORION_DB_PATH` says, else `ORION_STATE_DB`, else in the data directory.
pub(crate) fn database(said: Option<&str>, data_dir: &Path) -> Result<PathBuf, Failure> {
    let said = said.filter(|text| !text.is_empty()).map(str::to_owned).or_else(|| variable("ORION_STATE_DB"));
    said.map_or_else(|| Ok(data_dir.join("state.sqlite")), |text| path_of(&text))
}

/// A path, or a `sqlite://` URL.
fn path_of(text: &str) -> Result<PathBuf, Failure> {
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
            assert_eq!(path_of(text).expect(text), PathBuf::from("a/b.sqlite"));
        }
        assert_eq!(path_of("sqlite:///abs.sqlite").expect("absolute"), PathBuf::from("/abs.sqlite"));
        let refused = path_of("mongodb://user:secret@host/db").expect_err("not built").to_string();
        assert!(!refused.contains("secret"), "{refused}");
        assert!(path_of("postgres://x").is_err());
    }
}
