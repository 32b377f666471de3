//! The earliest moment at which a plan could come out otherwise though nothing has changed.

use std::time::SystemTime;

use orion_model::Timestamp;
use orion_runtime::Action;

/// The earliest of the moments it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wake(Option<Timestamp>);

impl Wake {
    /// Wakes at this moment, if no earlier one is asked for.
    pub(crate) fn at(&mut self, moment: Timestamp) {
        self.0 = Some(self.0.map_or(moment, |known| known.min(moment)));
    }

    /// The moment.
    pub(crate) fn moment(self) -> Option<Timestamp> {
        self.0
    }

    /// What a reconcile answers.
    pub(crate) fn action(self) -> Action {
        self.0.map_or(Action::Done, |moment| Action::At(SystemTime::from(moment)))
    }
}
