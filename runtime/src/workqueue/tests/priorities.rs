//! Q8 and Q9.

use super::*;

/// The keys in the order they are handed out.
fn order(queue: &WorkQueue<&'static str>) -> Vec<&'static str> {
    std::iter::from_fn(|| try_get(queue))
        .map(|item| {
            let key = *item.key();
            item.done(Outcome::Forget);
            key
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn q8_higher_goes_first_and_equals_in_order() {
    let queue = queue();
    queue.resync("resync");
    queue.add_with("listed", Priority::Low);
    queue.add("change");
    queue.add("another change");
    queue.poke("poked");
    assert_eq!(order(&queue), ["poked", "change", "another change", "resync", "listed"]);
}

#[tokio::test(start_paused = true)]
async fn q8_what_becomes_due_takes_its_place_by_time_and_priority() {
    let queue = queue();
    queue.add_after("second", 20 * MS);
    queue.add_after("first", 10 * MS);
    advance(15 * MS).await;
    queue.add("between");
    advance(15 * MS).await;
    queue.add("last");
    queue.poke("poked");
    assert_eq!(order(&queue), ["poked", "first", "between", "second", "last"]);
}

#[tokio::test(start_paused = true)]
async fn q8_a_low_key_waits_for_at_most_the_stated_number_of_higher_ones() {
    let passed_over = 10;
    let queue = WorkQueue::new(Config { passed_over, ..config() });
    queue.resync(0);
    for round in 1.. {
        queue.add(round);
        queue.add(100_000 + round);
        let item = try_get(&queue).expect("ready");
        let key = *item.key();
        item.done(Outcome::Forget);
        if key == 0 {
            assert_eq!(round, passed_over + 1);
            break;
        }
        assert!(round <= passed_over, "starved");
    }
}

#[tokio::test(start_paused = true)]
async fn q8_by_default_a_low_key_waits_for_a_hundred_higher_ones() {
    let queue = WorkQueue::new(Config::default());
    queue.resync(0);
    (1..=200).for_each(|key| assert!(queue.add(key)));
    let before = std::iter::from_fn(|| try_get(&queue)).take_while(|item| *item.key() != 0).count();
    assert_eq!(before, 100);
}

#[tokio::test(start_paused = true)]
async fn q9_an_add_raises_the_priority_and_never_lowers_it() {
    let queue = queue();
    queue.add_with("a", Priority::Low);
    queue.add("b");
    queue.poke("a");
    queue.add_with("a", Priority::Low);
    assert_eq!(queue.metrics().depth_at(Priority::High), 1);
    let item = take(&queue, "a");
    assert_eq!(item.priority(), Priority::High);
    item.done(Outcome::Forget);
    assert_eq!(order(&queue), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn q9_a_raised_key_goes_to_the_end_of_its_new_level() {
    let queue = queue();
    queue.add_with("a", Priority::Low);
    queue.add("b");
    queue.add("a");
    assert_eq!(order(&queue), ["b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn q9_priority_survives_requeue_and_error() {
    for outcome in [Outcome::Retry, Outcome::After(5 * MS)] {
        let queue = queue();
        queue.poke("a");
        run(&queue, "a", outcome);
        advance(5 * MS).await;
        queue.add("b");
        let item = take(&queue, "a");
        assert_eq!(item.priority(), Priority::High, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn q9_an_add_during_the_run_raises_what_follows_it() {
    for outcome in [Outcome::Retry, Outcome::Again, Outcome::Forget] {
        let queue = queue();
        queue.add_with("a", Priority::Low);
        let item = take(&queue, "a");
        queue.poke("a");
        item.done(outcome);
        assert_eq!(take(&queue, "a").priority(), Priority::High, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn q9_a_result_may_lower_the_priority() {
    let queue = queue();
    queue.poke("a");
    let mut item = take(&queue, "a");
    item.set_priority(Priority::Low);
    item.done(Outcome::Retry);
    assert_eq!(inspect(&queue, "a").priority, Priority::Low);
    advance(5 * MS).await;
    queue.add("b");
    assert_eq!(order(&queue), ["b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn q9_success_ends_a_priority() {
    let queue = queue();
    queue.poke("a");
    let item = take(&queue, "a");
    queue.resync("a");
    item.done(Outcome::Forget);
    assert_eq!(take(&queue, "a").priority(), Priority::Low);
}
