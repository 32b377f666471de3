//! Lets requests in: by Host, Origin, peer or token, and content type.
//!
//! Until there are roles, whoever is let in may do everything. On loopback without a token that is a process of the
//! server's own user, by the kernel's record; everybody else needs the admin token. The other rules are against the
//! browser of that same user, which any web page can make send requests: pages can name neither a foreign Host
//! (rebinding), nor their own Origin, nor a content type that a form cannot send.

mod content_type;
mod origin;
pub(crate) mod sock_diag;

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};

pub(crate) use self::content_type::essence;
use crate::{
    Audit, Caller, Failure, Peer, Token, Verdict,
    guard::origin::{Authority, own_origin},
};

/// Decides which requests are let in.
///
/// Its rules, in order: `GET /health` and `GET /healthz` are open to all; the Host must be allowed; an Origin must be
/// the server's own; nobody may act as another (`Impersonate-*`); the caller must be known; a request that changes
/// state must have a content type that a form cannot send.
#[derive(Clone)]
pub struct Guard(Arc<Policy>);

#[derive(Clone)]
struct Policy {
    token: Token,
    hosts: BTreeSet<String>,
    require_token: bool,
    own_uid: Option<u32>,
}

impl Guard {
    /// A guard that knows this token, the names of loopback, and the addresses that connections reach.
    pub fn new(token: Token) -> Self {
        let hosts = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        Self(Arc::new(Policy { token, hosts, require_token: false, own_uid: own_uid() }))
    }

    /// This guard with another name that the server goes by.
    #[must_use]
    pub fn host_name(self, name: &str) -> Self {
        self.with(|policy| policy.hosts.insert(name.trim_end_matches('.').to_ascii_lowercase()))
    }

    /// This guard, asking even the server's own user for the token (on the Unix socket nobody is asked).
    #[must_use]
    pub fn require_token(self) -> Self {
        self.with(|policy| std::mem::replace(&mut policy.require_token, true))
    }

    /// A router behind this guard. Its handlers find a [`Caller`] in the request's extensions.
    pub fn protect(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), check))
    }

    fn with<T>(mut self, change: impl FnOnce(&mut Policy) -> T) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

async fn check(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().copied();
    match guard.0.admit(peer, &parts) {
        Ok(caller) => {
            request = Request::from_parts(parts, body);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(failure) => {
            audit_refusal(peer, &parts, &failure);
            failure.into_response()
        }
    }
}

fn audit_refusal(peer: Option<Peer>, parts: &Parts, failure: &Failure) {
    let caller = match peer {
        Some(Peer::Tcp { owner: Some(uid), .. }) => Caller::Peer(uid),
        Some(Peer::Unix { uid }) => Caller::Socket(uid),
        _ => Caller::Anonymous,
    };
    if changes_state(&parts.method) || parts.headers.contains_key(header::UPGRADE) {
        let what = parts.uri.path().to_owned();
        Audit { caller: &caller, verb: parts.method.as_str(), what }.record(Verdict::Denied(failure.status().code));
    }
}

impl Policy {
    fn admit(&self, peer: Option<Peer>, parts: &Parts) -> Result<Caller, Failure> {
        if parts.method == Method::GET && matches!(parts.uri.path(), "/health" | "/healthz") {
            return Ok(Caller::Anonymous);
        }
        let host = self.allowed_host(peer, parts)?;
        if !own_origin(&parts.headers, host.as_ref()) {
            return Err(forbidden("requests from other origins are refused"));
        }
        if parts.headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
            return Err(forbidden("impersonation is not supported"));
        }
        let caller = self.caller(peer, &parts.headers)?;
        if changes_state(&parts.method) {
            content_type::check(&parts.headers)?;
        }
        Ok(caller)
    }

    /// The authority a request names, where it may name it. A browser cannot reach the Unix socket, so any name will do.
    fn allowed_host(&self, peer: Option<Peer>, parts: &Parts) -> Result<Option<Authority>, Failure> {
        let refused = |host: &str| {
            forbidden(format!("the host {host:?} is not one of this server's names; allow it with --host-name"))
        };
        let named = match parts.headers.get(header::HOST) {
            Some(value) => Some(value.to_str().map_err(|_| refused("?"))?),
            None => None,
        };
        let mut allowed = None;
        for text in parts.uri.authority().map(|authority| authority.as_str()).into_iter().chain(named) {
            let authority = Authority::parse(text).ok_or_else(|| refused(text))?;
            if !self.is_own_name(peer, &authority.host) {
                return Err(refused(text));
            }
            allowed = Some(authority);
        }
        match (allowed, peer) {
            (None, Some(Peer::Unix { .. })) => Ok(None),
            (None, _) => Err(Failure::bad_request("the request names no host")),
            (Some(authority), _) => Ok(Some(authority)),
        }
    }

    fn is_own_name(&self, peer: Option<Peer>, host: &str) -> bool {
        let reached = match peer {
            Some(Peer::Unix { .. }) => return true,
            Some(Peer::Tcp { local, .. }) => host.parse() == Ok(local.ip().to_canonical()),
            None => false,
        };
        reached || self.hosts.contains(host)
    }

    fn caller(&self, peer: Option<Peer>, headers: &HeaderMap) -> Result<Caller, Failure> {
        if let Some(presented) = headers.get(header::AUTHORIZATION) {
            return self.bearer(presented);
        }
        match peer {
            Some(Peer::Unix { uid }) if Some(uid) == self.own_uid => return Ok(Caller::Socket(uid)),
            Some(Peer::Tcp { owner: Some(uid), .. })
                if Some(uid) == self.own_uid && !self.require_token && !was_forwarded(headers) =>
            {
                return Ok(Caller::Peer(uid));
            }
            _ => {}
        }
        Err(unauthorized(
            "this request needs the admin token: `Authorization: Bearer …`, from admin.token in the server's data directory",
        ))
    }

    fn bearer(&self, presented: &HeaderValue) -> Result<Caller, Failure> {
        let text = presented.to_str().unwrap_or_default();
        let token = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        match token {
            Some((_, token)) if self.token.is(token.trim()) => Ok(Caller::Token),
            Some(_) => Err(unauthorized("the token is not this server's")),
            None => Err(unauthorized("only bearer tokens are understood")),
        }
    }
}

fn changes_state(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Whether a proxy passed the request on: then the peer is the proxy, whoever asked.
fn was_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| matches!(name.as_str(), "forwarded" | "via") || name.as_str().starts_with("x-forwarded-"))
}

/// The uid whose processes are the server's own; none where it is the one that stands for uids nobody can tell.
fn own_uid() -> Option<u32> {
    const DEFAULT_OVERFLOW_UID: u32 = 65_534;
    let overflow = std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
    let overflow = overflow.and_then(|text| text.trim().parse().ok()).unwrap_or(DEFAULT_OVERFLOW_UID);
    let own = rustix::process::geteuid().as_raw();
    (own != overflow).then_some(own)
}

fn forbidden(message: impl Into<String>) -> Failure {
    Failure::new(403, "Forbidden", message)
}

fn unauthorized(message: &str) -> Failure {
    let challenge = HeaderValue::from_static("Bearer");
    Failure::new(401, "Unauthorized", message).with_header(header::WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests;
