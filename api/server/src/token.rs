//! The admin token: made at the first start, kept in a file that only the server's user can read.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// The name of the token's file in the data directory.
const FILE: &str = "admin.token";
/// Bytes of randomness.
const RANDOM_BYTES: usize = 32;

/// A secret that lets its holder do everything.
#[derive(Clone)]
pub struct Token(String);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the admin token {0}")]
    Read(PathBuf, #[source] io::Error),
    /// The file cannot be made.
    #[error("cannot make the admin token {0}")]
    Make(PathBuf, #[source] io::Error),
    /// Others could have read it.
    #[error("the admin token {path} is open to others (mode {mode:o}): delete it, and a new one is made")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file holds nothing that could be a token.
    #[error("the admin token {0} is too short: delete it, and a new one is made")]
    Short(PathBuf),
}

impl Token {
    /// The shortest text that is taken for a token.
    const MIN_LENGTH: usize = 16;

    /// A token by its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Where the token of a data directory stands.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join(FILE)
    }

    /// The token of a data directory, made now where there is none.
    ///
    /// # Errors
    /// When it cannot be read or made, or others can read it.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, TokenError> {
        match Self::load(data_dir) {
            Err(TokenError::Read(_, error)) if error.kind() == io::ErrorKind::NotFound => Self::create(data_dir),
            loaded => loaded,
        }
    }

    /// The token of a data directory.
    ///
    /// # Errors
    /// When there is none, it cannot be read, or others can read it.
    pub fn load(data_dir: &Path) -> Result<Self, TokenError> {
        let path = Self::path(data_dir);
        let read = || {
            let mode = fs::metadata(&path)?.permissions().mode();
            Ok((mode & 0o777, fs::read_to_string(&path)?))
        };
        let (mode, text) = read().map_err(|error| TokenError::Read(path.clone(), error))?;
        if mode & 0o077 != 0 {
            return Err(TokenError::Exposed { path, mode });
        }
        match text.trim() {
            token if token.len() >= Self::MIN_LENGTH => Ok(Self::new(token)),
            _ => Err(TokenError::Short(path)),
        }
    }

    fn create(data_dir: &Path) -> Result<Self, TokenError> {
        let path = Self::path(data_dir);
        let make = || {
            let mut random = [0; RANDOM_BYTES];
            rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
            let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
            // Under another name first, so that nobody ever reads half a token.
            let fresh = path.with_extension("token.new");
            let _ = fs::remove_file(&fresh); // what an earlier start left behind, if anything
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            writeln!(file, "{text}")?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            Ok(Self(text))
        };
        make().map_err(|error| TokenError::Make(path.clone(), error))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a text is this token; the time it takes does not say how much of it is right.
    pub(crate) fn is(&self, text: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), text.as_bytes());
        own.len() == other.len() && own.iter().zip(other).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let made = Token::load_or_create(dir.path()).expect("is made");
        let mode = fs::metadata(Token::path(dir.path())).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(made.as_str().len(), 2 * RANDOM_BYTES);
        let again = Token::load_or_create(dir.path()).expect("is read");
        assert!(again.is(made.as_str()));
        assert!(!again.is(&"0".repeat(2 * RANDOM_BYTES)) && !again.is("") && !again.is(&made.as_str()[1..]));
    }

    #[test]
    fn a_token_that_others_could_read_or_that_is_empty_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let made = Token::load_or_create(dir.path()).expect("is made");
        let path = Token::path(dir.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("is opened up");
        let error = Token::load_or_create(dir.path()).expect_err("is refused");
        assert!(matches!(error, TokenError::Exposed { mode: 0o640, .. }), "{error}");
        assert!(!format!("{error} {made:?}").contains(made.as_str()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("is closed");
        fs::write(&path, "\n").expect("is emptied");
        assert!(matches!(Token::load_or_create(dir.path()), Err(TokenError::Short(_))));
    }
}
