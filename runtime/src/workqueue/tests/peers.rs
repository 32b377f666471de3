//! What client-go's queue and delaying queue and controller-runtime's priority queue are tested for, by behaviour.
//!
//! Two differences are meant. client-go lets a key that was added again during its run start over a drain; here its
//! worker may wait for that, but the run is not lost either. And where client-go keeps a delayed and an immediate add
//! of one key apart, here the earlier one absorbs the later.

use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

use super::*;

/// client-go: fifty producers, ten consumers, and either way of shutting down.
#[tokio::test(start_paused = true)]
async fn producers_and_consumers_leave_an_empty_queue() {
    for how in [Shutdown::Drain, Shutdown::FinishRunning, Shutdown::Abort] {
        let queue = WorkQueue::new(config());
        let mut producers = JoinSet::new();
        for key in 0..50 {
            let queue = queue.clone();
            producers.spawn(async move {
                for _ in 0..50 {
                    queue.add(key);
                    tokio::time::sleep(MS).await;
                }
            });
        }
        let mut consumers = JoinSet::new();
        for _ in 0..10 {
            let queue = queue.clone();
            consumers.spawn(async move {
                while let Some(item) = queue.get().await {
                    assert_ne!(*item.key(), 99, "added after the shutdown");
                    tokio::time::sleep(3 * MS).await;
                    item.done(Outcome::Forget);
                }
            });
        }
        producers.join_all().await;
        queue.shut_down(how);
        assert!(!queue.add(99));
        consumers.join_all().await;
        assert!(queue.is_empty());
    }
}

/// client-go: every key is added again while it runs, twice.
#[tokio::test(start_paused = true)]
async fn keys_added_again_while_they_run_are_run_again() {
    let queue = WorkQueue::new(config());
    let runs: Arc<Mutex<Vec<u32>>> = Arc::new(Mutex::new(vec![0; 50]));
    (0..50).for_each(|key| assert!(queue.add(key)));
    let mut consumers = JoinSet::new();
    for _ in 0..10 {
        let (queue, runs) = (queue.clone(), runs.clone());
        consumers.spawn(async move {
            while let Some(item) = queue.get().await {
                let run = {
                    let mut runs = runs.lock().expect("not poisoned");
                    runs[*item.key()] += 1;
                    runs[*item.key()]
                };
                if run < 3 {
                    queue.add(*item.key());
                }
                tokio::time::sleep(MS).await;
                item.done(Outcome::Forget);
            }
        });
    }
    while !queue.is_empty() {
        tokio::time::sleep(MS).await;
    }
    queue.shut_down(Shutdown::Drain);
    consumers.join_all().await;
    assert!(runs.lock().expect("not poisoned").iter().all(|runs| *runs == 3));
}

/// client-go: a key is found while it waits and while it runs.
#[tokio::test(start_paused = true)]
async fn a_key_is_known_from_its_add_to_the_end_of_its_run() {
    let queue = queue();
    assert_eq!(queue.inspect(&"a"), None);
    queue.add("a");
    assert!(matches!(inspect(&queue, "a").state, KeyState::Ready { .. }));
    let item = take(&queue, "a");
    assert!(matches!(inspect(&queue, "a").state, KeyState::Running { again: false, .. }));
    item.done(Outcome::Forget);
    assert_eq!(queue.inspect(&"a"), None);
}

/// client-go: the length counts keys.
#[tokio::test(start_paused = true)]
async fn adding_a_key_again_does_not_make_the_queue_longer() {
    let queue = queue();
    for (key, len) in [("a", 1), ("b", 2), ("a", 2)] {
        queue.add(key);
        assert_eq!((queue.len(), queue.metrics().depth()), (len, len));
    }
}

/// client-go: what waits for its time is not there before it, and once only.
#[tokio::test(start_paused = true)]
async fn a_delayed_key_comes_when_it_is_due_and_once() {
    let queue = queue();
    queue.add_after("a", 50 * MS);
    assert_eq!(queue.metrics().depth(), 0);
    advance(60 * MS).await;
    assert_eq!(queue.metrics().depth(), 1);
    run(&queue, "a", Outcome::Forget);
    advance(Duration::from_secs(10)).await;
    assert_eq!(queue.metrics().depth(), 0);
    assert!(queue.is_empty());
}

/// client-go: a delayed add while the key runs.
#[tokio::test(start_paused = true)]
async fn a_delayed_add_while_the_key_runs_is_kept_for_its_time() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue, "a");
    queue.add_after("a", 5 * MS);
    item.done(Outcome::Forget);
    assert_eq!(timer(&queue, "a"), (Timer::Added, 5));
    advance(5 * MS).await;
    run(&queue, "a", Outcome::Forget);
}

/// client-go: timers fire in order, also those set while others wait.
#[tokio::test(start_paused = true)]
async fn timers_set_at_different_times_fire_in_the_order_they_are_due() {
    let queue = queue();
    queue.add_after("first", Duration::from_secs(1));
    queue.add_after("second", 50 * MS);
    advance(60 * MS).await;
    run(&queue, "second", Outcome::Forget);
    queue.add_after("third", Duration::from_secs(2));
    advance(Duration::from_secs(1)).await;
    run(&queue, "first", Outcome::Forget);
    advance(Duration::from_secs(2)).await;
    run(&queue, "third", Outcome::Forget);
}

/// client-go: several that are due at once come by due time, not by when they were added.
#[tokio::test(start_paused = true)]
async fn timers_that_are_all_past_come_by_due_time() {
    let queue = queue();
    for (key, delay) in [("c", 1000), ("b", 500), ("a", 250)] {
        queue.add_after(key, delay * MS);
    }
    advance(Duration::from_secs(2)).await;
    for key in ["a", "b", "c"] {
        run(&queue, key, Outcome::Forget);
    }
}

/// controller-runtime: a running key that was added again does not keep others back, and comes in its order after.
#[tokio::test(start_paused = true)]
async fn a_key_that_was_added_while_it_ran_comes_as_soon_as_it_is_done() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue, "a");
    queue.add("a");
    queue.add("b");
    run(&queue, "b", Outcome::Forget);
    item.done(Outcome::Forget);
    queue.add("c");
    run(&queue, "a", Outcome::Forget);
    run(&queue, "c", Outcome::Forget);
}

/// controller-runtime: an immediate add makes a delayed key ready, and counts it once, at its new priority.
#[tokio::test(start_paused = true)]
async fn an_immediate_add_of_a_delayed_key_is_counted_once() {
    let queue = queue();
    queue.add_after("a", Duration::from_secs(3600));
    assert_eq!((queue.metrics().depth(), queue.metrics().adds), (0, 0));
    queue.poke("a");
    assert_eq!((queue.metrics().depth_at(Priority::High), queue.metrics().depth()), (1, 1));
    run(&queue, "a", Outcome::Forget);
    assert_eq!((queue.metrics().depth(), queue.metrics().adds), (0, 1));
}

/// controller-runtime: thousands of each priority come highest first and in order, added at once or due at once.
#[tokio::test(start_paused = true)]
async fn many_keys_come_by_priority_and_in_order() {
    for delay in [0, 1000] {
        let queue = WorkQueue::new(Config { passed_over: u32::MAX, ..config() });
        for n in 0..1000 {
            for priority in Priority::ALL {
                queue.add_after_with((priority, n), delay * MS, priority);
            }
        }
        assert_eq!(queue.metrics().depth(), if delay == 0 { 3000 } else { 0 });
        advance(delay * MS).await;
        for priority in Priority::ALL.into_iter().rev() {
            for n in 0..1000 {
                let item = try_get(&queue).expect("ready");
                assert_eq!((item.priority(), *item.key()), (priority, (priority, n)));
                item.done(Outcome::Forget);
            }
        }
        assert!(queue.is_empty());
    }
}

/// controller-runtime: asking a queue that is shut down does not hang, whatever it held.
#[tokio::test(start_paused = true)]
async fn asking_after_shutdown_does_not_hang() {
    let queue = queue();
    queue.add("a");
    queue.shut_down(Shutdown::Abort);
    queue.add_after("b", Duration::from_secs(1));
    assert!(queue.get().await.is_none());
    assert!(queue.get().await.is_none());
}
