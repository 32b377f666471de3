//! How a command ends when it does not end well: a sentence for stderr and an exit status (SPEC, section 10).

use std::{fmt, process::ExitCode};

use orion_model::ClientError;

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

    /// Status 1 without another word: everything has been said.
    pub(crate) fn silent() -> Self {
        Self::refused("")
    }

    /// The exit status.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status)
    }

    /// Whether something is left to say.
    pub(crate) fn is_silent(&self) -> bool {
        self.message.is_empty()
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
            error => Self::refused(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::refused(error.to_string())
    }
}
