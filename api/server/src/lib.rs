//! Serves the resources of any registry the way Kubernetes serves them, and guards, bounds and audits what it serves.
//!
//! It knows no kind of Orion's: a program with its own kinds mounts the same routes over its own client. A request
//! takes this way:
//!
//! ```text
//! serve      bounds on connections, headers, bodies and time; who is at the other end (Peer)
//!   Guard    Host, Origin, peer or token, content type; says who calls (Caller)
//!     router Resources, Health and whatever others merge; errors are Status objects (with_status_errors)
//!       Resources  path -> definition -> read, watch or write
//!         WriteHandler  the commit, or what a kind does instead
//!           Client
//! ```
//!
//! ```no_run
//! # async fn example(client: orion_model::Client, dir: &std::path::Path) -> std::io::Result<()> {
//! use orion_apiserver::{Guard, Health, Limits, Listener, Resources, Token, serve, with_status_errors};
//! use tokio_util::sync::CancellationToken;
//!
//! let router = Resources::new(client).router().merge(Health::new().router());
//! let router = Guard::new(Token::load_or_create(dir).map_err(std::io::Error::other)?).protect(with_status_errors(router));
//! let listeners = vec![Listener::tcp("127.0.0.1:6060").await?, Listener::unix(&dir.join("orion.sock"))?];
//! serve(listeners, router, Limits::default(), CancellationToken::new()).await;
//! # Ok(()) }
//! ```

mod audit;
mod caller;
mod connection;
mod failure;
mod guard;
mod health;
mod limits;
mod listener;
mod resources;
mod serve;
mod token;
mod write_handler;

pub use audit::{Audit, Verdict};
pub use caller::Caller;
pub use connection::{Closing, Peer};
pub use failure::{Failure, with_status_errors};
pub use guard::Guard;
pub use health::Health;
pub use limits::Limits;
pub use listener::Listener;
pub use resources::{Resources, body};
pub use serve::serve;
pub use token::{Token, TokenError};
pub use write_handler::{FieldValidation, WriteAnswer, WriteHandler, WriteOptions, WriteRequest};
