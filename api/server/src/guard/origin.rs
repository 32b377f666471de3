//! Which host a request names, and whether its origin is that same host.

use axum::http::{HeaderMap, header};

/// A host as it is compared, with its port where one was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// Lower case, without brackets or a final dot.
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl Authority {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(inner) => inner.split_once(']')?,
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(port.parse().ok()?),
            None if rest.is_empty() => None,
            None => return None,
        };
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let plain = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:%".contains(c));
        plain.then_some(Self { host, port })
    }

    fn port_or(&self, default: u16) -> u16 {
        self.port.unwrap_or(default)
    }
}

/// Whether a request has no origin or comes from a page of this server itself: the same host and port as it names.
pub(super) fn own_origin(headers: &HeaderMap, host: Option<&Authority>) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    origins.all(|value| {
        let Some((origin, port)) = value.to_str().ok().and_then(parse_origin) else { return false };
        host.is_some_and(|host| host.host == origin.host && host.port_or(port) == origin.port_or(port))
    })
}

/// An origin and the default port of its scheme.
fn parse_origin(text: &str) -> Option<(Authority, u16)> {
    let (scheme, rest) = text.split_once("://")?;
    let port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    Some((Authority::parse(rest)?, port))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn authorities_are_read_with_and_without_ports() {
        let table = [
            ("localhost", Some(("localhost", None))),
            ("LocalHost.:80", Some(("localhost", Some(80)))),
            ("127.0.0.1:6060", Some(("127.0.0.1", Some(6060)))),
            ("[::1]:6060", Some(("::1", Some(6060)))),
            ("[::1]", Some(("::1", None))),
            ("[::1", None),
            ("[::1]x", None),
            ("a:b", None),
            ("a:99999", None),
            ("", None),
            ("user@localhost", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|(host, port)| Authority { host: host.to_owned(), port });
            assert_eq!(Authority::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn only_the_host_that_was_asked_is_an_own_origin() {
        let table = [
            ("localhost:6060", "http://localhost:6060", true),
            ("localhost", "http://localhost", true),
            ("localhost:80", "http://localhost", true),
            ("localhost:6060", "http://localhost:3000", false),
            ("localhost:6060", "http://localhost", false),
            ("localhost:6060", "http://evil.example", false),
            ("localhost:6060", "http://localhost:6060.evil.example", false),
            ("localhost:6060", "null", false),
            ("localhost:6060", "file://", false),
        ];
        for (host, origin, own) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            assert_eq!(own_origin(&headers, Authority::parse(host).as_ref()), own, "{origin} to {host}");
        }
        assert!(own_origin(&HeaderMap::new(), None));
    }
}
