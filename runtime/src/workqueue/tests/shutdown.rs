//! Q11.

use tokio::task::yield_now;

use super::*;

const ALL: [Shutdown; 3] = [Shutdown::Drain, Shutdown::FinishRunning, Shutdown::Abort];

/// A queue with a key of each kind, and the item of the one that runs.
fn busy() -> (WorkQueue<&'static str>, Item<&'static str>) {
    let queue = queue();
    for key in ["terminal", "failed", "running"] {
        queue.add(key);
    }
    run(&queue, "terminal", Outcome::Terminal);
    run(&queue, "failed", Outcome::Retry);
    let running = take(&queue, "running");
    queue.add("ready");
    queue.add_after("later", Duration::from_secs(60));
    queue.add("running");
    (queue, running)
}

fn is_drained(queue: &WorkQueue<&'static str>) -> bool {
    queue.drained().now_or_never().is_some()
}

#[tokio::test(start_paused = true)]
async fn q11_nothing_is_taken_in_after_shutdown() {
    for how in ALL {
        let queue = queue();
        queue.shut_down(how);
        assert!(!queue.add("a") && !queue.poke("a") && !queue.resync("a") && !queue.add_after("a", MS));
        assert!(queue.is_empty());
        assert!(queue.get().await.is_none());
        assert!(is_drained(&queue));
    }
}

#[tokio::test(start_paused = true)]
async fn q11_draining_runs_what_was_triggered_and_waits_for_no_timer() {
    let (queue, running) = busy();
    queue.shut_down(Shutdown::Drain);
    run(&queue, "ready", Outcome::Retry);
    assert!(!is_drained(&queue));
    running.done(Outcome::After(MS));
    run(&queue, "running", Outcome::Again);
    assert!(queue.get().await.is_none());
    assert!(queue.is_empty() && is_drained(&queue));
}

#[tokio::test(start_paused = true)]
async fn q11_a_drain_waits_for_no_timer_that_was_set_while_its_key_ran() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue, "a");
    queue.add_after("a", Duration::from_secs(60));
    queue.shut_down(Shutdown::Drain);
    assert!(queue.get().await.is_none());
    item.done(Outcome::Forget);
    assert!(is_drained(&queue) && queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn q11_a_drain_hands_out_a_key_that_was_triggered_while_it_runs_once_that_run_is_done() {
    let (queue, running) = busy();
    queue.shut_down(Shutdown::Drain);
    run(&queue, "ready", Outcome::Forget);
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let item = queue.get().await?;
                let key = *item.key();
                item.done(Outcome::Forget);
                Some(key)
            })
        })
        .collect();
    yield_now().await;
    assert!(workers.iter().all(|worker| !worker.is_finished()), "one of them is still needed");
    running.done(Outcome::Forget);
    let mut got = Vec::new();
    for worker in workers {
        got.extend(worker.await.expect("no panic"));
    }
    assert_eq!(got, ["running"]);
    queue.drained().await;
}

#[tokio::test(start_paused = true)]
async fn q11_finishing_starts_nothing_and_waits_for_what_runs() {
    let (queue, running) = busy();
    queue.shut_down(Shutdown::FinishRunning);
    assert!(queue.get().await.is_none());
    assert_eq!(queue.len(), 1);
    let waiter = tokio::spawn({
        let queue = queue.clone();
        async move { queue.drained().await }
    });
    yield_now().await;
    assert!(!waiter.is_finished());
    running.done(Outcome::Retry);
    waiter.await.expect("drained");
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn q11_aborting_waits_for_nothing_and_what_ends_later_changes_nothing() {
    let (queue, running) = busy();
    queue.shut_down(Shutdown::Abort);
    assert!(queue.get().await.is_none());
    assert!(queue.is_empty() && is_drained(&queue));
    assert_eq!(queue.metrics().running, 0);
    running.done(Outcome::Again);
    assert!(queue.get().await.is_none());
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn q11_each_shutdown_is_idempotent_and_a_stricter_one_takes_over() {
    for (at, first) in ALL.into_iter().enumerate() {
        for second in ALL {
            let (queue, running) = busy();
            queue.shut_down(first);
            queue.shut_down(first);
            queue.shut_down(second);
            let strictest = first.max(second);
            assert_eq!(try_get(&queue).map(|item| *item.key()), (strictest == Shutdown::Drain).then_some("ready"));
            assert_eq!(is_drained(&queue), strictest == Shutdown::Abort, "{at}: {first:?} then {second:?}");
            running.done(Outcome::Forget);
            while try_get(&queue).is_some() {}
            assert!(is_drained(&queue) && queue.is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn q11_every_waiting_worker_ends() {
    for how in ALL {
        for delayed in [false, true] {
            let queue = queue();
            if delayed {
                queue.add_after("later", Duration::from_secs(3600));
            }
            let start = Instant::now();
            let workers: Vec<_> = (0..5)
                .map(|_| {
                    let queue = queue.clone();
                    tokio::spawn(async move { queue.get().await.is_none() })
                })
                .collect();
            yield_now().await;
            queue.shut_down(how);
            for worker in workers {
                assert!(worker.await.expect("no panic"));
            }
            assert_eq!(Instant::now(), start);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn q11_a_drain_ends_even_if_runs_keep_asking_for_more() {
    let queue = queue();
    queue.add("a");
    queue.add("b");
    queue.shut_down(Shutdown::Drain);
    run(&queue, "a", Outcome::Again);
    run(&queue, "b", Outcome::After(Duration::ZERO));
    assert!(queue.get().await.is_none());
    assert!(is_drained(&queue));
}
