//! `/healthz` and `/readyz`: named checks, each said by name.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{StreamExt as _, future::BoxFuture, stream};

use crate::failure::PlainText;

/// How long one check may take before it counts as failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// How many checks run at a time.
const CHECKS_AT_ONCE: usize = 8;

type Ask = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

#[derive(Clone)]
struct Check {
    name: &'static str,
    ask: Ask,
}

/// The checks of a server. Whoever is alive answers `/healthz` with 200, whoever may be sent work `/readyz`; 503
/// otherwise. Both list every check; only `/readyz` says why one fails, since `/healthz` is open to all.
#[derive(Clone, Default)]
pub struct Health {
    live: Vec<Check>,
    ready: Vec<Check>,
}

impl Health {
    /// No checks: alive and ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// This with a check that must pass for the process to count as alive; it counts for readiness too.
    #[must_use]
    pub fn live<F>(mut self, name: &'static str, ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let check = Check { name, ask: Arc::new(move || Box::pin(ask())) };
        self.live.push(check.clone());
        self.ready.push(check);
        self
    }

    /// This with a check that must pass for the process to be sent work.
    #[must_use]
    pub fn ready<F>(mut self, name: &'static str, ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.ready.push(Check { name, ask: Arc::new(move || Box::pin(ask())) });
        self
    }

    /// `GET /healthz` and `GET /readyz`.
    pub fn router(self) -> Router {
        let healthz = |State(health): State<Arc<Self>>| async move { report("healthz", &health.live, false).await };
        let readyz = |State(health): State<Arc<Self>>| async move { report("readyz", &health.ready, true).await };
        Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(Arc::new(self))
    }
}

async fn report(path: &str, checks: &[Check], with_reasons: bool) -> Response {
    let answers = stream::iter(checks).map(run).buffered(CHECKS_AT_ONCE).collect::<Vec<_>>().await;
    let failed = answers.iter().any(|(_, answer)| answer.is_err());
    let mut text: String = answers
        .into_iter()
        .map(|(name, answer)| match answer {
            Ok(()) => format!("[+]{name} ok\n"),
            Err(reason) if with_reasons => format!("[-]{name} failed: {reason}\n"),
            Err(_) => format!("[-]{name} failed\n"),
        })
        .collect();
    let (code, verdict) = if failed { (StatusCode::SERVICE_UNAVAILABLE, "failed") } else { (StatusCode::OK, "passed") };
    text.push_str(&format!("{path} check {verdict}\n"));
    let mut response = (code, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response();
    response.extensions_mut().insert(PlainText);
    response
}

async fn run(check: &Check) -> (&'static str, Result<(), String>) {
    let answer = tokio::time::timeout(CHECK_TIMEOUT, (check.ask)()).await;
    (check.name, answer.unwrap_or_else(|_| Err(format!("no answer within {CHECK_TIMEOUT:?}"))))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, extract::Request};
    use tower::ServiceExt as _;

    use super::*;

    async fn get_text(health: &Health, path: &str) -> (u16, String) {
        let router = crate::with_status_errors(health.clone().router());
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = router.oneshot(request).await.expect("infallible");
        let code = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 4096).await.expect("a body");
        (code, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test(start_paused = true)]
    async fn l3_health_says_which_check_fails_and_readiness_says_why() {
        let health = Health::new()
            .live("store", || async { Ok(()) })
            .ready("informers", || async { Err("services has not synced".to_owned()) })
            .ready("slow", std::future::pending);
        let (code, text) = get_text(&health, "/healthz").await;
        assert_eq!((code, text.as_str()), (200, "[+]store ok\nhealthz check passed\n"));
        let (code, text) = get_text(&health, "/readyz").await;
        assert_eq!(code, 503);
        assert_eq!(
            text,
            "[+]store ok\n[-]informers failed: services has not synced\n[-]slow failed: no answer within 2s\nreadyz check failed\n"
        );
    }

    #[tokio::test]
    async fn health_is_open_to_all_and_keeps_its_reasons() {
        let health = Health::new().live("store", || async { Err("/secret/path is full".to_owned()) });
        let (code, text) = get_text(&health, "/healthz").await;
        assert_eq!((code, text.as_str()), (503, "[-]store failed\nhealthz check failed\n"));
    }
}
