//! Waiting for conditions, and watching that they hold.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Long enough for anything that should happen at once, on a machine that is busy with other tests.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until there is something to return; what was seen last is told when it takes too long.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + within;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => panic!("{what}: not within {within:?}; last seen: {seen}"),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Looks again and again for a while; the first look that fails ends it.
#[track_caller]
pub(crate) fn holds_for(what: &str, span: Duration, mut look: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        if let Err(seen) = look() {
            panic!("{what}: no longer so; seen: {seen}");
        }
        thread::sleep(PAUSE);
    }
}
