//! Requests to a store: with time limits and bounds, retried, and never sent on to another host.

use std::borrow::Cow;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderMap, Request as HttpRequest};

use crate::error::{Error, Result};
use crate::log;
use crate::size::wide;

const ATTEMPTS: u32 = 4;

/// No answer is longer that is not content: a list of names, or an error.
const ANSWER: u64 = 16 << 20;

/// A request, signed for the next minutes.
pub(crate) struct Request<'a> {
    /// HTTP method.
    pub(crate) method: &'static str,
    /// With the query.
    pub(crate) url: String,
    /// Further headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// What is sent.
    pub(crate) body: Cow<'a, [u8]>,
    /// How long the content may be that is asked for.
    pub(crate) expected: Option<u64>,
}

impl<'a> Request<'a> {
    /// A request without a body.
    pub(crate) fn new(method: &'static str, url: impl Into<String>) -> Self {
        let body = Cow::Borrowed(&[][..]);
        Self { method, url: url.into(), headers: Vec::new(), body, expected: None }
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a body.
    pub(crate) fn body(mut self, body: impl Into<Cow<'a, [u8]>>) -> Self {
        self.body = body.into();
        self
    }

    /// For content: a range (`start..end`) of it, or all up to a limit.
    pub(crate) fn ranged(mut self, range: Option<(u64, u64)>, limit: u64) -> Self {
        self.expected = Some(range.map_or(limit, |(start, end)| end - start));
        if let Some((start, end)) = range {
            self.headers.push(("range", format!("bytes={start}-{}", end - 1)));
        }
        self
    }
}

/// What came back.
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    headers: HeaderMap,
    /// The body, complete.
    pub(crate) body: Vec<u8>,
    /// True when an earlier attempt got lost, so that it may have had its effect.
    pub(crate) after_loss: bool,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Content-Length, also where there is no body.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header("content-length").and_then(|text| text.parse().ok())
    }

    /// True for 200 to 299.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The store's own word for what went wrong, which says more than the status. Whoever answers
    /// may say anything: it is cut, and has no control characters.
    pub(crate) fn code(&self) -> String {
        self.word().chars().filter(|letter| !letter.is_control()).take(80).collect()
    }

    fn word(&self) -> String {
        if let Some(code) = self.header("x-ms-error-code") {
            return code.to_owned();
        }
        let text = self.text();
        if let Some((code, _)) =
            text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"))
        {
            return code.to_owned();
        }
        let json = serde_json::from_slice::<serde_json::Value>(&self.body).unwrap_or_default();
        let reason = json.pointer("/error/errors/0/reason").or_else(|| json.pointer("/error"));
        reason.and_then(|reason| reason.as_str()).unwrap_or_default().to_owned()
    }

    /// True when it may be that the credentials are too old.
    fn is_stale(&self) -> bool {
        const STALE: [&str; 4] =
            ["ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "TokenRefreshRequired"];
        self.status == 401
            || (matches!(self.status, 400 | 403) && STALE.contains(&self.code().as_str()))
    }

    /// The content that was asked for by [`Request::ranged`]; `None` where there is no object.
    pub(crate) fn content(self, key: &str, range: Option<(u64, u64)>) -> Result<Option<Vec<u8>>> {
        match (self.status, range) {
            (200, None) | (206, Some(_)) => Ok(Some(self.body)),
            // Some stores answer a range that covers the whole object with the whole object.
            (200, Some((0, end))) if self.length() == Some(end) => Ok(Some(self.body)),
            (404, _) => Ok(None),
            _ => Err(self.refused("read", key)),
        }
    }

    /// The error for an answer that is neither yes nor no.
    pub(crate) fn refused(&self, doing: &str, key: &str) -> Error {
        Error::repository(format!("{doing} {key}"))(std::io::Error::other(format!(
            "HTTP status {} {}",
            self.status,
            self.code()
        )))
    }
}

/// Sends requests.
pub(crate) struct Http {
    agent: Agent,
    /// True for an answer that is worth another attempt.
    again: fn(&Answer) -> bool,
}

/// The statuses that any store may answer with for a while.
pub(crate) fn busy(answer: &Answer) -> bool {
    matches!(answer.status, 408 | 429 | 500..=599)
}

impl Http {
    /// To a store, each step of a request within this time.
    pub(crate) fn new(timeout: Duration, again: fn(&Answer) -> bool) -> Self {
        Self { agent: Self::settings(timeout).build().new_agent(), again }
    }

    /// To a service beside this host, which no proxy knows.
    pub(crate) fn direct(timeout: Duration) -> Self {
        Self { agent: Self::settings(timeout).proxy(None).build().new_agent(), again: busy }
    }

    fn settings(timeout: Duration) -> ureq::config::ConfigBuilder<ureq::typestate::AgentScope> {
        Agent::config_builder()
            .http_status_as_error(false)
            // A signed request is for this host alone, and another may answer whatever it likes.
            .max_redirects(0)
            .timeout_connect(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .timeout_per_read(Some(timeout))
            .timeout_per_write(Some(timeout))
            // A body that trickles must end as well.
            .timeout_per_call(Some(timeout * 10))
    }

    /// Send until there is an answer that means something. Each attempt is made, and so signed,
    /// anew; with `true` where the store did not like the credentials.
    pub(crate) fn send<'a>(
        &self,
        key: &str,
        make: &dyn Fn(bool) -> Result<Request<'a>>,
    ) -> Result<Answer> {
        let mut pause = Duration::from_millis(100);
        let (mut after_loss, mut renewed, mut renew) = (false, false, false);
        let mut attempt = 1;
        loop {
            let request = make(renew)?;
            renew = false;
            let outcome = self.once(&request);
            let trouble = match outcome {
                Ok(answer) if answer.is_stale() && !renewed => {
                    (renewed, renew) = (true, true);
                    continue;
                }
                Ok(answer) if !(self.again)(&answer) || attempt == ATTEMPTS => {
                    return Ok(Answer { after_loss, ..answer });
                }
                Ok(answer) => format!("HTTP status {}", answer.status),
                Err(error) if attempt == ATTEMPTS => {
                    return Err(Error::repository(format!("{} {key}", request.method))(error));
                }
                Err(error) => error.to_string(),
            };
            log::debug(format_args!("{} {key}: {trouble}; will retry", request.method));
            after_loss = true;
            attempt += 1;
            std::thread::sleep(pause);
            pause *= 2;
        }
    }

    fn once(&self, request: &Request<'_>) -> std::io::Result<Answer> {
        let other = |error: &dyn std::fmt::Display| std::io::Error::other(error.to_string());
        let mut built = HttpRequest::builder().method(request.method).uri(&request.url);
        for (name, value) in &request.headers {
            built = built.header(*name, value);
        }
        let response = if matches!(request.method, "PUT" | "POST") {
            self.agent.run(built.body(request.body.as_ref()).map_err(|error| other(&error))?)
        } else {
            self.agent.run(built.body(()).map_err(|error| other(&error))?)
        };
        let mut response = response.map_err(|error| other(&error))?;
        let status = response.status().as_u16();
        let body = if request.method == "HEAD" {
            Vec::new()
        } else {
            let limit = request.expected.unwrap_or(0).max(ANSWER);
            response
                .body_mut()
                .with_config()
                .limit(limit)
                .read_to_vec()
                .map_err(|error| other(&error))?
        };
        if status == 206 && request.expected != Some(wide(body.len())) {
            return Err(std::io::Error::other("the answer is cut short"));
        }
        let headers = std::mem::take(response.headers_mut());
        Ok(Answer { status, headers, body, after_loss: false })
    }
}
