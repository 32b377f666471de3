//! The queue's promises, Q1 to Q12 of the contract, on virtual time.

use std::time::Duration;

use futures::FutureExt as _;
use orion_model::{Randomness, backoff::Backoff};
use tokio::{
    task::unconstrained,
    time::{Instant, advance},
};

use super::{Config, Inspection, Item, KeyState, Outcome, Priority, Shutdown, Timer, WorkQueue};
use crate::rate_limiter::TokenBucket;

mod model;
mod outcomes;
mod peers;
mod priorities;
mod shutdown;
mod triggers;
mod waiting;

const MS: Duration = Duration::from_millis(1);

/// 5 ms doubling to 1000 s, without jitter.
fn config() -> Config {
    Config {
        backoff: Backoff::new(5 * MS, Duration::from_secs(1000), 0.0),
        randomness: Randomness::seeded(1),
        ..Config::default()
    }
}

fn queue() -> WorkQueue<&'static str> {
    WorkQueue::new(config())
}

/// What a worker gets without waiting.
fn try_get<K: Eq + std::hash::Hash + Clone>(queue: &WorkQueue<K>) -> Option<Item<K>> {
    unconstrained(queue.get()).now_or_never().flatten()
}

/// The key that is ready, which must be `key`.
fn take(queue: &WorkQueue<&'static str>, key: &str) -> Item<&'static str> {
    let item = try_get(queue).unwrap_or_else(|| panic!("{key} is not ready"));
    assert_eq!(*item.key(), key);
    item
}

fn run(queue: &WorkQueue<&'static str>, key: &str, outcome: Outcome) {
    take(queue, key).done(outcome);
}

fn assert_nothing_ready(queue: &WorkQueue<&'static str>) {
    assert_eq!(try_get(queue).map(|item| *item.key()), None);
}

fn inspect(queue: &WorkQueue<&'static str>, key: &'static str) -> Inspection {
    queue.inspect(&key).unwrap_or_else(|| panic!("{key} is not known"))
}

/// What a key waits for and for how long.
fn timer(queue: &WorkQueue<&'static str>, key: &'static str) -> (Timer, u128) {
    match inspect(queue, key).state {
        KeyState::Delayed { due, timer } => (timer, (due - Instant::now()).as_millis()),
        other => panic!("{key} is {other:?}"),
    }
}
