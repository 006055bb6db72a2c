//! Bearer tokens, as OAuth services give them.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::repo::object_store::bucket::encode;
use crate::repo::object_store::credentials::Expiring;
use crate::repo::object_store::http::{Answer, Request};

#[derive(Deserialize)]
struct Given {
    access_token: String,
    expires_in: serde_json::Value,
}

/// Read the answer of such a service.
///
/// # Errors
/// [`Error::Repository`] for a refusal, without the answer's text: it may show what was sent.
pub(crate) fn read(answer: &Answer, whose: &str) -> Result<Expiring<String>> {
    if answer.status != 200 {
        return Err(answer.refused("get a token of", whose));
    }
    let missing = || Error::Failed(format!("the answer to the request for {whose} has no token"));
    let given: Given = serde_json::from_slice(&answer.body).map_err(|_| missing())?;
    // Some give the number as text.
    let seconds = given.expires_in.as_u64();
    let seconds = seconds.or_else(|| given.expires_in.as_str()?.parse().ok());
    Ok(Expiring::within(given.access_token, seconds.ok_or_else(missing)?))
}

/// A request with a form as its body: what is in a URL ends up in logs.
pub(crate) fn form<'a>(url: &str, fields: &[(&str, &str)]) -> Request<'a> {
    let pairs: Vec<_> =
        fields.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
    Request::new("POST", url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(pairs.join("&").into_bytes())
}
