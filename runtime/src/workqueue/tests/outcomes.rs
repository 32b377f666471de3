//! Q5 to Q7: what becomes of a key after its run.

use super::*;

#[tokio::test(start_paused = true)]
async fn q5_each_failure_of_a_due_run_doubles_the_wait() {
    let queue = queue();
    queue.add("a");
    for (failures, wait) in [(1, 5), (2, 10), (3, 20), (4, 40)] {
        run(&queue, "a", Outcome::Retry);
        assert_eq!(inspect(&queue, "a").failures, failures);
        assert_eq!(timer(&queue, "a"), (Timer::Backoff, wait));
        advance(Duration::from_millis(wait as u64) - MS).await;
        assert_nothing_ready(&queue);
        advance(MS).await;
    }
    assert_eq!(take(&queue, "a").failures(), 4);
}

#[tokio::test(start_paused = true)]
async fn q5_an_early_run_that_fails_leaves_exponent_and_due_time() {
    let queue = queue();
    queue.add("a");
    run(&queue, "a", Outcome::Retry);
    advance(5 * MS).await;
    run(&queue, "a", Outcome::Retry);
    for _ in 0..20 {
        queue.add("a");
        run(&queue, "a", Outcome::Retry);
    }
    assert_eq!(inspect(&queue, "a").failures, 2);
    assert_eq!(timer(&queue, "a"), (Timer::Backoff, 10));
    advance(10 * MS).await;
    run(&queue, "a", Outcome::Retry);
    assert_eq!(inspect(&queue, "a").failures, 3);
    assert_eq!(timer(&queue, "a"), (Timer::Backoff, 20));
}

#[tokio::test(start_paused = true)]
async fn q5_an_early_run_that_fails_after_the_due_time_is_followed_by_the_due_one() {
    let queue = queue();
    queue.add("a");
    run(&queue, "a", Outcome::Retry);
    queue.add("a");
    let early = take(&queue, "a");
    advance(7 * MS).await;
    early.done(Outcome::Retry);
    assert_eq!(inspect(&queue, "a").failures, 1);
    run(&queue, "a", Outcome::Retry);
    assert_eq!(inspect(&queue, "a").failures, 2);
    assert_eq!(timer(&queue, "a"), (Timer::Backoff, 10));
}

#[tokio::test(start_paused = true)]
async fn q5_a_run_that_starts_after_the_due_time_is_the_due_one_whoever_asked_for_it() {
    let queue = queue();
    queue.add("a");
    run(&queue, "a", Outcome::Retry);
    queue.add("a");
    advance(5 * MS).await;
    run(&queue, "a", Outcome::Retry);
    assert_eq!(inspect(&queue, "a").failures, 2);
}

#[tokio::test(start_paused = true)]
async fn q5_an_early_run_that_succeeds_clears_exponent_and_timer() {
    for outcome in [Outcome::Forget, Outcome::After(Duration::from_secs(60))] {
        let queue = queue();
        queue.add("a");
        run(&queue, "a", Outcome::Retry);
        queue.add("a");
        run(&queue, "a", outcome);
        advance(Duration::from_secs(1)).await;
        assert_nothing_ready(&queue);
        queue.add("a");
        run(&queue, "a", Outcome::Retry);
        assert_eq!(inspect(&queue, "a").failures, 1);
        assert_eq!(timer(&queue, "a"), (Timer::Backoff, 5));
    }
}

#[tokio::test(start_paused = true)]
async fn q5_a_delayed_add_before_the_backoff_is_over_runs_early_and_is_not_one_more_failure() {
    let queue = queue();
    queue.add("a");
    run(&queue, "a", Outcome::Retry);
    queue.add_after("a", 2 * MS);
    assert_eq!(timer(&queue, "a"), (Timer::Added, 2));
    advance(2 * MS).await;
    run(&queue, "a", Outcome::Retry);
    assert_eq!(inspect(&queue, "a").failures, 1);
    assert_eq!(timer(&queue, "a"), (Timer::Backoff, 3));
}

#[tokio::test(start_paused = true)]
async fn q5_a_failure_with_a_trigger_meanwhile_counts_and_runs_early() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue, "a");
    queue.add("a");
    item.done(Outcome::Retry);
    assert_eq!(inspect(&queue, "a").failures, 1);
    run(&queue, "a", Outcome::Retry);
    assert_eq!(inspect(&queue, "a").failures, 1, "the second run came before the backoff was over");
    assert_eq!(timer(&queue, "a"), (Timer::Backoff, 5));
}

#[tokio::test(start_paused = true)]
async fn q6_success_and_an_explicit_requeue_reset_the_failures() {
    for outcome in [Outcome::Forget, Outcome::After(MS)] {
        let queue = queue();
        queue.add("a");
        run(&queue, "a", Outcome::Retry);
        advance(5 * MS).await;
        run(&queue, "a", Outcome::Retry);
        advance(10 * MS).await;
        run(&queue, "a", outcome);
        queue.add("a");
        run(&queue, "a", Outcome::Retry);
        assert_eq!(inspect(&queue, "a").failures, 1);
        assert_eq!(timer(&queue, "a"), (Timer::Backoff, 5));
    }
}

#[tokio::test(start_paused = true)]
async fn q6_a_terminal_error_stops_retries_timers_and_resyncs() {
    let queue = queue();
    queue.add("a");
    run(&queue, "a", Outcome::Terminal);
    assert_eq!(inspect(&queue, "a").state, KeyState::Terminal);
    assert_eq!(queue.metrics().terminal, 1);
    assert!(!queue.resync("a"));
    assert!(!queue.add_after("a", MS));
    advance(Duration::from_secs(3600)).await;
    assert_nothing_ready(&queue);
}

#[tokio::test(start_paused = true)]
async fn q6_a_terminal_error_drops_timers_and_resyncs_that_came_during_the_run() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue, "a");
    queue.resync("a");
    queue.add_after("a", MS);
    item.done(Outcome::Terminal);
    advance(Duration::from_secs(1)).await;
    assert_nothing_ready(&queue);
    assert_eq!(inspect(&queue, "a").state, KeyState::Terminal);
}

#[tokio::test(start_paused = true)]
async fn q6_an_event_or_a_poke_runs_a_key_that_ended_for_good() {
    type Wake = fn(&WorkQueue<&'static str>) -> bool;
    let wakes: [Wake; 3] =
        [|queue| queue.add("a"), |queue| queue.add_with("a", Priority::Low), |queue| queue.poke("a")];
    for wake in wakes {
        let queue = queue();
        queue.add("a");
        run(&queue, "a", Outcome::Retry);
        queue.add("a");
        run(&queue, "a", Outcome::Terminal);
        assert!(wake(&queue));
        run(&queue, "a", Outcome::Retry);
        assert_eq!(inspect(&queue, "a").failures, 1, "failures start anew");
        assert_eq!(queue.metrics().terminal, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn q6_an_event_with_a_resync_during_the_run_outlives_a_terminal_error() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue, "a");
    queue.add("a");
    queue.resync("a");
    item.done(Outcome::Terminal);
    run(&queue, "a", Outcome::Forget);
}

#[tokio::test(start_paused = true)]
async fn running_again_at_once_leaves_failures_and_backoff_as_they_stand() {
    let queue = queue();
    queue.add("a");
    run(&queue, "a", Outcome::Retry);
    queue.add("a");
    run(&queue, "a", Outcome::Again);
    assert_eq!(inspect(&queue, "a").failures, 1);
    run(&queue, "a", Outcome::Retry);
    assert_eq!(inspect(&queue, "a").failures, 1, "still early");
    assert_eq!(timer(&queue, "a"), (Timer::Backoff, 5));
    advance(5 * MS).await;
    run(&queue, "a", Outcome::Again);
    run(&queue, "a", Outcome::Retry);
    assert_eq!(inspect(&queue, "a").failures, 2);
}

#[tokio::test(start_paused = true)]
async fn a_requeue_without_delay_goes_to_the_end_of_the_line() {
    let queue = queue();
    queue.add("a");
    queue.add("b");
    run(&queue, "a", Outcome::After(Duration::ZERO));
    run(&queue, "b", Outcome::Again);
    run(&queue, "a", Outcome::Forget);
    run(&queue, "b", Outcome::Forget);
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn forgetting_resets_failures_and_keeps_what_is_scheduled() {
    let queue = queue();
    queue.forget(&"a");
    queue.add("a");
    run(&queue, "a", Outcome::Retry);
    queue.forget(&"a");
    assert_eq!(inspect(&queue, "a").failures, 0);
    assert_eq!(timer(&queue, "a"), (Timer::Backoff, 5));
    advance(5 * MS).await;
    run(&queue, "a", Outcome::Retry);
    assert_eq!(inspect(&queue, "a").failures, 1);
    queue.add("a");
    run(&queue, "a", Outcome::Terminal);
    queue.forget(&"a");
    assert!(queue.is_empty(), "nothing of it need be known");
    assert_eq!(queue.metrics().terminal, 0);
    assert!(queue.resync("a"));
}

#[tokio::test(start_paused = true)]
async fn q7_a_seeded_queue_repeats_its_jittered_delays_exactly() {
    async fn waits(seed: u64) -> Vec<u128> {
        let backoff = Backoff::default();
        let queue = WorkQueue::new(Config { backoff, randomness: Randomness::seeded(seed), ..Config::default() });
        queue.add("a");
        let mut waits = Vec::new();
        for _ in 0..40 {
            run(&queue, "a", Outcome::Retry);
            let KeyState::Delayed { due, .. } = inspect(&queue, "a").state else { panic!("not delayed") };
            let wait = due - Instant::now();
            waits.push(wait.as_nanos());
            advance(wait).await;
        }
        waits
    }
    let first = waits(1).await;
    assert_eq!(first, waits(1).await);
    assert_ne!(first, waits(2).await);
    assert!(first[0] <= 5_000_000 && first[0] >= 4_000_000, "{first:?}");
    assert!(first[30..].iter().all(|wait| (800_000_000_000..=1_000_000_000_000).contains(wait)), "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn q7_a_bucket_spreads_the_retries_of_all_keys() {
    let bucket = Some(TokenBucket::new(Duration::from_secs(1), 2));
    let queue = WorkQueue::new(Config { bucket, ..config() });
    for key in ["a", "b", "c", "d"] {
        queue.add(key);
        run(&queue, key, Outcome::Retry);
    }
    let waits = ["a", "b", "c", "d"].map(|key| timer(&queue, key).1);
    assert_eq!(waits, [5, 5, 1000, 2000]);
    queue.add("d");
    run(&queue, "d", Outcome::Retry);
    assert_eq!(timer(&queue, "d").1, 2000, "an early failure takes no token");
    queue.add("e");
    run(&queue, "e", Outcome::After(MS));
    assert_eq!(timer(&queue, "e").1, 1, "only retries are paced");
}

#[tokio::test(start_paused = true)]
async fn q7_no_delay_overflows() {
    let queue = queue();
    queue.add("a");
    run(&queue, "a", Outcome::After(Duration::MAX));
    queue.add_after("b", Duration::MAX);
    advance(Duration::from_secs(365 * 24 * 3600)).await;
    assert_nothing_ready(&queue);
    queue.add("a");
    run(&queue, "a", Outcome::Forget);
}
