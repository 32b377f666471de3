//! Which groups are kept, for how long, and which commit ids stand in them.

use std::sync::Arc;

use imbl::Vector;
use orion_model::{CommitId, ResourceVersion, Timestamp};

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
    /// When it was appended.
    pub(crate) at: Timestamp,
    pub(crate) ids: Arc<[CommitId]>,
}

/// The kept groups, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// A watch may begin here or later: the end of the floor group, or the version before the first write.
    oldest: ResourceVersion,
    /// When the floor group was appended, where groups have been dropped. All that is forgotten is not younger.
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
    pub(crate) fn may_have_forgotten(&self, id: &CommitId) -> bool {
        self.forgotten.is_some_and(|forgotten| id.time() <= forgotten.after(COMMIT_ID_SKEW))
    }

    /// When the next group may be dropped; `None` while the history is short.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.droppable().next().map(|note| note.at.after(HISTORY_TIME))
    }

    /// The last group that may be dropped in one step now: it becomes the floor.
    pub(crate) fn floor_at(&self, now: Timestamp) -> Option<Note> {
        let old = self.droppable().take_while(|note| note.at.after(HISTORY_TIME) <= now);
        old.take(COMPACTION_GROUPS).last().cloned()
    }

    /// Forgets everything up to and including the new floor; gives the ids that are forgotten with it.
    pub(crate) fn forget_through(&mut self, floor: &Note) -> Vec<CommitId> {
        let mut ids = Vec::new();
        while self.notes.front().is_some_and(|note| note.seq <= floor.seq) {
            ids.extend(self.notes.pop_front().into_iter().flat_map(|note| note.ids.to_vec()));
        }
        self.oldest = floor.last;
        self.forgotten = Some(floor.at);
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

    /// A history of groups of 1000 versions each, appended at these minutes.
    fn history(minutes: &[i64]) -> History {
        let mut history = History::whole(ResourceVersion::ZERO);
        for (index, minute) in minutes.iter().enumerate() {
            let seq = index as u64 + 1;
            let at = Timestamp::from_millis(minute * MINUTE);
            let id = CommitId::fresh(at, &Randomness::seeded(seq));
            history.push(Note { seq: Seq::new(seq), last: ResourceVersion::new(seq * 1000), at, ids: [id].into() });
        }
        history
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(minute * MINUTE)
    }

    #[test]
    fn s7_ten_minutes_and_ten_thousand_versions_are_both_kept() {
        let few = history(&[0; 10]);
        assert!(few.due().is_none() && few.floor_at(at(1000)).is_none(), "10 000 versions, however old");
        let many = history(&[0; 13]);
        assert_eq!(many.due(), Some(at(10)));
        assert!(many.floor_at(at(9)).is_none(), "not yet ten minutes old");
        assert_eq!(many.floor_at(at(10)).map(|note| note.seq), Some(Seq::new(3)));
    }

    #[test]
    fn what_is_forgotten_moves_the_oldest_version_and_names_its_ids() {
        let mut history = history(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let floor = history.floor_at(at(11)).expect("two are old enough");
        assert_eq!(floor.seq, Seq::new(2));
        let ids = history.forget_through(&floor);
        assert_eq!(ids.len(), 2);
        assert_eq!(history.oldest(), ResourceVersion::new(2000));
        let aged = |minute| CommitId::fresh(at(minute), &Randomness::seeded(9));
        assert!(history.may_have_forgotten(&ids[1]) && history.may_have_forgotten(&aged(6)));
        assert!(!history.may_have_forgotten(&aged(7)), "six minutes after the floor, no clock is so wrong");
    }

    #[test]
    fn the_group_of_a_version_is_found() {
        let history = history(&[0, 0, 0]);
        let seq = |version| history.first_beyond(ResourceVersion::new(version)).map(|note| note.seq.get());
        assert_eq!([seq(0), seq(999), seq(1000), seq(2999), seq(3000)], [Some(1), Some(1), Some(2), Some(3), None]);
    }
}
