//! The keys that wait for a worker: which of them goes next.
//!
//! Higher levels first, first in first out inside one. What waits ages: once so many keys of higher levels were handed
//! out since it came to its level, it goes before all of them. Where several levels have such keys, the lowest goes
//! first, since handing out a higher one would pass it over once more. So the bound holds for every key, however many
//! wait, at the price that a backlog which has aged goes out in one piece.

use super::{
    Priority,
    list::{Id, Links, List},
};

/// The waiting keys of all levels.
#[derive(Debug)]
pub(super) struct Ready {
    levels: [Level; Priority::ALL.len()],
    links: Links,
    /// How often a level had been passed over when a slot came to it.
    marks: Vec<u64>,
    bound: u64,
    len: usize,
}

#[derive(Debug, Default)]
struct Level {
    list: List,
    /// How many keys of higher levels were handed out, ever.
    passed_over: u64,
}

impl Ready {
    /// `bound`: at most how many of higher levels are handed out while a key waits.
    pub(super) fn new(bound: u32) -> Self {
        Self {
            levels: Default::default(),
            links: Links::default(),
            marks: Vec::new(),
            bound: u64::from(bound.max(1)),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn len_at(&self, priority: Priority) -> usize {
        self.levels[priority.level()].list.len()
    }

    pub(super) fn push(&mut self, id: Id, priority: Priority) {
        let level = &mut self.levels[priority.level()];
        if id >= self.marks.len() {
            self.marks.resize(id + 1, 0);
        }
        self.marks[id] = level.passed_over;
        level.list.push(id, &mut self.links);
        self.len += 1;
    }

    /// Lets go of what grew with the slots; only while none waits.
    pub(super) fn give_memory_back(&mut self) {
        (self.links, self.marks) = (Links::default(), Vec::new());
    }

    /// Takes a slot out of the level it is in.
    pub(super) fn remove(&mut self, id: Id, priority: Priority) {
        self.levels[priority.level()].list.remove(id, &mut self.links);
        self.len -= 1;
    }

    /// Who is handed out next, and counts as passed over whom it passes; it stays in until it is removed.
    pub(super) fn pick(&mut self) -> Option<Id> {
        if self.len == 0 {
            return None;
        }
        let (level, id) = self.aged().or_else(|| self.highest())?;
        for lower in &mut self.levels[..level] {
            lower.passed_over += 1;
        }
        Some(id)
    }

    fn aged(&self) -> Option<(usize, Id)> {
        self.firsts().find(|(level, id)| self.levels[*level].passed_over - self.marks[*id] >= self.bound)
    }

    fn highest(&self) -> Option<(usize, Id)> {
        self.firsts().next_back()
    }

    /// The first key of each level that has one, lowest level first.
    fn firsts(&self) -> impl DoubleEndedIterator<Item = (usize, Id)> {
        self.levels.iter().enumerate().filter_map(|(level, waiting)| Some((level, waiting.list.first()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(ready: &mut Ready, priorities: &[Priority]) -> Option<Id> {
        let id = ready.pick()?;
        ready.remove(id, priorities[id]);
        Some(id)
    }

    #[test]
    fn q8_higher_levels_go_first_and_a_level_in_order() {
        use Priority::{High, Low, Normal};
        let priorities = [Low, High, Normal, Low, High, Normal];
        let mut ready = Ready::new(100);
        for (id, priority) in priorities.into_iter().enumerate() {
            ready.push(id, priority);
        }
        let order: Vec<Id> = std::iter::from_fn(|| take(&mut ready, &priorities)).collect();
        assert_eq!(order, [1, 4, 2, 5, 0, 3]);
    }

    #[test]
    fn q8_what_has_not_waited_long_does_not_go_before_higher_ones() {
        let priorities = [Priority::Normal; 50].into_iter().chain([Priority::Low; 10]).collect::<Vec<_>>();
        let mut ready = Ready::new(5);
        for id in 0..50 {
            ready.push(id, Priority::Normal);
        }
        for low in 50..55 {
            ready.push(low, Priority::Low);
            for _ in 0..5 {
                assert!(take(&mut ready, &priorities).is_some_and(|id| id < 50));
            }
            assert_eq!(take(&mut ready, &priorities), Some(low));
        }
    }

    /// Keeps the higher levels full and counts, for each key that waits below, the higher ones that overtake it.
    #[test]
    fn q8_no_key_is_passed_over_more_often_than_the_bound() {
        for bound in [1, 2, 7, 50] {
            let mut ready = Ready::new(bound);
            let mut priorities = Vec::new();
            let mut waiting: Vec<(Id, u32)> = Vec::new();
            let push = |ready: &mut Ready, waiting: &mut Vec<(Id, u32)>, priorities: &mut Vec<Priority>, priority| {
                priorities.push(priority);
                ready.push(priorities.len() - 1, priority);
                waiting.push((priorities.len() - 1, 0));
            };
            for round in 0..2000 {
                if round % 13 < 3 {
                    push(&mut ready, &mut waiting, &mut priorities, Priority::Low);
                }
                push(&mut ready, &mut waiting, &mut priorities, Priority::Normal);
                push(&mut ready, &mut waiting, &mut priorities, Priority::High);
                let id = take(&mut ready, &priorities).expect("some wait");
                waiting.retain(|(other, _)| *other != id);
                for (other, passed) in &mut waiting {
                    *passed += u32::from(priorities[*other] < priorities[id]);
                    assert!(*passed <= bound, "{other} was passed over {passed} times with a bound of {bound}");
                }
            }
        }
    }
}
