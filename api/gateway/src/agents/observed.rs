//! What becomes of `Replica.status.observed` when an agent reports: pure, and the only place that decides it.

use orion_model::Timestamp;
use orion_types::{
    protocol::StatusReport,
    replica::{Exit, Observed, ProcessState},
};

/// The state a report brings about, or `None` where it brings nothing new: its number is not above `floor`, its word is
/// not known, or it says what is known already.
pub(super) fn observe(old: Option<&Observed>, report: &StatusReport, floor: u64, now: Timestamp) -> Option<Observed> {
    if report.seq <= floor {
        return None;
    }
    let mut state = report.process_state()?;
    if report.ready && state == ProcessState::Running {
        state = ProcessState::Ready;
    }
    let new = Observed {
        state,
        pid: report.pid,
        attempt: report.attempt,
        restarts: report.restarts,
        started_at: report.started_at,
        ready: state == ProcessState::Ready,
        ready_since: ready_since(old, state, report.attempt, now),
        ports: report.ports.clone(),
        seq: report.seq,
        spec_version: report.spec_version,
        exit: report.exit.clone(),
        message: report.message.clone(),
    };
    changes(old, &new).then_some(new)
}

/// Whether writing `new` over `old` says anything new. The report's number alone does not.
pub(super) fn changes(old: Option<&Observed>, new: &Observed) -> bool {
    old.is_none_or(|old| Observed { seq: new.seq, ..old.clone() } != *new)
}

/// A process that is still ready has been since it was first seen so; another attempt's begins anew.
fn ready_since(old: Option<&Observed>, state: ProcessState, attempt: u32, now: Timestamp) -> Option<Timestamp> {
    if state != ProcessState::Ready {
        return None;
    }
    let same = old.filter(|old| old.ready && old.attempt == attempt);
    Some(same.and_then(|old| old.ready_since).unwrap_or(now))
}

/// Whether a process in this state has ended for good, as far as its agent is concerned.
pub(super) fn is_over(state: ProcessState) -> bool {
    match state {
        ProcessState::Exited | ProcessState::Failed | ProcessState::Stopped => true,
        ProcessState::Starting
        | ProcessState::Running
        | ProcessState::Ready
        | ProcessState::Unready
        | ProcessState::Stopping
        | ProcessState::Backoff => false,
    }
}

/// What is said of a replica that no agent can be asked to run.
pub(super) fn unrunnable(old: Option<&Observed>, reason: String, now: Timestamp) -> Observed {
    let at = old.and_then(|old| old.exit.as_ref()).and_then(|exit| exit.at).unwrap_or(now);
    let exit =
        Exit { reason: "StartError".into(), message: reason.clone(), at: Some(at), permanent: true, ..Exit::default() };
    Observed {
        state: ProcessState::Failed,
        seq: old.map_or(0, |old| old.seq),
        exit: Some(exit),
        message: Some(reason),
        ..Observed::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T1: Timestamp = Timestamp::UNIX_EPOCH;

    fn t2() -> Timestamp {
        Timestamp::from_millis(5000)
    }

    fn report(seq: u64, state: &str) -> StatusReport {
        StatusReport { seq, state: state.into(), attempt: 1, pid: Some(7), ..StatusReport::default() }
    }

    #[test]
    fn a_report_that_is_not_newer_changes_nothing() {
        let old = observe(None, &report(5, "running"), 0, T1).expect("news");
        assert_eq!(observe(Some(&old), &report(5, "ready"), 5, T1), None);
        assert_eq!(observe(Some(&old), &report(4, "ready"), 5, T1), None);
        assert_eq!(observe(Some(&old), &report(6, "ready"), 5, T1).expect("news").state, ProcessState::Ready);
    }

    #[test]
    fn the_same_said_with_a_higher_number_is_no_news() {
        let old = observe(None, &report(5, "running"), 0, T1).expect("news");
        assert_eq!(observe(Some(&old), &report(6, "running"), 5, t2()), None);
    }

    #[test]
    fn ready_since_is_the_gateways_clock_at_the_first_ready_of_an_attempt() {
        let first = observe(None, &report(1, "ready"), 0, T1).expect("news");
        assert_eq!((first.ready, first.ready_since), (true, Some(T1)));
        let again = StatusReport { restarts: 3, ..report(2, "ready") };
        assert_eq!(observe(Some(&first), &again, 1, t2()).expect("news").ready_since, Some(T1));
        let unready = observe(Some(&first), &report(2, "unready"), 1, t2()).expect("news");
        assert_eq!((unready.ready, unready.ready_since), (false, None));
        assert_eq!(observe(Some(&unready), &report(3, "ready"), 2, t2()).expect("news").ready_since, Some(t2()));
        let next_attempt = StatusReport { attempt: 2, ..report(2, "ready") };
        assert_eq!(observe(Some(&first), &next_attempt, 1, t2()).expect("news").ready_since, Some(t2()));
    }

    #[test]
    fn running_and_ready_is_ready_and_an_unknown_word_is_nothing() {
        let both = StatusReport { ready: true, ..report(1, "running") };
        assert_eq!(observe(None, &both, 0, T1).expect("news").state, ProcessState::Ready);
        let stopping = StatusReport { ready: true, ..report(1, "stopping") };
        assert!(!observe(None, &stopping, 0, T1).expect("news").ready);
        assert_eq!(observe(None, &report(1, "dancing"), 0, T1), None);
    }

    #[test]
    fn saying_again_that_a_replica_cannot_run_changes_nothing() {
        let once = unrunnable(None, "too large".into(), T1);
        assert!(!changes(Some(&once), &unrunnable(Some(&once), "too large".into(), t2())));
        assert!(changes(Some(&once), &unrunnable(Some(&once), "other".into(), t2())));
    }
}
