//! When a node counts as silent: pure, on the gateway's monotonic clock.
//!
//! ```text
//! heard ........ + silence (20 s, or four beats) ──► silent
//! socket closed ........ + 10 s ──► silent            heard again ──► connected
//! ```
//!
//! A node that was connected when the gateway started is taken as heard then, so that nobody is silent before a full
//! period of grace.

use std::time::Duration;

use orion_types::node::Contact;
use tokio::time::Instant;

/// How long a node may say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// With an open socket.
    pub(super) open: Duration,
    /// After its socket was closed.
    pub(super) closed: Duration,
}

/// The last signs of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signs {
    /// When it was last heard.
    pub(super) heard: Instant,
    /// When its socket was closed, if none is open and one was since the gateway started.
    pub(super) closed: Option<Instant>,
}

/// Whether the node counts as heard at `now`, and if so, until when it does if nothing else happens.
pub(super) fn contact(signs: Signs, patience: Patience, now: Instant) -> (Contact, Option<Instant>) {
    let by_silence = signs.heard + patience.open;
    let by_closing = signs.closed.map(|closed| closed + patience.closed);
    let silent_at = by_closing.map_or(by_silence, |at| at.min(by_silence));
    if silent_at <= now { (Contact::Silent, None) } else { (Contact::Connected, Some(silent_at)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeline_of_silence() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let patience = Patience { open: Duration::from_secs(20), closed: Duration::from_secs(10) };
        let table = [
            ("just heard", 100, None, 100, Contact::Connected, Some(120)),
            ("a beat late", 100, None, 119, Contact::Connected, Some(120)),
            ("four beats late", 100, None, 120, Contact::Silent, None),
            ("closed at once after a beat", 100, Some(101), 110, Contact::Connected, Some(111)),
            ("closed for ten seconds", 100, Some(101), 111, Contact::Silent, None),
            ("closed late: the silence ends first", 100, Some(115), 119, Contact::Connected, Some(120)),
            ("closed late, silent", 100, Some(115), 120, Contact::Silent, None),
        ];
        for (case, heard, closed, now, expected, until) in table {
            let signs = Signs { heard: at(heard), closed: closed.map(at) };
            assert_eq!(contact(signs, patience, at(now)), (expected, until.map(at)), "{case}");
        }
    }
}
