//! Which groups are kept, for how long, and which commit ids stand in them.
//!
//! The wall clock may be wrong, and set right at any time. A group is old once the wall clock says so or once it has
//! been known for that long by the monotonic clock, so a time that lies in the future holds nothing up. An id is never
//! called forgotten while the wall clock reads about its time, so a clock that was set back refuses nobody who mints
//! ids by it. What that costs: a commit that was made and forgotten before the clock was set back is made once more if
//! it is repeated just when the clock reads its time again.

use std::{sync::Arc, time::Duration};

use imbl::Vector;
use orion_model::{CommitId, ResourceVersion, Timestamp};
use tokio::time::Instant;

use crate::{
    journal::Seq,
    limits::{COMMIT_ID_SKEW, COMPACTION_GROUPS, HISTORY_TIME, HISTORY_VERSIONS},
};

/// What is remembered of one kept group.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) seq: Seq,
    /// The end of its last commit.
    pub(crate) last: ResourceVersion,
    /// When it was appended, by its writer's wall clock.
    pub(crate) at: Timestamp,
    /// Since when this process knows of it.
    pub(crate) known: Instant,
    pub(crate) ids: Arc<[CommitId]>,
}

impl Note {
    /// How much longer it is kept whatever comes after it, on whichever clock it is older.
    fn young_for(&self, now: Timestamp, steady: Instant) -> Duration {
        let by_wall = self.at.after(HISTORY_TIME).since(now);
        by_wall.min((self.known + HISTORY_TIME).saturating_duration_since(steady))
    }
}

/// The kept groups, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// A watch may begin here or later: the end of the floor group, or the version before the first write.
    oldest: ResourceVersion,
    /// The latest time of a floor group, where groups have been dropped. All that is forgotten is not younger.
    forgotten: Option<Timestamp>,
    notes: Vector<Note>,
}

impl History {
    /// A history in which nothing has been dropped.
    pub(crate) fn whole(base: ResourceVersion) -> Self {
        Self { oldest: base, forgotten: None, notes: Vector::new() }
    }

    /// A history that begins behind its floor group.
    pub(crate) fn behind(floor: &Note) -> Self {
        Self { oldest: floor.last, forgotten: Some(floor.at), notes: Vector::new() }
    }

    pub(crate) fn push(&mut self, note: Note) {
        self.notes.push_back(note);
    }

    /// The oldest version that a watch may begin at.
    pub(crate) fn oldest(&self) -> ResourceVersion {
        self.oldest
    }

    /// The kept groups.
    pub(crate) fn notes(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter()
    }

    /// The first kept group that reaches beyond a version.
    pub(crate) fn first_beyond(&self, version: ResourceVersion) -> Option<&Note> {
        let index = self.notes.binary_search_by(|note| match note.last > version {
            true => std::cmp::Ordering::Greater,
            false => std::cmp::Ordering::Less,
        });
        self.notes.get(index.unwrap_or_else(|index| index))
    }

    /// Whether a commit of this id may have been made and forgotten.
    pub(crate) fn may_have_forgotten(&self, id: &CommitId, now: Timestamp) -> bool {
        // While the clock is right, what is forgotten is old, and the second says nothing new.
        self.forgotten.is_some_and(|forgotten| id.time() <= forgotten.after(COMMIT_ID_SKEW))
            && id.time().after(HISTORY_TIME - COMMIT_ID_SKEW) <= now
    }

    /// How long it is until the next group may be dropped; `None` while the history is short.
    pub(crate) fn due_in(&self, now: Timestamp, steady: Instant) -> Option<Duration> {
        self.droppable().next().map(|note| note.young_for(now, steady))
    }

    /// The last group that may be dropped in one step now: it becomes the floor.
    pub(crate) fn floor_at(&self, now: Timestamp, steady: Instant) -> Option<Note> {
        let old = self.droppable().take_while(|note| note.young_for(now, steady).is_zero());
        old.take(COMPACTION_GROUPS).last().cloned()
    }

    /// Forgets everything up to and including the new floor; gives the ids that are forgotten with it.
    pub(crate) fn forget_through(&mut self, floor: &Note) -> Vec<CommitId> {
        let mut ids = Vec::new();
        while self.notes.front().is_some_and(|note| note.seq <= floor.seq) {
            ids.extend(self.notes.pop_front().into_iter().flat_map(|note| note.ids.to_vec()));
        }
        self.oldest = floor.last;
        self.forgotten = self.forgotten.max(Some(floor.at));
        ids
    }

    /// The oldest groups without which enough versions are left.
    fn droppable(&self) -> impl Iterator<Item = &Note> {
        let newest = self.notes.last().map_or(self.oldest, |note| note.last);
        self.notes.iter().take_while(move |note| newest.get() - note.last.get() >= HISTORY_VERSIONS)
    }
}

#[cfg(test)]
mod tests {
    use orion_model::Randomness;

    use super::*;

    const MINUTE: i64 = 60_000;

    /// A history of groups of 1000 versions each, appended at these minutes and known since now.
    fn history(minutes: &[i64], known: Instant) -> History {
        let mut history = History::whole(ResourceVersion::ZERO);
        for (index, minute) in minutes.iter().enumerate() {
            let seq = index as u64 + 1;
            let at = Timestamp::from_millis(minute * MINUTE);
            let id = CommitId::fresh(at, &Randomness::seeded(seq));
            history.push(Note {
                seq: Seq::new(seq),
                last: ResourceVersion::new(seq * 1000),
                at,
                known,
                ids: [id].into(),
            });
        }
        history
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(minute * MINUTE)
    }

    #[test]
    fn s7_ten_minutes_and_ten_thousand_versions_are_both_kept() {
        let known = Instant::now();
        let few = history(&[0; 10], known);
        let never = few.due_in(at(1000), known).is_none() && few.floor_at(at(1000), known).is_none();
        assert!(never, "10 000 versions, however old");
        let many = history(&[0; 13], known);
        assert_eq!(many.due_in(at(4), known), Some(HISTORY_TIME * 6 / 10));
        assert!(many.floor_at(at(9), known).is_none(), "not yet ten minutes old");
        assert_eq!(many.floor_at(at(10), known).map(|note| note.seq), Some(Seq::new(3)));
    }

    #[test]
    fn s7_what_was_appended_by_a_clock_ahead_is_old_ten_minutes_after_it_became_known() {
        let known = Instant::now();
        let ahead = history(&[600; 13], known);
        assert_eq!(ahead.due_in(at(0), known), Some(HISTORY_TIME));
        let nearly = known + HISTORY_TIME / 2;
        assert!(ahead.floor_at(at(5), nearly).is_none(), "ten minutes are kept, whatever the wall clock does");
        assert_eq!(ahead.floor_at(at(10), known + HISTORY_TIME).map(|note| note.seq), Some(Seq::new(3)));
    }

    #[test]
    fn s6_a_clock_set_back_forgets_only_ids_older_than_itself() {
        let known = Instant::now();
        let mut history = history(&[100; 13], known);
        let floor = history.floor_at(at(110), known).expect("they are old");
        history.forget_through(&floor);
        let forgotten = |id, now| history.may_have_forgotten(&CommitId::fresh(at(id), &Randomness::seeded(9)), at(now));
        assert!(forgotten(100, 110) && forgotten(105, 110) && !forgotten(106, 110), "the clock is right");
        assert!(!forgotten(90, 90) && !forgotten(86, 90), "ids of a clock set back by twenty minutes are fresh");
        assert!(forgotten(85, 90) && forgotten(40, 90), "and old ones are old by it too");
    }

    #[test]
    fn what_is_forgotten_moves_the_oldest_version_and_names_its_ids() {
        let known = Instant::now();
        let mut history = history(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], known);
        let floor = history.floor_at(at(11), known).expect("two are old enough");
        assert_eq!(floor.seq, Seq::new(2));
        let ids = history.forget_through(&floor);
        assert_eq!(ids.len(), 2);
        assert_eq!(history.oldest(), ResourceVersion::new(2000));
        let aged = |minute| CommitId::fresh(at(minute), &Randomness::seeded(9));
        let forgotten = |id: &CommitId| history.may_have_forgotten(id, at(11));
        assert!(forgotten(&ids[1]) && forgotten(&aged(6)));
        assert!(!forgotten(&aged(7)), "six minutes after the floor, no clock is so wrong");
    }

    #[test]
    fn the_group_of_a_version_is_found() {
        let history = history(&[0, 0, 0], Instant::now());
        let seq = |version| history.first_beyond(ResourceVersion::new(version)).map(|note| note.seq.get());
        assert_eq!([seq(0), seq(999), seq(1000), seq(2999), seq(3000)], [Some(1), Some(1), Some(2), Some(3), None]);
    }
}
