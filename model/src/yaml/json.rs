//! A JSON scanner that tells the builder what it meets and where. It does not recurse.

use serde_json::{Number, Value};

use crate::{
    issue::Place,
    yaml::{
        Document, Error, Limits,
        builder::{Builder, Shape},
    },
};

/// Reads a text that has been checked.
pub(super) fn parse(text: &str, limits: &Limits) -> Result<Document, Error> {
    let mut scanner = Scanner { text, at: 0, known: (0, Place { line: 1, column: 1 }) };
    let mut builder = Builder::new(limits);
    let mut open = Vec::new();
    let mut next = Expect::Value;
    loop {
        scanner.skip_space();
        let place = scanner.place();
        let byte = scanner.peek();
        next = match (next, byte) {
            (Expect::End, None) => break,
            (Expect::End, Some(_)) => return Err(Error::syntax(place, "more text after the end of the JSON value")),
            (_, None) => return Err(Error::syntax(place, "the JSON text ends too early")),
            (Expect::KeyOrClose, Some(b'}')) | (Expect::ValueOrClose, Some(b']')) => {
                scanner.close(&mut builder, &mut open)?
            }
            (Expect::KeyOrClose | Expect::Key, Some(b'"')) => {
                builder.key(scanner.string(place)?, place)?;
                Expect::Colon
            }
            (Expect::KeyOrClose | Expect::Key, _) => return Err(scanner.unexpected(place, "a key in double quotes")),
            (Expect::Colon, Some(b':')) => scanner.step(Expect::Value),
            (Expect::Colon, _) => return Err(scanner.unexpected(place, "`:`")),
            (Expect::CommaOrClose, Some(b',')) => {
                scanner.step(if open.last() == Some(&Shape::Map) { Expect::Key } else { Expect::Value })
            }
            (Expect::CommaOrClose, Some(b'}')) if open.last() == Some(&Shape::Map) => {
                scanner.close(&mut builder, &mut open)?
            }
            (Expect::CommaOrClose, Some(b']')) if open.last() == Some(&Shape::List) => {
                scanner.close(&mut builder, &mut open)?
            }
            (Expect::CommaOrClose, _) => return Err(scanner.unexpected(place, "`,` or the end of the mapping or list")),
            (Expect::Value | Expect::ValueOrClose, Some(byte)) => {
                scanner.value(byte, place, &mut builder, &mut open)?
            }
        };
    }
    builder.finish().ok_or_else(|| Error::syntax(scanner.place(), "the JSON text is empty"))
}

#[derive(Clone, Copy)]
enum Expect {
    Value,
    ValueOrClose,
    Key,
    KeyOrClose,
    Colon,
    CommaOrClose,
    End,
}

struct Scanner<'t> {
    text: &'t str,
    /// The byte that comes next.
    at: usize,
    /// The last byte whose place was asked, with that place: places are counted on from there.
    known: (usize, Place),
}

impl<'t> Scanner<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn place(&mut self) -> Place {
        let (from, mut place) = self.known;
        for c in self.text[from..self.at].chars() {
            match c {
                '\n' => place = Place { line: place.line + 1, column: 1 },
                _ => place.column += 1,
            }
        }
        self.known = (self.at, place);
        place
    }

    fn step(&mut self, next: Expect) -> Expect {
        self.at += 1;
        next
    }

    fn close(&mut self, builder: &mut Builder<'_>, open: &mut Vec<Shape>) -> Result<Expect, Error> {
        self.at += 1;
        open.pop();
        builder.close()?;
        Ok(after_value(open))
    }

    fn value(
        &mut self,
        byte: u8,
        place: Place,
        builder: &mut Builder<'_>,
        open: &mut Vec<Shape>,
    ) -> Result<Expect, Error> {
        match byte {
            b'{' | b'[' => {
                let shape = if byte == b'{' { Shape::Map } else { Shape::List };
                builder.open(shape, place, None)?;
                open.push(shape);
                self.at += 1;
                return Ok(if shape == Shape::Map { Expect::KeyOrClose } else { Expect::ValueOrClose });
            }
            b'"' => {
                let text = self.string(place)?;
                builder.scalar(Value::String(text), None, place, None)?;
            }
            _ => {
                let word = self.word();
                let value = match word {
                    "true" => Value::Bool(true),
                    "false" => Value::Bool(false),
                    "null" => Value::Null,
                    _ => Value::Number(number(word).ok_or_else(|| self.unexpected(place, "a JSON value"))?),
                };
                self.at += word.len();
                builder.scalar(value, Some(word), place, None)?;
            }
        }
        Ok(after_value(open))
    }

    /// A string, from its opening quote on.
    fn string(&mut self, place: Place) -> Result<String, Error> {
        let bytes = self.text.as_bytes();
        let mut end = self.at + 1;
        let mut plain = true;
        loop {
            match bytes.get(end) {
                None => return Err(Error::syntax(place, "the string is not closed")),
                Some(b'"') => break,
                Some(b'\\') => {
                    plain = false;
                    end += 2;
                }
                Some(b'\n' | b'\r') => return Err(Error::syntax(place, "the string is not closed on its line")),
                Some(_) => end += 1,
            }
        }
        let quoted = &self.text[self.at..=end];
        self.at = end + 1;
        if plain && !quoted.contains('\t') {
            return Ok(quoted[1..quoted.len() - 1].to_owned());
        }
        serde_json::from_str(quoted)
            .map_err(|_| Error::syntax(place, "the string holds an escape or a character that JSON does not allow"))
    }

    /// What stands before the next space or sign of JSON.
    fn word(&self) -> &'t str {
        let rest = &self.text[self.at..];
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, ',' | ':' | '{' | '}' | '[' | ']' | '"'))
            .unwrap_or(rest.len());
        &rest[..end]
    }

    fn unexpected(&self, place: Place, wanted: &str) -> Error {
        let found: String = match self.word() {
            "" => self.text[self.at..].chars().take(1).collect(),
            word => word.chars().take(40).collect(),
        };
        Error::syntax(place, format!("expected {wanted}, found `{found}`"))
    }
}

fn after_value(open: &[Shape]) -> Expect {
    if open.is_empty() { Expect::End } else { Expect::CommaOrClose }
}

/// A number that JSON can write and a double can hold.
fn number(word: &str) -> Option<Number> {
    serde_json::from_str(word).ok()
}
