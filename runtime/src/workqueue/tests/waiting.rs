//! How workers wait: who is woken, who keeps the time, what a dropped wait leaves behind.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::task::{JoinHandle, yield_now};

use super::*;

/// A worker that waits for one key and says when it got it.
fn worker(queue: &WorkQueue<&'static str>) -> JoinHandle<(Item<&'static str>, Instant)> {
    let queue = queue.clone();
    tokio::spawn(async move { (queue.get().await.expect("not shut down"), Instant::now()) })
}

async fn let_run() {
    for _ in 0..10 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_worker_gets_what_is_added() {
    let queue = queue();
    let waiting = worker(&queue);
    let_run().await;
    queue.add("a");
    assert_eq!(*waiting.await.expect("got").0.key(), "a");
}

#[tokio::test(start_paused = true)]
async fn waiting_workers_get_a_key_each() {
    let queue = queue();
    let workers = [worker(&queue), worker(&queue), worker(&queue)];
    let_run().await;
    for key in ["a", "b", "c"] {
        queue.add(key);
    }
    let_run().await;
    assert!(workers.iter().all(JoinHandle::is_finished));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_done_and_triggered_again_wakes_a_worker() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue, "a");
    queue.add("a");
    let waiting = worker(&queue);
    let_run().await;
    assert!(!waiting.is_finished());
    item.done(Outcome::Forget);
    waiting.await.expect("got").0.done(Outcome::Forget);
}

#[tokio::test(start_paused = true)]
async fn one_waits_for_the_timer_and_all_timers_are_kept() {
    let queue = queue();
    let start = Instant::now();
    let workers = [worker(&queue), worker(&queue), worker(&queue)];
    let_run().await;
    for (key, delay) in [("c", 30), ("a", 10), ("b", 20)] {
        queue.add_after(key, delay * MS);
    }
    let mut got = Vec::new();
    for waiting in workers {
        let (item, at) = waiting.await.expect("got");
        got.push(((at - start).as_millis(), *item.key()));
        item.done(Outcome::Forget);
    }
    got.sort_unstable();
    assert_eq!(got, [(10, "a"), (20, "b"), (30, "c")]);
}

#[tokio::test(start_paused = true)]
async fn timers_of_one_moment_wake_as_many_workers() {
    let queue = queue();
    let workers = [worker(&queue), worker(&queue), worker(&queue)];
    let_run().await;
    for key in ["a", "b", "c"] {
        queue.add_after(key, 10 * MS);
    }
    let start = Instant::now();
    let mut held = Vec::new();
    for waiting in workers {
        let (item, at) = waiting.await.expect("got");
        assert_eq!((at - start).as_millis(), 10);
        held.push(item);
    }
}

#[tokio::test(start_paused = true)]
async fn an_earlier_timer_is_kept_although_a_later_one_is_slept_for() {
    let queue = queue();
    queue.add_after("late", Duration::from_secs(3600));
    let start = Instant::now();
    let waiting = worker(&queue);
    let_run().await;
    queue.add_after("soon", Duration::from_secs(1));
    let (item, at) = waiting.await.expect("got");
    assert_eq!((*item.key(), (at - start).as_secs()), ("soon", 1));
}

#[tokio::test(start_paused = true)]
async fn a_retry_timer_wakes_a_worker_that_waited_before_it_was_set() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue, "a");
    let waiting = worker(&queue);
    let_run().await;
    let start = Instant::now();
    item.done(Outcome::Retry);
    assert_eq!((waiting.await.expect("got").1 - start).as_millis(), 5);
}

#[tokio::test(start_paused = true)]
async fn when_the_keeper_of_the_time_is_dropped_another_takes_over() {
    let queue = queue();
    queue.add_after("a", 10 * MS);
    let keeper = worker(&queue);
    let_run().await;
    let other = worker(&queue);
    let_run().await;
    keeper.abort();
    let start = Instant::now();
    let (item, at) = other.await.expect("got");
    assert_eq!((*item.key(), (at - start).as_millis()), ("a", 10));
}

#[tokio::test(start_paused = true)]
async fn when_the_keeper_of_the_time_gets_a_key_another_takes_over() {
    let queue = queue();
    queue.add_after("later", 10 * MS);
    let workers = [worker(&queue), worker(&queue)];
    let_run().await;
    queue.add("now");
    let start = Instant::now();
    let mut got = Vec::new();
    for waiting in workers {
        let (item, at) = waiting.await.expect("got");
        got.push(((at - start).as_millis(), *item.key(), item));
    }
    got.sort_unstable_by_key(|(at, key, _)| (*at, *key));
    assert!(matches!(got[..], [(0, "now", _), (10, "later", _)]), "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_dropped_after_it_was_woken_passes_the_key_on() {
    let queue = queue();
    let first = worker(&queue);
    let_run().await;
    let second = worker(&queue);
    let_run().await;
    queue.add("a");
    first.abort();
    second.await.expect("got").0.done(Outcome::Forget);
    assert!(first.await.is_err_and(|error| error.is_cancelled()));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_has_taken_nothing() {
    let queue = queue();
    {
        let mut waiting = pin!(queue.get());
        assert!(poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context).is_pending())).await);
        queue.add("a");
    }
    run(&queue, "a", Outcome::Forget);
}

#[tokio::test(start_paused = true)]
async fn one_key_wakes_one_worker_of_many() {
    let queue = queue();
    let polls = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..100)
        .map(|_| {
            let (queue, polls) = (queue.clone(), polls.clone());
            tokio::spawn(async move {
                let mut get = pin!(queue.get());
                poll_fn(|context| {
                    polls.fetch_add(1, Ordering::Relaxed);
                    get.as_mut().poll(context)
                })
                .await
                .map(|item| item.done(Outcome::Forget))
            })
        })
        .collect();
    let_run().await;
    assert_eq!(polls.swap(0, Ordering::Relaxed), 100);
    for _ in 0..10 {
        queue.add("a");
        let_run().await;
    }
    assert_eq!(polls.swap(0, Ordering::Relaxed), 10);
    queue.add_after("a", MS);
    let_run().await;
    advance(MS).await;
    let_run().await;
    assert!(polls.load(Ordering::Relaxed) <= 3, "{polls:?}: one to keep the time, at most one to take over");
    queue.shut_down(Shutdown::Drain);
    for worker in workers {
        worker.await.expect("no panic");
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_calls_no_more_workers_than_find_something_to_do() {
    let queue = WorkQueue::new(config());
    let polls = Arc::new(AtomicUsize::new(0));
    for _ in 0..100 {
        let (queue, polls) = (queue.clone(), polls.clone());
        tokio::spawn(async move {
            let mut work = pin!(async {
                while let Some(item) = queue.get().await {
                    item.done(Outcome::Forget);
                }
            });
            poll_fn(|context| {
                polls.fetch_add(1, Ordering::Relaxed);
                work.as_mut().poll(context)
            })
            .await;
        });
    }
    let_run().await;
    polls.store(0, Ordering::Relaxed);
    (0..50).for_each(|key| assert!(queue.add(key)));
    let_run().await;
    assert!(queue.is_empty());
    assert!(polls.load(Ordering::Relaxed) <= 3, "{polls:?}: the first is done with all before the next comes");
    queue.shut_down(Shutdown::Drain);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_never_waits_lets_others_run() {
    let queue = queue();
    queue.add("a");
    let busy = tokio::spawn({
        let queue = queue.clone();
        async move {
            while let Some(item) = queue.get().await {
                item.done(Outcome::Again);
            }
        }
    });
    let_run().await;
    queue.shut_down(Shutdown::FinishRunning);
    busy.await.expect("ended");
}

#[tokio::test(start_paused = true)]
async fn an_item_says_how_long_its_key_waited() {
    let queue = queue();
    let start = Instant::now();
    queue.add("a");
    queue.add_after("b", 3 * MS);
    advance(7 * MS).await;
    let (a, b) = (take(&queue, "a"), take(&queue, "b"));
    assert_eq!((a.waiting_since() - start, a.started() - start), (Duration::ZERO, 7 * MS));
    assert_eq!((b.waiting_since() - start, b.started() - start), (3 * MS, 7 * MS));
}

#[tokio::test(start_paused = true)]
async fn metrics_count_as_client_go_does() {
    let queue = queue();
    advance(MS).await;
    queue.add("a");
    queue.add("a");
    queue.add("b");
    queue.add_after("c", 10 * MS);
    let metrics = queue.metrics();
    assert_eq!((metrics.depth(), metrics.delayed, metrics.adds, metrics.triggers, metrics.retries), (2, 1, 2, 4, 1));

    let first = take(&queue, "a");
    advance(4 * MS).await;
    let second = take(&queue, "b");
    advance(3 * MS).await;
    let metrics = queue.metrics();
    assert_eq!((metrics.depth(), metrics.running), (0, 2));
    assert_eq!((metrics.longest_running, metrics.unfinished_work), (7 * MS, 10 * MS));

    first.done(Outcome::Forget);
    assert_eq!((queue.metrics().longest_running, queue.metrics().unfinished_work), (3 * MS, 3 * MS));
    second.done(Outcome::Retry);
    let metrics = queue.metrics();
    assert_eq!((metrics.running, metrics.retries, metrics.delayed), (0, 2, 2));
    assert_eq!((metrics.longest_running, metrics.unfinished_work), (Duration::ZERO, Duration::ZERO));

    advance(5 * MS).await;
    let metrics = queue.metrics();
    assert_eq!((metrics.depth(), metrics.adds), (2, 4));
}
