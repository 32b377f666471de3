//! Calls of plugins' webhooks over HTTP: what the plugin controller needs of the world.

use futures::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use orion_controllers::{HookAnswer, HookCall, HookCaller, HookError};
use sha2::Sha256;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Calls webhooks.
pub(crate) struct HttpHooks {
    http: reqwest::Client,
}

impl HttpHooks {
    /// Follows no redirects: a hook is called where its plugin says and nowhere else.
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
        Ok(Self { http })
    }
}

impl HookCaller for HttpHooks {
    fn call(&self, call: HookCall) -> BoxFuture<'static, Result<HookAnswer, HookError>> {
        let http = self.http.clone();
        Box::pin(async move {
            let failed = |error: reqwest::Error| HookError(sentence(&error));
            let mut request = http
                .post(&call.url)
                .timeout(call.timeout)
                .header("Content-Type", "application/cloudevents+json")
                .header("Idempotency-Key", &call.idempotency_key);
            if let Some(secret) = &call.secret {
                request = request.header("X-Orion-Signature", signature(secret, &call.body));
            }
            let mut response = request.body(call.body).send().await.map_err(failed)?;
            let status = response.status().as_u16();
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(failed)? {
                if body.len() + chunk.len() > MAX_ANSWER {
                    return Err(HookError(format!("the answer has more than {MAX_ANSWER} bytes")));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(HookAnswer { status, body })
        })
    }
}

/// `sha256=` and the HMAC-SHA256 of the body in hex.
fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(body);
    let digest: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digest}")
}

/// The error with its cause, which reqwest's own text leaves out.
fn sentence(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second test case of RFC 4231.
    #[test]
    fn a_body_is_signed_by_hmac_sha256() {
        assert_eq!(
            signature("Jefe", b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
