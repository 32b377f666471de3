//! Confirms the journal's head for readers: one question answers all that were waiting when it was asked.

use std::sync::Arc;

use orion_model::ClientError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    error::without_effect,
    journal::Journal,
    limits::WAITING_READS,
    shared::{Phase, Shared},
};

type Reply = oneshot::Sender<Result<(), ClientError>>;

/// Asks for confirmations.
#[derive(Clone)]
pub(crate) struct Heads(mpsc::Sender<Reply>);

/// Asks the journal for them.
pub(crate) struct HeadWorker<J> {
    shared: Arc<Shared<J>>,
    requests: mpsc::Receiver<Reply>,
}

pub(crate) fn heads<J: Journal>(shared: Arc<Shared<J>>) -> (Heads, HeadWorker<J>) {
    let (sender, requests) = mpsc::channel(WAITING_READS);
    (Heads(sender), HeadWorker { shared, requests })
}

impl Heads {
    /// Returns when the published state is not older than this call.
    pub(crate) async fn confirm(&self) -> Result<(), ClientError> {
        let closed = || Phase::Closed.end().map_or(Ok(()), Err);
        let (reply, answer) = oneshot::channel();
        if self.0.send(reply).await.is_err() {
            return closed();
        }
        answer.await.unwrap_or_else(|_| closed())
    }
}

impl<J: Journal> HeadWorker<J> {
    /// Serves until every [`Heads`] is gone or the store is closed.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        let mut waiting = Vec::new();
        loop {
            let count = tokio::select! {
                biased;
                () = closing.cancelled() => return,
                count = self.requests.recv_many(&mut waiting, WAITING_READS) => count,
            };
            if count == 0 {
                return;
            }
            let outcome = self.confirm().await;
            for reply in waiting.drain(..) {
                // A reader that no longer waits needs no answer.
                reply.send(outcome.clone()).ok();
            }
        }
    }

    async fn confirm(&self) -> Result<(), ClientError> {
        let head = self.shared.journal.head().await.map_err(without_effect)?;
        self.shared.reach(|progress| progress.seq >= head.seq, "the store's head").await
    }
}
