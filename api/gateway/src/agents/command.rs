//! Commands to an agent of protocol 1, and when one is due: pure.
//!
//! A command's id is made of what it says, so that a copy of it has the same id and an acknowledgement needs no table
//! to be understood.

use std::{fmt, str::FromStr};

use orion_model::{ResourceVersion, Uid};

use super::wish::Wish;

/// What an agent is told to do about a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Launch,
    Update,
    Stop,
}

/// What is known of a replica's agent side in this session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// What the agent says it has.
    pub(super) held: Option<Held>,
    /// The last command sent.
    pub(super) sent: Option<Sent>,
}

/// What an agent has of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The definition it acts on.
    pub(super) version: ResourceVersion,
    /// Whether only a record is left.
    pub(super) over: bool,
}

/// A command that was sent in this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) verb: Verb,
    pub(super) version: ResourceVersion,
    pub(super) acked: bool,
}

impl Known {
    /// Whether something of the replica may run.
    pub(super) fn may_run(self) -> bool {
        match (self.held, self.sent) {
            (Some(held), _) => !held.over,
            (None, Some(sent)) => sent.verb != Verb::Stop,
            (None, None) => false,
        }
    }

    fn newest(self) -> ResourceVersion {
        let held = self.held.map_or(ResourceVersion::ZERO, |held| held.version);
        let sent = self.sent.map_or(ResourceVersion::ZERO, |sent| sent.version);
        held.max(sent)
    }
}

/// The command that is due, if one is, with its version.
pub(super) fn due(wish: Wish, known: Known) -> Option<(Verb, ResourceVersion)> {
    let stop_sent = known.sent.is_some_and(|sent| sent.verb == Verb::Stop);
    match wish {
        Wish::Wait => None,
        Wish::Run(version) => {
            let told = known.sent.is_some_and(|sent| sent.version >= version);
            match known.held {
                _ if told => None,
                Some(held) if held.over || held.version >= version => None,
                Some(_) => Some((Verb::Update, version)),
                None if known.sent.is_some() => Some((Verb::Update, version)),
                None => Some((Verb::Launch, version)),
            }
        }
        Wish::Stop(version) => {
            let over = known.held.is_some_and(|held| held.over);
            (!stop_sent && !over).then_some((Verb::Stop, version))
        }
        Wish::Over(version) => (!stop_sent && known.may_run()).then(|| (Verb::Stop, version.max(known.newest()))),
    }
}

/// Names a command by what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandId {
    pub(super) verb: Verb,
    pub(super) uid: Uid,
    pub(super) version: ResourceVersion,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Update => "update",
            Self::Stop => "stop",
        }
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.verb.as_str(), self.uid, self.version)
    }
}

impl FromStr for CommandId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (verb, rest) = text.split_once('/').ok_or(())?;
        let (uid, version) = rest.rsplit_once('/').ok_or(())?;
        let verb =
            [Verb::Launch, Verb::Update, Verb::Stop].into_iter().find(|known| known.as_str() == verb).ok_or(())?;
        Ok(Self { verb, uid: Uid::new(uid), version: version.parse().map_err(drop)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn v(version: u64) -> ResourceVersion {
        ResourceVersion::new(version)
    }

    fn held(version: u64, over: bool) -> Option<Held> {
        Some(Held { version: v(version), over })
    }

    fn sent(verb: Verb, version: u64) -> Option<Sent> {
        Some(Sent { verb, version: v(version), acked: true })
    }

    #[test]
    fn a_command_is_due_where_wish_and_agent_differ() {
        use Verb::{Launch, Stop, Update};
        let known = |held, sent| Known { held, sent };
        let table = [
            ("new", Wish::Run(v(5)), known(None, None), Some((Launch, v(5)))),
            ("told once is enough", Wish::Run(v(5)), known(None, sent(Launch, 5)), None),
            ("told, then changed", Wish::Run(v(6)), known(None, sent(Launch, 5)), Some((Update, v(6)))),
            ("it runs as wished", Wish::Run(v(5)), known(held(5, false), None), None),
            ("it runs an older definition", Wish::Run(v(6)), known(held(5, false), None), Some((Update, v(6)))),
            ("it runs a newer one", Wish::Run(v(4)), known(held(5, false), None), None),
            ("update sent", Wish::Run(v(6)), known(held(5, false), sent(Update, 6)), None),
            ("what ended for good is not run again", Wish::Run(v(6)), known(held(5, true), None), None),
            ("waits for hooks", Wish::Wait, known(None, None), None),
            ("to be stopped", Wish::Stop(v(7)), known(held(5, false), None), Some((Stop, v(7)))),
            ("to be stopped, unheard of", Wish::Stop(v(7)), known(None, None), Some((Stop, v(7)))),
            ("to be stopped, launched", Wish::Stop(v(7)), known(None, sent(Launch, 5)), Some((Stop, v(7)))),
            ("stop sent", Wish::Stop(v(7)), known(held(5, false), sent(Stop, 7)), None),
            ("stopped already", Wish::Stop(v(7)), known(held(5, true), None), None),
            ("over, nothing there", Wish::Over(v(7)), known(None, None), None),
            ("over, a record there", Wish::Over(v(7)), known(held(5, true), None), None),
            ("over, and it runs", Wish::Over(v(7)), known(held(5, false), None), Some((Stop, v(7)))),
            ("gone, and it runs", Wish::Over(v(0)), known(held(5, false), None), Some((Stop, v(5)))),
            ("gone after a launch", Wish::Over(v(0)), known(None, sent(Launch, 6)), Some((Stop, v(6)))),
            ("gone, stop sent", Wish::Over(v(0)), known(held(5, false), sent(Stop, 7)), None),
        ];
        for (case, wish, known, expected) in table {
            assert_eq!(due(wish, known), expected, "{case}");
        }
    }

    #[test]
    fn a_command_id_reads_back() {
        let id = CommandId { verb: Verb::Update, uid: Uid::new("a-b/c"), version: v(12) };
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "launch", "launch/x", "dance/x/1", "stop/x/y"] {
            assert_eq!(bad.parse::<CommandId>(), Err(()), "{bad}");
        }
    }
}
