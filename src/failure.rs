//! How a command ends when it does not end well: a sentence for stderr and an exit status (SPEC, section 10).

use std::{fmt, process::ExitCode};

use orion_model::{ClientError, ObjectKey};

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    /// What was asked for was refused or has failed: status 1.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self { status: 1, message: message.into() }
    }

    /// The command was used wrongly, or the server cannot be reached: status 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: 2, message: message.into() }
    }

    /// Whoever read what is said is gone: status 0 and not another word.
    pub(crate) fn reader_gone() -> Self {
        Self { status: 0, message: String::new() }
    }

    /// Status 1 for an error that has causes, with all of them.
    pub(crate) fn of(error: &dyn std::error::Error) -> Self {
        Self::refused(chain(error))
    }

    /// Whether something is left to say.
    pub(crate) fn is_silent(&self) -> bool {
        self.message.is_empty()
    }

    /// The exit status.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unavailable(_) => Self::usage(error.to_string()),
            ClientError::NotFound(key) => Self::refused(nobody(&key)),
            error => Self::refused(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::refused(error.to_string())
    }
}

/// That there is no such object, as a person would say it.
fn nobody(key: &ObjectKey) -> String {
    let place = if key.namespace.is_empty() { String::new() } else { format!(" in namespace {}", key.namespace) };
    format!("there is no {} {:?}{place}", key.kind.name().to_lowercase(), &*key.name)
}

/// An error with those of its causes that it does not repeat itself.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Wrapped(&'static str, std::io::Error);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Wrapped {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn a_cause_is_told_once() {
        let cause = || std::io::Error::other("disk full");
        assert_eq!(chain(&Wrapped("cannot write", cause())), "cannot write: disk full");
        assert_eq!(chain(&Wrapped("cannot write: disk full", cause())), "cannot write: disk full");
    }

    #[test]
    fn a_server_that_cannot_be_reached_is_status_2_and_a_refusal_1() {
        assert_eq!(Failure::from(ClientError::Unavailable("gone".into())).status, 2);
        assert_eq!(Failure::from(ClientError::Forbidden("no".into())).status, 1);
    }
}
