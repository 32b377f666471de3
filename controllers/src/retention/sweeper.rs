//! Sweeps what nobody owns once it is old: events, and calls of hooks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use orion_model::{Event, Object, Timestamp};
use orion_runtime::{Action, Batch, Reconciler, Result, Run};
use orion_types::{HookRun, plugin::HookPhase};

use crate::listers::Listers;

/// Between two sweeps.
const EVERY: Duration = Duration::from_secs(600);
/// How long events and finished calls are kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How many events are kept.
const EVENTS: usize = 10_000;
/// How many calls are kept of one service.
const CALLS_OF_A_SERVICE: usize = 20;
/// How many objects one run deletes at most: a commit has its bounds, and the next run goes on.
const A_RUN: usize = 500;
/// Until the run that goes on.
const SOON: Duration = Duration::from_millis(1);

/// Sweeps at intervals.
pub(crate) struct SweepReconciler {
    pub(crate) listers: Listers,
}

impl Reconciler for SweepReconciler {
    type Key = ();

    async fn reconcile(&self, (): &(), run: &Run<()>) -> Result<Action> {
        let (events, calls) = (run.read(&self.listers.events), run.read(&self.listers.hook_runs));
        let (events, calls) = (old_events(events.list(), run.now()), old_calls(calls.list(), run.now()));
        let mut batch = Batch::new();
        for event in events.iter().take(A_RUN) {
            batch.delete(event);
        }
        for call in calls.iter().take(A_RUN) {
            batch.delete(call);
        }
        run.commit(batch).await?;
        Ok(Action::After(if events.len().max(calls.len()) > A_RUN { SOON } else { EVERY }))
    }
}

/// The events that go: those older than a day, and the oldest beyond the number kept.
fn old_events<'a>(events: impl Iterator<Item = &'a Arc<Event>>, now: Timestamp) -> Vec<Arc<Event>> {
    let last = |event: &Event| event.series.as_ref().map(|series| series.last_observed_time).or(event.event_time);
    let mut all: Vec<_> = events.map(|event| (last(event), event)).collect();
    all.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| y.name().cmp(x.name())));
    let is_old = |at: Option<Timestamp>| at.is_none_or(|at| now.since(at) > KEPT);
    let old = all.into_iter().enumerate().filter(|(place, (at, _))| *place >= EVENTS || is_old(*at));
    old.map(|(_, (_, event))| event.clone()).collect()
}

/// The calls that go, of those that are over: those older than a day, and the oldest beyond the number kept of a
/// service.
fn old_calls<'a>(calls: impl Iterator<Item = &'a Arc<HookRun>>, now: Timestamp) -> Vec<Arc<HookRun>> {
    let mut of_service: BTreeMap<_, Vec<(Timestamp, &Arc<HookRun>)>> = BTreeMap::new();
    for call in calls {
        let over = call.status.finished_at.filter(|_| call.status.phase != HookPhase::Pending);
        // One that never came to an end goes by its age: its replica is gone.
        let at = over.or(call.metadata.creation_timestamp.filter(|made| now.since(*made) > KEPT));
        if let Some(at) = at {
            of_service.entry((call.namespace(), call.spec.service_name.as_str())).or_default().push((at, call));
        }
    }
    let mut old = Vec::new();
    for mut calls in of_service.into_values() {
        calls.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.name().cmp(y.name())));
        let gone = calls.into_iter().enumerate();
        let gone = gone.filter(|(place, (at, _))| *place >= CALLS_OF_A_SERVICE || now.since(*at) > KEPT);
        old.extend(gone.map(|(_, (_, call))| call.clone()));
    }
    old
}

#[cfg(test)]
mod tests {
    use orion_model::{Metadata, event::EventSeries};
    use orion_types::plugin::{HookPoint, HookRunSpec};

    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_millis(hours * 3_600_000)
    }

    fn event(name: &str, first: i64, last: Option<i64>) -> Arc<Event> {
        let series = last.map(|last| EventSeries { count: 2, last_observed_time: at(last) });
        let metadata = Metadata::named(name);
        Arc::new(Event { metadata, event_time: Some(at(first)), series, ..Event::default() })
    }

    fn call(name: &str, service: &str, phase: HookPhase, hours: i64) -> Arc<HookRun> {
        let spec = HookRunSpec {
            hook: "p:a".into(),
            point: HookPoint::BeforeStart,
            replica: "r".into(),
            replica_uid: "u".into(),
            service_name: service.into(),
        };
        let mut call = HookRun::new(name, spec);
        call.metadata.creation_timestamp = Some(at(hours));
        call.status.phase = phase;
        call.status.finished_at = Some(at(hours));
        Arc::new(call)
    }

    fn names<K: Object>(objects: &[Arc<K>]) -> Vec<String> {
        objects.iter().map(|object| object.name().to_owned()).collect()
    }

    #[test]
    fn events_are_kept_a_day_after_they_were_last_seen() {
        let events = [event("old", 0, None), event("repeats", 0, Some(20)), event("new", 20, None)];
        assert_eq!(names(&old_events(events.iter(), at(25))), ["old"]);
    }

    #[test]
    fn of_too_many_events_the_oldest_go() {
        let events: Vec<_> = (0..EVENTS + 2).map(|n| event(&format!("e{n:05}"), i64::from(n > 1), None)).collect();
        assert_eq!(names(&old_events(events.iter(), at(2))), ["e00001", "e00000"]);
    }

    #[test]
    fn finished_calls_are_kept_a_day_and_at_most_twenty_of_a_service() {
        let mut calls: Vec<_> =
            (0..22).map(|n| call(&format!("c{n:02}"), "web", HookPhase::Succeeded, 10 + n)).collect();
        calls.push(call("db", "db", HookPhase::Failed, 5));
        calls.push(call("open", "db", HookPhase::Pending, 5));
        assert_eq!(names(&old_calls(calls.iter(), at(25))), ["c01", "c00"]);
        assert_eq!(names(&old_calls(calls.iter(), at(30))), ["db", "open", "c01", "c00"]);
    }
}
