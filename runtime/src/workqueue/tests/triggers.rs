//! Q1 to Q4, Q10, Q12: what is added, and how often it runs.

use std::{
    cell::Cell,
    collections::BTreeMap,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::task::{JoinSet, yield_now};

use super::*;

#[tokio::test(start_paused = true)]
async fn q1_a_running_key_is_not_handed_out_whatever_is_added() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue, "a");
    queue.add("a");
    queue.poke("a");
    queue.resync("a");
    queue.add_after("a", MS);
    queue.forget(&"a");
    advance(Duration::from_secs(10)).await;
    assert_nothing_ready(&queue);
    item.done(Outcome::Forget);
    run(&queue, "a", Outcome::Forget);
}

#[tokio::test(start_paused = true)]
async fn q1_a_key_stays_taken_while_another_task_holds_its_item() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue, "a");
    queue.add("a");
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let holder = tokio::spawn(async move {
        released.await.expect("released");
        item.done(Outcome::Forget);
    });
    yield_now().await;
    assert_nothing_ready(&queue);
    release.send(()).expect("held");
    holder.await.expect("done");
    run(&queue, "a", Outcome::Forget);
}

#[tokio::test(start_paused = true)]
async fn q1_a_panic_gives_the_key_back_as_a_failure() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue, "a");
    let panicked = tokio::spawn(async move {
        let _held = item;
        panic!("a reconciler's panic");
    });
    assert!(panicked.await.expect_err("it panics").is_panic());
    assert_nothing_ready(&queue);
    assert_eq!(timer(&queue, "a"), (Timer::Backoff, 5));
    assert_eq!(inspect(&queue, "a").failures, 1);
}

/// Each add raises the key's version first, and each run reads it: the last run must have read the last version.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn q1_q3_threads_neither_run_a_key_twice_at_once_nor_lose_its_last_trigger() {
    const KEYS: usize = 8;
    let queue = WorkQueue::<usize>::new(config());
    let versions: Arc<[AtomicU64; KEYS]> = Arc::default();
    let seen: Arc<[AtomicU64; KEYS]> = Arc::default();
    let running: Arc<[AtomicBool; KEYS]> = Arc::default();

    let mut workers = JoinSet::new();
    for _ in 0..4 {
        let (queue, versions, seen, running) = (queue.clone(), versions.clone(), seen.clone(), running.clone());
        workers.spawn(async move {
            while let Some(item) = queue.get().await {
                let key = *item.key();
                assert!(!running[key].swap(true, Ordering::SeqCst), "{key} runs twice at once");
                let version = versions[key].load(Ordering::SeqCst);
                yield_now().await;
                assert!(seen[key].swap(version, Ordering::SeqCst) <= version, "{key} went back");
                running[key].store(false, Ordering::SeqCst);
                item.done(if version % 3 == 0 { Outcome::After(Duration::ZERO) } else { Outcome::Forget });
            }
        });
    }
    let mut producers = JoinSet::new();
    for seed in 0..4 {
        let (queue, versions) = (queue.clone(), versions.clone());
        producers.spawn(async move {
            let random = Randomness::seeded(seed);
            for _ in 0..5000 {
                let key = random.below(KEYS as u64) as usize;
                versions[key].fetch_add(1, Ordering::SeqCst);
                assert!(queue.add(key));
                if random.below(16) == 0 {
                    yield_now().await;
                }
            }
        });
    }
    while producers.join_next().await.transpose().expect("no producer panics").is_some() {}
    queue.shut_down(Shutdown::Drain);
    while workers.join_next().await.transpose().expect("no worker panics").is_some() {}
    for key in 0..KEYS {
        assert_eq!(seen[key].load(Ordering::SeqCst), versions[key].load(Ordering::SeqCst), "the last trigger of {key}");
    }
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn q2_triggers_while_a_key_waits_make_one_run() {
    let queue = queue();
    for _ in 0..5 {
        assert!(queue.add("a"));
    }
    let item = take(&queue, "a");
    assert_eq!(item.triggers(), 5);
    item.done(Outcome::Forget);
    assert_nothing_ready(&queue);
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn q2_triggers_while_running_give_one_more_run() {
    let queue = queue();
    queue.add("a");
    let first = take(&queue, "a");
    for _ in 0..5 {
        assert!(queue.add("a"));
    }
    assert_eq!(inspect(&queue, "a").state, KeyState::Running { since: first.started(), again: true });
    first.done(Outcome::Forget);
    let second = take(&queue, "a");
    assert_eq!(second.triggers(), 5);
    second.done(Outcome::Forget);
    assert_nothing_ready(&queue);
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn q3_no_outcome_hides_a_trigger_that_came_during_the_run() {
    let outcomes = [Outcome::Forget, Outcome::After(60_000 * MS), Outcome::Retry, Outcome::Terminal, Outcome::Again];
    for outcome in outcomes {
        let queue = queue();
        queue.add("a");
        let item = take(&queue, "a");
        queue.add("a");
        item.done(outcome);
        let again = try_get(&queue).unwrap_or_else(|| panic!("{outcome:?} hid the trigger"));
        again.done(Outcome::Forget);
        assert!(queue.is_empty(), "{outcome:?}: one more run, not two");
    }
}

#[tokio::test(start_paused = true)]
async fn q3_an_item_dropped_after_a_trigger_runs_again_at_once() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue, "a");
    queue.add("a");
    drop(item);
    run(&queue, "a", Outcome::Forget);
}

#[tokio::test(start_paused = true)]
async fn q4_a_trigger_absorbs_a_requeue_timer() {
    let queue = queue();
    queue.add("a");
    run(&queue, "a", Outcome::After(100 * MS));
    assert_eq!(timer(&queue, "a"), (Timer::Requeue, 100));
    queue.add("a");
    run(&queue, "a", Outcome::Forget);
    advance(Duration::from_secs(1)).await;
    assert_nothing_ready(&queue);
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn q4_a_trigger_absorbs_a_delayed_add_so_that_the_key_runs_once() {
    let queue = queue();
    queue.add_after("a", 50 * MS);
    queue.add("a");
    run(&queue, "a", Outcome::Forget);
    advance(Duration::from_secs(1)).await;
    assert_nothing_ready(&queue);
}

#[tokio::test(start_paused = true)]
async fn q4_the_earliest_due_wins() {
    for delays in [[70, 30], [30, 70]] {
        let queue = queue();
        for delay in delays {
            queue.add_after("a", delay * MS);
        }
        assert_eq!(timer(&queue, "a"), (Timer::Added, 30));
        assert_eq!(queue.len(), 1);
        advance(29 * MS).await;
        assert_nothing_ready(&queue);
        advance(MS).await;
        run(&queue, "a", Outcome::Forget);
        advance(Duration::from_secs(1)).await;
        assert_nothing_ready(&queue);
    }
}

#[tokio::test(start_paused = true)]
async fn q4_a_delayed_add_does_not_put_off_what_is_ready() {
    let queue = queue();
    queue.add("a");
    queue.add_after("a", Duration::from_secs(3600));
    run(&queue, "a", Outcome::Forget);
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn q4_a_runs_own_requeue_replaces_an_older_one_also_by_postponing_it() {
    let queue = queue();
    queue.add("a");
    run(&queue, "a", Outcome::After(100 * MS));
    queue.add("a");
    run(&queue, "a", Outcome::After(500 * MS));
    advance(499 * MS).await;
    assert_nothing_ready(&queue);
    advance(MS).await;
    let item = take(&queue, "a");
    assert_eq!(item.triggers(), 0, "only a timer asked for it");
    item.done(Outcome::Forget);
}

#[tokio::test(start_paused = true)]
async fn q4_a_requeue_and_a_delayed_add_that_came_during_the_run_meet_at_the_earlier() {
    for (requeue, added, first) in [(100, 500, (Timer::Requeue, 100)), (500, 100, (Timer::Added, 100))] {
        let queue = queue();
        queue.add("a");
        let item = take(&queue, "a");
        queue.add_after("a", added * MS);
        item.done(Outcome::After(requeue * MS));
        assert_eq!(timer(&queue, "a"), first);
        advance(100 * MS).await;
        run(&queue, "a", Outcome::Forget);
        advance(Duration::from_secs(1)).await;
        assert_nothing_ready(&queue);
    }
}

#[tokio::test(start_paused = true)]
async fn q10_a_key_that_runs_long_holds_up_no_other() {
    let queue = queue();
    queue.add("slow");
    let slow = take(&queue, "slow");
    queue.add("slow");
    queue.add_after("later", Duration::from_secs(1));
    queue.add("a");
    run(&queue, "a", Outcome::Forget);
    slow.done(Outcome::Forget);
    run(&queue, "slow", Outcome::Forget);
}

thread_local! {
    static LOOKS: Cell<u64> = const { Cell::new(0) };
}

/// A key that counts how often it is compared, hashed or cloned.
#[derive(Debug)]
struct Counted(u64);

impl Counted {
    fn looked() {
        LOOKS.set(LOOKS.get() + 1);
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self::looked();
        Self(self.0)
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        Self::looked();
        self.0 == other.0
    }
}

impl Eq for Counted {}

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Self::looked();
        self.0.hash(state);
    }
}

#[tokio::test(start_paused = true)]
async fn q10_a_round_looks_at_no_other_key_however_many_run_wait_and_are_delayed() {
    let queue = WorkQueue::new(config());
    let mut held = Vec::new();
    for key in 0..3000 {
        queue.add(Counted(key));
        held.push(try_get(&queue).expect("ready"));
        queue.add_after(Counted(10_000 + key), Duration::from_secs(60));
    }
    (20_000..23_000).for_each(|key| assert!(queue.add_with(Counted(key), Priority::Low)));
    for round in 0..100 {
        LOOKS.set(0);
        queue.add(Counted(30_000 + round));
        try_get(&queue).expect("ready").done(Outcome::Forget);
        // One hash, one clone; a comparison only where hashes share seven bits.
        assert!(LOOKS.get() < 12, "{} looks", LOOKS.get());
    }
}

#[tokio::test(start_paused = true)]
async fn q12_the_queue_holds_keys_and_not_events() {
    let queue = WorkQueue::new(config());
    let random = Randomness::seeded(3);
    for event in 0..20_000u64 {
        let key = random.below(10);
        match event % 4 {
            0 => queue.add(key),
            1 => queue.add_after(key, Duration::from_millis(random.below(1000))),
            2 => queue.poke(key),
            _ => queue.resync(key),
        };
        if event % 7 == 0 {
            let item = try_get(&queue).expect("something is ready");
            queue.add(*item.key());
            item.done([Outcome::Forget, Outcome::Retry, Outcome::Again][random.below(3) as usize]);
        }
        let metrics = queue.metrics();
        assert!(queue.len() <= 10);
        assert_eq!(metrics.depth() + metrics.delayed, queue.len());
    }
}

#[tokio::test(start_paused = true)]
async fn q12_a_key_that_is_done_is_let_go_of() {
    let queue = WorkQueue::new(config());
    let key = Arc::new(());
    queue.add(ByPointer(key.clone()));
    try_get(&queue).expect("ready").done(Outcome::Forget);
    assert_eq!(Arc::strong_count(&key), 1);
}

#[derive(Clone)]
struct ByPointer(Arc<()>);

impl PartialEq for ByPointer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ByPointer {}

impl Hash for ByPointer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_keys_go_through_and_their_memory_back() {
    let queue = WorkQueue::new(config());
    for round in 0..2 {
        (0..100_000u32).for_each(|key| assert!(queue.add(key)));
        let mut seen = BTreeMap::new();
        while let Some(item) = try_get(&queue) {
            *seen.entry(*item.key()).or_insert(0) += 1;
            item.done(Outcome::Forget);
        }
        assert_eq!(seen.len(), 100_000, "round {round}");
        assert!(seen.values().all(|runs| *runs == 1));
        assert!(queue.is_empty());
    }
}
