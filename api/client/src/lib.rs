//! The HTTP client of an Orion API server.
//!
//! An [`HttpClient`] speaks to a server's resources by keys and [`Selection`](orion_model::Selection)s, with objects as
//! JSON values: whoever uses it need not know the kinds, which [`HttpClient::kinds`] asks the server for. Beside them it
//! knows Orion's own surface: apply, services, nodes, logs.
//!
//! ```no_run
//! # async fn example() -> Result<(), orion_model::ClientError> {
//! use orion_http::HttpClient;
//! use orion_model::Selection;
//!
//! let client = HttpClient::new("http://127.0.0.1:6060", None)?;
//! let services = client.kinds().await?.resolve("svc")?;
//! let table = client.list_table(&Selection::all(services).in_namespace("default")).await?;
//! println!("{} services", table.rows.len());
//! # Ok(()) }
//! ```
//!
//! Every error is a [`ClientError`](orion_model::ClientError), as from any other way to a store. A server that cannot be
//! reached is `Unavailable` and named by its URL; a write whose answer was lost is `Unknown`.

mod answer;
mod apply;
mod client;
mod kinds;
mod lines;
mod logs;
mod resources;
mod seed;
mod table;
mod watch;

pub use apply::{ApplyError, ApplyOptions};
pub use client::HttpClient;
pub use kinds::Kinds;
pub use logs::LogOptions;
pub use resources::{Deletion, Listing, WriteOptions, Written};
pub use table::{Column, Row, Table};
pub use watch::WatchEvent;
