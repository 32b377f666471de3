//! The surface that every Orion server has had from the beginning: health, services, nodes.

use orion_model::ClientError;
use serde::{Deserialize, de::DeserializeOwned};

use crate::HttpClient;

#[derive(Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

#[derive(Deserialize)]
struct Health {
    status: String,
}

impl HttpClient {
    /// Whether the server is there and well.
    ///
    /// # Errors
    /// [`ClientError::Unavailable`] when it is not.
    pub async fn health(&self) -> Result<(), ClientError> {
        let health: Health = self.read("/health", &[]).await?;
        match health.status.as_str() {
            "ok" => Ok(()),
            other => Err(ClientError::Unavailable(format!("{} says of itself that it is {other:?}", self.server()))),
        }
    }

    /// The services, each with its configuration flat and what is observed of it (`GET /api/services`).
    ///
    /// # Errors
    /// As the server answers.
    pub async fn services<T: DeserializeOwned>(&self) -> Result<Vec<T>, ClientError> {
        self.read("/api/services", &[]).await.map(|Items { items }| items)
    }

    /// The nodes with their live numbers (`GET /api/nodes`).
    ///
    /// # Errors
    /// As the server answers.
    pub async fn nodes<T: DeserializeOwned>(&self) -> Result<Vec<T>, ClientError> {
        self.read("/api/nodes", &[]).await.map(|Items { items }| items)
    }
}
