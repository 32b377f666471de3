//! From bytes to a text that may be parsed.

use crate::{
    issue::Place,
    yaml::{Error, Limits, Problem},
};

const START: Place = Place { line: 1, column: 1 };

/// Byte order marks of what is not UTF-8, longest first.
const FOREIGN: [(&[u8], &str); 4] = [
    (&[0xFF, 0xFE, 0, 0], "UTF-32"),
    (&[0, 0, 0xFE, 0xFF], "UTF-32"),
    (&[0xFF, 0xFE], "UTF-16"),
    (&[0xFE, 0xFF], "UTF-16"),
];

/// The text in some bytes, which must be UTF-8.
///
/// # Errors
/// Where it stops being UTF-8, or that it is UTF-16 or UTF-32.
pub fn decode(bytes: &[u8]) -> Result<&str, Error> {
    if let Some((_, name)) = FOREIGN.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return Err(Error::new(START, Problem::Encoding(name)));
    }
    // Without a mark, ASCII in UTF-16 has a zero in every other byte.
    if matches!(bytes, [0, 1..=255, ..] | [1..=255, 0, ..]) {
        return Err(Error::new(START, Problem::Encoding("UTF-16")));
    }
    str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        Error::new(end_of(&valid), Problem::NotUtf8)
    })
}

/// The text without its byte order mark, if it is within bounds and holds no control character.
pub(super) fn checked<'t>(text: &'t str, limits: &Limits) -> Result<&'t str, Error> {
    if text.len() > limits.bytes {
        return Err(Error::new(START, Problem::TooLarge { limit: limits.bytes }));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let control = |byte: &u8| matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127);
    match text.bytes().position(|byte| control(&byte)) {
        Some(at) => Err(Error::new(end_of(&text[..at]), Problem::Character(u32::from(text.as_bytes()[at])))),
        None => Ok(text),
    }
}

/// The place after a text.
pub(super) fn end_of(text: &str) -> Place {
    let last_line = text.rsplit('\n').next().unwrap_or_default();
    Place { line: text.matches('\n').count() + 1, column: last_line.chars().count() + 1 }
}
