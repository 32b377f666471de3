//! `orion version`

use serde_json::{Value, json};

use crate::{
    cli::{self, Global, Output},
    commands::get::print_document,
    endpoint::Endpoint,
    failure::Failure,
    remote::{Remote, text},
};

/// Says which version this is and, where one answers, which the server is.
pub(crate) async fn run(global: &Global, version: &cli::Version) -> Result<(), Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let endpoint = Endpoint::find(global)?;
    let server: Option<Value> = Remote::at(&endpoint, &global.namespace)?.client.read("/version", &[]).await.ok();
    match version.output {
        Output::Json | Output::Yaml => {
            print_document(&json!({"client": {"version": own}, "server": server}), version.output)
        }
        Output::Table | Output::Wide | Output::Name => {
            println!("orion {own}");
            match server {
                Some(server) => println!("server {} at {}", text(&server, "/gitVersion"), endpoint.url),
                None => println!("no server answers at {}", endpoint.url),
            }
            Ok(())
        }
    }
}
