//! Bounds the history: what is old and more than enough is dropped, a little at a time.

use tokio::time::Instant;

use super::Writer;
use crate::{
    journal::{Error, Journal, Seq, Tail},
    limits::{COMPACTION_PAUSE, TAIL_BYTES},
    load, record,
};

impl<J: Journal> Writer<J> {
    pub(super) fn compaction_due(&self) -> Option<Instant> {
        let steady = Instant::now();
        let wait = self.state.history.due_in(self.clock.now(), steady)?;
        Some(self.rested.max(steady + wait))
    }

    /// One small step.
    pub(super) async fn compact(&mut self) {
        self.rested = Instant::now() + COMPACTION_PAUSE;
        let Some(floor) = self.state.history.floor_at(self.clock.now(), Instant::now()) else { return };
        if let Err(error) = self.drop_before(floor.seq).await {
            let error = self.failed(error);
            tracing::warn!(%error, "the history could not be shortened");
            return;
        }
        for id in self.state.history.forget_through(&floor) {
            self.ids.remove(&id);
        }
        self.mark.floor = floor.seq;
        self.publish();
    }

    async fn drop_before(&mut self, floor: Seq) -> Result<(), Error> {
        if !J::MATERIALISES_ON_APPEND {
            self.materialise(floor).await?;
        }
        self.shared.journal.compact(floor).await
    }

    /// Brings the readable copy to `to`, or beyond where another does it too.
    async fn materialise(&mut self, to: Seq) -> Result<(), Error> {
        while self.materialised < to {
            let Tail::Dense(entries) = self.shared.journal.tail(self.materialised, TAIL_BYTES).await? else {
                self.materialised = self.shared.journal.load().await?.0;
                continue;
            };
            let entries: Vec<_> = entries.into_iter().take_while(|entry| entry.mark.seq <= to).collect();
            let Some(newest) = entries.last().map(|entry| entry.mark.seq) else { return Ok(()) };
            let records = entries.iter().map(|entry| load::records(&self.shared.registry, entry));
            let records: Vec<_> = records.collect::<Result<Vec<_>, _>>()?.concat();
            let moved = self.shared.journal.materialise(self.materialised, newest, record::moves(&records)).await?;
            self.materialised = if moved { newest } else { self.shared.journal.load().await?.0 };
        }
        Ok(())
    }
}
