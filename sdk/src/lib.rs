//! What a controller author adds: one prelude, one [`connect`].
//!
//! ```toml
//! [dependencies]
//! orion-sdk = "0.1"
//! schemars = "1"                                                        # named by #[derive(JsonSchema)]
//! serde = { version = "1", features = ["derive"] }                      # named by #[derive(Serialize, Deserialize)]
//! tokio = { version = "1", features = ["macros", "rt-multi-thread", "signal"] }
//! ```
//!
//! `serde` and `schemars` are there because the code that their derives write names them; a program's own lines need
//! [`prelude`] only. Here is a whole controller: it keeps a greeting for each guest.
//!
//! ```
//! use orion_sdk::prelude::*;
//!
//! #[derive(Resource, Clone, Debug, Serialize, Deserialize, JsonSchema)]
//! #[resource(kind = Guest, group = "example.org", version = "v1")]
//! pub struct GuestSpec {
//!     pub language: String,
//! }
//!
//! #[derive(Resource, Clone, Debug, Serialize, Deserialize, JsonSchema)]
//! #[resource(kind = Greeting, group = "example.org", version = "v1", column("TEXT", ".spec.text"))]
//! pub struct GreetingSpec {
//!     pub text: String,
//! }
//!
//! struct Host {
//!     greetings: Lister<Greeting>,
//! }
//!
//! impl Reconciler for Host {
//!     type Key = Key<Guest>;
//!
//!     async fn reconcile(&self, key: &Key<Guest>, run: &Run<Key<Guest>>) -> Result<Action> {
//!         let Some(guest) = run.object() else { return Ok(Action::Done) };
//!         let word = if guest.spec.language == "fr" { "Bonjour" } else { "Hello" };
//!         let greeting = Greeting::new(key.name(), GreetingSpec { text: format!("{word}, {}!", key.name()) });
//!         let mut batch = Batch::new();
//!         batch.exactly(run.read(&self.greetings).owned_by(&guest), [greeting]);
//!         run.commit(batch).await?;
//!         Ok(Action::Done)
//!     }
//! }
//!
//! fn manager(client: Client) -> Manager {
//!     let mut manager = Manager::new(client);
//!     let guests = manager.informer::<Guest>(Select::all());
//!     let greetings = manager.informer::<Greeting>(Select::all());
//!     manager.add(Controller::new("host", &guests).owns(&greetings).reconciler(Host { greetings: greetings.lister() }));
//!     manager
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> anyhow::Result<()> {
//! let client = orion_sdk::connect::<(Guest, Greeting)>("memory:").await?;
//! let mut greetings = {
//!     let manager = manager(client.clone());
//!     let greetings = manager.informer::<Greeting>(Select::all()).subscribe();
//!     tokio::spawn(manager.run_until(tokio::signal::ctrl_c()));
//!     greetings
//! };
//! client.create(&Guest::new("zoe", GuestSpec { language: "fr".into() })).await?;
//! let made = loop {
//!     let changes = greetings.next().await.expect("the manager runs");
//!     if let Some(change) = changes.changes.first() {
//!         break change.either().clone();
//!     }
//! };
//! assert_eq!(made.spec.text, "Bonjour, zoe!");
//! # Ok(())
//! # }
//! ```
//!
//! `examples/website` is a program of its own on a SQLite file.

mod connect;
pub mod prelude;

pub use connect::{ConnectError, connect};
pub use orion_model as model;
pub use orion_runtime as runtime;
pub use orion_store as store;
