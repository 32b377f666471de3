//! The time of one step of the queue.

use std::cell::OnceCell;

use tokio::time::Instant;

/// One time for all of a step, read when first asked for: most runs end without, and reading it costs as much as the
/// rest of the step.
#[derive(Debug, Default)]
pub(super) struct Moment(OnceCell<Instant>);

impl Moment {
    pub(super) fn now(&self) -> Instant {
        *self.0.get_or_init(Instant::now)
    }
}
