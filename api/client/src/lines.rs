//! The lines of a body that goes on, within bounds.

use bytes::{Bytes, BytesMut};
use reqwest::Response;

/// Splits a body into lines as it comes.
pub(crate) struct Lines {
    response: Response,
    buffer: BytesMut,
    /// Up to where the buffer is known to hold no line end.
    searched: usize,
    max: usize,
    over: bool,
}

impl Lines {
    /// Lines of at most `max` bytes; a longer one comes in pieces of that size.
    pub(crate) fn new(response: Response, max: usize) -> Self {
        Self { response, buffer: BytesMut::new(), searched: 0, max, over: false }
    }

    /// The next line without its end; `None` at the end of the body.
    ///
    /// # Cancel safety
    /// Cancel safe: what has come in stays in the buffer.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, reqwest::Error> {
        loop {
            if let Some(line) = self.buffered() {
                return Ok(Some(line));
            }
            if self.over {
                return Ok(None);
            }
            match self.response.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => self.over = true,
            }
        }
    }

    fn buffered(&mut self) -> Option<Bytes> {
        let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        if let Some(end) = end.map(|end| end + self.searched).filter(|end| *end <= self.max) {
            self.searched = 0;
            let line = self.buffer.split_to(end + 1).freeze();
            return Some(line.slice(..end));
        }
        if self.buffer.len() > self.max {
            self.searched = 0;
            return Some(self.buffer.split_to(self.max).freeze());
        }
        self.searched = self.buffer.len();
        (self.over && !self.buffer.is_empty()).then(|| {
            self.searched = 0;
            self.buffer.split().freeze()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(body: &'static str, max: usize) -> Vec<String> {
        let response = Response::from(http_response(body));
        let mut lines = Lines::new(response, max);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.expect("reads") {
            all.push(String::from_utf8(line.to_vec()).expect("is text"));
        }
        all
    }

    fn http_response(body: &'static str) -> axum::http::Response<&'static str> {
        axum::http::Response::new(body)
    }

    #[tokio::test]
    async fn a_body_comes_in_lines_the_last_with_or_without_an_end() {
        assert_eq!(lines("a\n\nbc\n", 10).await, ["a", "", "bc"]);
        assert_eq!(lines("a\nbc", 10).await, ["a", "bc"]);
        assert!(lines("", 10).await.is_empty());
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_comes_in_pieces() {
        assert_eq!(lines("abcde\nf\n", 2).await, ["ab", "cd", "e", "f"]);
        assert_eq!(lines("abcd\n", 4).await, ["abcd"]);
    }
}
