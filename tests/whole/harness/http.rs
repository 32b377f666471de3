//! HTTP down to the bytes, so that a test can send what no client would.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use serde_json::Value;

/// Longer than any answer takes.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// A request; `Host`, `Connection` and `Content-Length` are added where they are not given.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self { method: method.into(), path: path.into(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Type", content_type)
    }

    pub(crate) fn send(&self, to: SocketAddr) -> Answer {
        self.try_send(to).unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.path))
    }

    /// Sends it; an error is one of the connection.
    pub(crate) fn try_send(&self, to: SocketAddr) -> Result<Answer, String> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let own = [
            ("Host", to.to_string()),
            ("Connection", "close".to_owned()),
            ("Content-Length", self.body.len().to_string()),
        ];
        let given = |name: &str| self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        let own = own.into_iter().filter(|(name, _)| !given(name)).map(|(name, value)| (name.to_owned(), value));
        for (name, value) in own.chain(self.headers.iter().cloned()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let bytes = [head.as_bytes(), &self.body].concat();
        let answer = read_answer(to, &bytes, is_whole).map_err(|error| error.to_string())?;
        Answer::parse(&answer).ok_or_else(|| format!("no HTTP: {:?}", String::from_utf8_lossy(&answer)))
    }
}

/// Sends bytes and reads until the server closes.
pub(crate) fn exchange(to: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    read_answer(to, bytes, |_| false)
}

/// Whether an answer that says how long it is has come to its end.
fn is_whole(answer: &[u8]) -> bool {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let parsed = end.zip(Answer::parse(answer));
    let length = parsed.as_ref().and_then(|(_, answer)| answer.header("content-length")?.parse::<usize>().ok());
    parsed.zip(length).is_some_and(|((end, _), length)| answer.len() >= end + 4 + length)
}

/// Sends bytes and reads until the answer is whole or ended. A server may answer before it has read everything, and stop
/// reading.
fn read_answer(to: SocketAddr, bytes: &[u8], is_whole: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect_timeout(&to, ANSWERS_WITHIN)?;
    socket.set_read_timeout(Some(ANSWERS_WITHIN))?;
    socket.set_write_timeout(Some(ANSWERS_WITHIN))?;
    let mut writer = socket.try_clone()?;
    let mut answer = Vec::new();
    thread::scope(|scope| {
        // A server that has heard enough stops listening; what it says counts.
        scope.spawn(move || drop(writer.write_all(bytes)));
        let mut piece = [0; 16 * 1024];
        let end = loop {
            match socket.read(&mut piece) {
                Ok(0) => break Ok(()),
                Ok(count) => answer.extend_from_slice(&piece[..count]),
                Err(error) => break Err(error),
            }
            if is_whole(&answer) {
                break Ok(());
            }
        };
        // The rest of what is being sent has nobody to read it.
        drop(socket.shutdown(Shutdown::Both));
        if answer.is_empty() { end } else { Ok(()) }
    })?;
    Ok(answer)
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = &bytes[end + 4..];
        let body = if chunked { dechunked(body) } else { body.to_vec() };
        Some(Self { status, headers, body })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }
}

fn dechunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).ok().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let Some(size @ 1..) = size else { break };
        let chunk = &rest[line + 2..];
        body.extend_from_slice(&chunk[..size.min(chunk.len())]);
        rest = chunk.get(size + 2..).unwrap_or_default();
    }
    body
}
