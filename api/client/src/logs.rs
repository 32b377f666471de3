//! The logs of a replica.

use bytes::Bytes;
use futures::{Stream, stream};
use orion_model::{ClientError, ObjectKey, Part};
use reqwest::Method;

use crate::{HttpClient, lines::Lines, resources::object_path};

/// The longest piece of a line that is delivered at once.
const MAX_LINE: usize = 256 * 1024;

/// Which part of a log is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on with what is logged from now on.
    pub follow: bool,
    /// Begin with the last so many lines.
    pub tail: Option<u64>,
    /// Begin at a time (RFC 3339), or so long ago (`10m`).
    pub since: Option<String>,
}

impl LogOptions {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        query.extend(self.follow.then(|| ("follow", "true".to_owned())));
        query.extend(self.tail.map(|lines| ("tail", lines.to_string())));
        query.extend(self.since.clone().map(|since| ("since", since)));
        query
    }
}

impl HttpClient {
    /// The lines of a replica's log, without their ends; a line of more than 256 KiB comes in pieces. The stream ends
    /// with the log, or with its first error.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] where there is no such replica or its log is gone.
    pub async fn logs(
        &self,
        replica: &ObjectKey,
        options: &LogOptions,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Send + use<>, ClientError> {
        let path = format!("{}/log", object_path(replica, Part::Main)?);
        let response = self.open(self.request(Method::GET, &path).query(&options.query()), replica).await?;
        let state = Some((self.clone(), Lines::new(response, MAX_LINE)));
        Ok(stream::unfold(state, |state| async move {
            let (client, mut lines) = state?;
            match lines.next().await {
                Ok(line) => Some((Ok(line?), Some((client, lines)))),
                Err(error) => Some((Err(client.unreachable(&error)), None)),
            }
        }))
    }
}
