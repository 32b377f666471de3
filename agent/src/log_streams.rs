//! The logs that are being read by somebody: each a task that sends whole lines as long as it has credit.

use std::{collections::BTreeMap, sync::Arc};

use futures::StreamExt;
use orion_types::protocol::{FromAgent, LogChunk, LogEnd, LogRequest};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    ledger::{Ledger, is_file_name},
    logs::{LogQuery, LogReader},
};

/// Streams of one session.
const MAX_STREAMS: usize = 256;
/// Chunks of all streams that wait to be sent; they stand behind everything else.
pub(crate) const CHUNKS_WAITING: usize = 16;
/// Lines put together in one chunk.
const LINES_IN_CHUNK: usize = 256;
/// Bytes of a chunk at which it is sent.
const CHUNK: usize = 64 * 1024;
/// Credit a reader can have at most; more is cut.
const MAX_CREDIT: u64 = 16 * 1024 * 1024;

/// The log streams of one session; they end with it.
pub(crate) struct LogStreams {
    ledger: Ledger,
    chunks: mpsc::Sender<FromAgent>,
    streams: BTreeMap<String, Stream>,
}

struct Stream {
    credit: Arc<Semaphore>,
    task: AbortOnDropHandle<()>,
}

impl LogStreams {
    /// None yet; what they read goes into `chunks`.
    pub(crate) fn new(ledger: Ledger, chunks: mpsc::Sender<FromAgent>) -> Self {
        Self { ledger, chunks, streams: BTreeMap::new() }
    }

    /// Begins or ends a stream.
    pub(crate) fn request(&mut self, request: LogRequest) {
        self.streams.retain(|_, stream| !stream.task.is_finished());
        if request.cancel {
            self.streams.remove(&request.id);
            return;
        }
        if let Some(problem) = self.refusal(&request) {
            // Where even this does not fit, the reader's own time limit ends its wait.
            let _full = self.chunks.try_send(FromAgent::LogEnd(LogEnd { id: request.id, error: Some(problem) }));
            return;
        }
        let credit = Arc::new(Semaphore::new(to_permits(request.credit)));
        let reader = LogReader::new(self.ledger.log_dir(&request.uid));
        let id = request.id.clone();
        let task = tokio::spawn(send(reader, request, credit.clone(), self.chunks.clone()));
        self.streams.insert(id, Stream { credit, task: AbortOnDropHandle::new(task) });
    }

    /// A reader has room for more.
    pub(crate) fn credit(&self, id: &str, bytes: u64) {
        if let Some(stream) = self.streams.get(id) {
            let room = to_permits(MAX_CREDIT).saturating_sub(stream.credit.available_permits());
            stream.credit.add_permits(to_permits(bytes).min(room));
        }
    }

    fn refusal(&self, request: &LogRequest) -> Option<String> {
        let known = is_file_name(&request.uid) && self.ledger.knows(&request.uid);
        if !known {
            return Some(format!("there is no log of {} on this node", request.replica_id));
        }
        (self.streams.len() >= MAX_STREAMS).then(|| format!("this node serves {MAX_STREAMS} logs already"))
    }
}

fn to_permits(bytes: u64) -> usize {
    usize::try_from(bytes.min(MAX_CREDIT)).unwrap_or(Semaphore::MAX_PERMITS)
}

async fn send(reader: LogReader, request: LogRequest, credit: Arc<Semaphore>, chunks: mpsc::Sender<FromAgent>) {
    let query = LogQuery {
        since: request.since.and_then(|since| jiff::Timestamp::from_millisecond(since.as_millis()).ok()),
        tail: request.tail.and_then(|lines| usize::try_from(lines).ok()),
        follow: request.follow,
    };
    let mut lines = std::pin::pin!(reader.read(query).ready_chunks(LINES_IN_CHUNK));
    let mut error = None;
    while let Some(batch) = lines.next().await {
        let mut data = String::new();
        for line in batch {
            match line {
                Ok(line) => data.push_str(&format!("{line}\n")),
                Err(problem) => error = Some(problem.to_string()),
            }
            if data.len() >= CHUNK && !send_chunk(&request.id, std::mem::take(&mut data), &credit, &chunks).await {
                return;
            }
        }
        if !data.is_empty() && !send_chunk(&request.id, data, &credit, &chunks).await {
            return;
        }
    }
    let end = FromAgent::LogEnd(LogEnd { id: request.id, error });
    if chunks.send(end).await.is_err() {
        tracing::debug!("a log ended after its session");
    }
}

async fn send_chunk(id: &str, data: String, credit: &Semaphore, chunks: &mpsc::Sender<FromAgent>) -> bool {
    // A chunk larger than all credit there can be would wait for ever.
    let cost = u32::try_from(data.len().min(to_permits(MAX_CREDIT))).unwrap_or(u32::MAX);
    let Ok(spent) = credit.acquire_many(cost).await else { return false };
    spent.forget();
    chunks.send(FromAgent::LogChunk(LogChunk { id: id.to_owned(), data })).await.is_ok()
}
