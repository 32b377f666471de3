use axum::{body::Body, http::Request};

use super::*;

const OWN: u32 = 1000;
const OTHER: u32 = 1001;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn policy() -> Policy {
    let mut policy = (*Guard::new(Token::new(SECRET)).host_name("Orion.Example.").0).clone();
    policy.own_uid = Some(OWN);
    policy
}

fn tcp(owner: Option<u32>) -> Option<Peer> {
    let address = |text: &str| text.parse().expect("an address");
    Some(Peer::Tcp { remote: address("127.0.0.1:40000"), local: address("127.0.0.1:6060"), owner })
}

/// What becomes of a request with these headers: who it is taken for, or the code it is refused with.
fn admit(policy: &Policy, peer: Option<Peer>, line: &str, headers: &[(&str, &str)]) -> Result<Caller, u16> {
    let (method, uri) = line.split_once(' ').expect("a method and a path");
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, _) = request.body(Body::empty()).expect("a request").into_parts();
    policy.admit(peer, &parts).map_err(|failure| failure.status().code)
}

const HOST: (&str, &str) = ("host", "localhost:6060");

#[test]
fn only_the_servers_own_user_is_let_in_without_a_token() {
    let own = Ok(Caller::Peer(OWN));
    let table = [
        ("own user", tcp(Some(OWN)), own),
        ("another user", tcp(Some(OTHER)), Err(401)),
        ("root", tcp(Some(0)), Err(401)),
        ("nobody can tell", tcp(None), Err(401)),
        ("not even a connection", None, Err(403)),
        ("own user on the socket", Some(Peer::Unix { uid: OWN }), Ok(Caller::Socket(OWN))),
        ("another user on the socket", Some(Peer::Unix { uid: OTHER }), Err(401)),
    ];
    for (what, peer, expected) in table {
        let host = ("host", "127.0.0.1:6060");
        // Without a connection no address has been reached, and no name but those of loopback is known.
        let host = if peer.is_none() { ("host", "10.0.0.1") } else { host };
        assert_eq!(admit(&policy(), peer, "GET /apis", &[host]), expected, "{what}");
    }
}

#[test]
fn a_server_that_may_not_know_its_own_user_asks_for_the_token() {
    let overflow = Policy { own_uid: None, ..policy() };
    assert_eq!(admit(&overflow, tcp(Some(65_534)), "GET /apis", &[HOST]), Err(401));
    let strict = Policy { require_token: true, ..policy() };
    assert_eq!(admit(&strict, tcp(Some(OWN)), "GET /apis", &[HOST]), Err(401));
    assert_eq!(admit(&strict, Some(Peer::Unix { uid: OWN }), "GET /apis", &[]), Ok(Caller::Socket(OWN)));
}

#[test]
fn the_token_lets_in_and_a_wrong_one_keeps_even_the_own_user_out() {
    let bearer = format!("Bearer {SECRET}");
    let table = [
        (bearer.as_str(), Ok(Caller::Token)),
        (&*bearer.replace("Bearer", "bearer"), Ok(Caller::Token)),
        ("Bearer 0123456789abcdef0123456789abcdeX", Err(401)),
        ("Bearer ", Err(401)),
        ("Basic Og==", Err(401)),
        (SECRET, Err(401)),
    ];
    for (value, expected) in table {
        for owner in [Some(OWN), Some(OTHER)] {
            let answer = admit(&policy(), tcp(owner), "GET /apis", &[HOST, ("authorization", value)]);
            assert_eq!(answer, expected, "{value} of {owner:?}");
        }
    }
}

#[test]
fn a_forwarded_request_needs_the_token() {
    let bearer = format!("Bearer {SECRET}");
    for name in ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "X-Forwarded-Anything"] {
        assert_eq!(admit(&policy(), tcp(Some(OWN)), "GET /apis", &[HOST, (name, "x")]), Err(401), "{name}");
        let with_token = [HOST, (name, "x"), ("authorization", &bearer)];
        assert_eq!(admit(&policy(), tcp(Some(OWN)), "GET /apis", &with_token), Ok(Caller::Token), "{name}");
    }
}

#[test]
fn only_the_servers_own_names_are_answered() {
    let table = [
        ("localhost", true),
        ("LOCALHOST:6060", true),
        ("127.0.0.1:6060", true),
        ("[::1]:6060", true),
        ("localhost:1234", true),
        ("orion.example:6060", true),
        ("evil.example:6060", false),
        ("localhost.evil.example", false),
        ("127.0.0.2:6060", false),
        ("", false),
        ("a b", false),
    ];
    for (host, allowed) in table {
        let answer = admit(&policy(), tcp(Some(OWN)), "GET /apis", &[("host", host)]);
        assert_eq!(answer.is_ok(), allowed, "{host:?}: {answer:?}");
    }
    assert_eq!(admit(&policy(), tcp(Some(OWN)), "GET /apis", &[]), Err(400));
    assert_eq!(admit(&policy(), tcp(Some(OWN)), "GET http://evil.example/apis", &[HOST]), Err(403));
}

#[test]
fn the_address_that_was_reached_is_an_own_name() {
    let address = |text: &str| text.parse().expect("an address");
    let peer = Peer::Tcp { remote: address("10.0.0.2:40000"), local: address("10.0.0.1:6060"), owner: None };
    let bearer = format!("Bearer {SECRET}");
    let ask = |host| admit(&policy(), Some(peer), "GET /apis", &[("host", host), ("authorization", &bearer)]);
    assert_eq!(ask("10.0.0.1:6060"), Ok(Caller::Token));
    assert_eq!(ask("10.0.0.3:6060"), Err(403));
}

#[test]
fn pages_of_other_origins_and_impersonation_are_refused_for_every_method() {
    for line in ["GET /apis", "GET /ws", "POST /api/apply"] {
        for origin in ["http://evil.example", "http://localhost:3000", "null"] {
            let headers = [HOST, ("origin", origin), ("content-type", "application/json")];
            assert_eq!(admit(&policy(), tcp(Some(OWN)), line, &headers), Err(403), "{line} from {origin}");
        }
        let own = [HOST, ("origin", "http://localhost:6060"), ("content-type", "application/json")];
        assert_eq!(admit(&policy(), tcp(Some(OWN)), line, &own), Ok(Caller::Peer(OWN)), "{line}");
        let as_another = [HOST, ("impersonate-user", "root"), ("content-type", "application/json")];
        assert_eq!(admit(&policy(), tcp(Some(OWN)), line, &as_another), Err(403), "{line}");
    }
}

#[test]
fn what_changes_state_needs_a_content_type_that_a_form_cannot_send() {
    let table: [(&[(&str, &str)], bool); 13] = [
        (&[("content-type", "application/json")], true),
        (&[("content-type", "Application/JSON; charset=utf-8")], true),
        (&[("content-type", "application/yaml")], true),
        (&[("content-type", "application/x-yaml")], true),
        (&[("content-type", "text/yaml")], true),
        (&[("content-type", "application/merge-patch+json")], true),
        (&[("content-type", "application/apply-patch+yaml")], true),
        (&[("content-type", "text/plain")], false),
        (&[("content-type", "application/x-www-form-urlencoded")], false),
        (&[("content-type", "multipart/form-data; boundary=x")], false),
        (&[], true),
        (&[("sec-fetch-site", "same-origin")], false),
        (&[("origin", "http://localhost:6060")], false),
    ];
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        for (headers, allowed) in table {
            let headers: Vec<_> = headers.iter().copied().chain([HOST]).collect();
            let answer = admit(&policy(), tcp(Some(OWN)), &format!("{method} /apis"), &headers);
            let expected = if allowed { Ok(Caller::Peer(OWN)) } else { Err(415) };
            assert_eq!(answer, expected, "{method} {headers:?}");
        }
    }
    assert!(admit(&policy(), tcp(Some(OWN)), "GET /apis", &[HOST, ("content-type", "text/plain")]).is_ok());
}

#[test]
fn health_is_open_to_all_and_nothing_else_is() {
    for path in ["/health", "/healthz"] {
        let headers = [("host", "10.1.2.3:6060"), ("origin", "http://evil.example")];
        assert_eq!(admit(&policy(), tcp(Some(OTHER)), &format!("GET {path}"), &headers), Ok(Caller::Anonymous));
        assert_eq!(admit(&policy(), tcp(Some(OTHER)), &format!("POST {path}"), &[HOST]), Err(401));
    }
    for path in ["/readyz", "/healthz/x", "/health/", "/version"] {
        assert_eq!(admit(&policy(), tcp(Some(OTHER)), &format!("GET {path}"), &[HOST]), Err(401), "{path}");
    }
}
