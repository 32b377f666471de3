//! What an agent has to tell: the newest report of each replica, and answers to commands.
//!
//! A report that has not been sent yet is replaced by a newer one of the same replica: the server wants the state, not
//! its history. Reports stay until the replica is forgotten, since a hello repeats them all.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orion_model::Uid;
use orion_types::protocol::{FromAgent, StatusReport};
use tokio::sync::Notify;

use crate::ledger::Ledger;

/// Answers kept for one session at most; a session that is so far behind is resynchronised anyway.
const MAX_ANSWERS: usize = 4096;
/// Reports in a hello, which is one frame; the others follow it.
const HELLO_REPORTS: usize = 500;

/// The shared outbox of one agent. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Outbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    contents: Mutex<Contents>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Contents {
    reports: BTreeMap<Uid, StatusReport>,
    answers: Vec<FromAgent>,
    next: u64,
    reserved: u64,
    acknowledged: u64,
}

impl Outbox {
    /// An empty outbox whose report numbers go on where the last left off.
    pub(crate) fn new(ledger: Ledger) -> io::Result<Self> {
        let (next, reserved) = ledger.reserve_seqs()?;
        let contents = Contents { next, reserved, ..Contents::default() };
        Ok(Self(Arc::new(Inner { ledger, contents: Mutex::new(contents), changed: Notify::new() })))
    }

    /// Gives a report the next number and queues it in place of any older one of its replica.
    pub(crate) fn report(&self, mut report: StatusReport) -> StatusReport {
        let mut contents = self.contents();
        report.seq = self.next(&mut contents);
        contents.reports.insert(report.uid.clone(), report.clone());
        drop(contents);
        self.0.changed.notify_one();
        report
    }

    /// A number above those of all reports so far.
    pub(crate) fn number(&self) -> u64 {
        self.next(&mut self.contents())
    }

    fn next(&self, contents: &mut Contents) -> u64 {
        if contents.next == contents.reserved {
            match self.0.ledger.reserve_seqs() {
                Ok((next, reserved)) => (contents.next, contents.reserved) = (next, reserved),
                // Numbers go on rising within this start of the agent; only after the next start could one repeat.
                Err(error) => tracing::error!(%error, "cannot set report numbers aside"),
            }
        }
        let number = contents.next;
        contents.next += 1;
        contents.reserved = contents.reserved.max(contents.next);
        number
    }

    /// Queues a report as it is, with the number it already has.
    pub(crate) fn restore(&self, report: StatusReport) {
        self.contents().reports.insert(report.uid.clone(), report);
    }

    /// Queues an answer to a command; lost if no session takes it. An answer to one command may be dropped, since the
    /// command is sent again; what ends a resynchronisation may not.
    pub(crate) fn answer(&self, answer: FromAgent) {
        let mut contents = self.contents();
        let is_due = matches!(answer, FromAgent::Synced(_) | FromAgent::Want(_));
        if is_due || contents.answers.len() < MAX_ANSWERS {
            contents.answers.push(answer);
        }
        drop(contents);
        self.0.changed.notify_one();
    }

    /// A replica is forgotten.
    pub(crate) fn forget(&self, uid: &Uid) {
        self.contents().reports.remove(uid);
    }

    /// The first reports, for the hello, and the highest number among them: the others are there to [`take`](Self::take).
    /// Answers of an older session are gone.
    pub(crate) fn begin_session(&self) -> (Vec<StatusReport>, u64) {
        let mut contents = self.contents();
        contents.answers.clear();
        let mut reports: Vec<_> = contents.reports.values().collect();
        reports.sort_by_key(|report| report.seq);
        let hello: Vec<_> = reports.into_iter().take(HELLO_REPORTS).cloned().collect();
        let sent = hello.last().map_or(0, |report| report.seq);
        (hello, sent)
    }

    /// What a session has to send after the reports up to `sent`: answers first, then reports in order.
    pub(crate) fn take(&self, sent: &mut u64) -> Vec<FromAgent> {
        let mut contents = self.contents();
        let mut frames = std::mem::take(&mut contents.answers);
        let mut reports: Vec<_> = contents.reports.values().filter(|report| report.seq > *sent).cloned().collect();
        reports.sort_by_key(|report| report.seq);
        if let Some(last) = reports.last() {
            *sent = last.seq;
        }
        frames.extend(reports.into_iter().map(|report| FromAgent::Status(Box::new(report))));
        frames
    }

    /// The server has committed all reports up to this number.
    pub(crate) fn acknowledge(&self, seq: u64) {
        let mut contents = self.contents();
        contents.acknowledged = contents.acknowledged.max(seq);
        drop(contents);
        self.0.changed.notify_one();
    }

    /// Whether the server has committed every report.
    pub(crate) fn is_acknowledged(&self) -> bool {
        let contents = self.contents();
        contents.reports.values().all(|report| report.seq <= contents.acknowledged)
    }

    /// Waits until something may be there to take.
    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Every change is one assignment or insertion, so a poisoned lock holds whole contents.
        self.0.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use orion_types::protocol::{Ack, Synced};

    use super::*;

    fn report(uid: &str, state: &str) -> StatusReport {
        StatusReport { uid: Uid::new(uid), state: state.into(), ..StatusReport::default() }
    }

    fn states(frames: &[FromAgent]) -> Vec<String> {
        let state = |frame: &FromAgent| match frame {
            FromAgent::Status(report) => Some(format!("{}={}", report.uid, report.state)),
            _ => None,
        };
        frames.iter().filter_map(state).collect()
    }

    #[test]
    fn a_session_is_sent_the_newest_report_of_each_replica_once_and_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let outbox = Outbox::new(Ledger::open(dir.path()).expect("it opens")).expect("numbers");
        outbox.report(report("b", "starting"));
        let (hello, mut sent) = outbox.begin_session();
        assert_eq!(hello.len(), 1);
        outbox.report(report("b", "running"));
        outbox.report(report("a", "starting"));
        outbox.report(report("b", "ready"));
        assert_eq!(states(&outbox.take(&mut sent)), ["a=starting", "b=ready"]);
        assert_eq!(states(&outbox.take(&mut sent)), [""; 0]);
        assert!(!outbox.is_acknowledged());
        outbox.acknowledge(sent);
        assert!(outbox.is_acknowledged());
    }
    #[test]
    fn a_hello_carries_a_bounded_part_and_the_rest_follows_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let outbox = Outbox::new(Ledger::open(dir.path()).expect("it opens")).expect("numbers");
        for number in (0..HELLO_REPORTS + 2).rev() {
            outbox.report(report(&format!("{number:05}"), "ready"));
        }
        let (hello, mut sent) = outbox.begin_session();
        assert_eq!(hello.len(), HELLO_REPORTS);
        assert_eq!(states(&outbox.take(&mut sent)), ["00001=ready", "00000=ready"]);
    }

    #[test]
    fn what_ends_a_resynchronisation_is_never_dropped() {
        let dir = tempfile::tempdir().expect("a directory");
        let outbox = Outbox::new(Ledger::open(dir.path()).expect("it opens")).expect("numbers");
        for _ in 0..=MAX_ANSWERS {
            outbox.answer(FromAgent::Ack(Ack::default()));
        }
        outbox.answer(FromAgent::Synced(Synced::default()));
        let frames = outbox.take(&mut 0);
        assert_eq!(frames.len(), MAX_ANSWERS + 1);
        assert!(matches!(frames.last(), Some(FromAgent::Synced(_))));
    }
}
