//! Object lock: how long new objects are kept from everybody, and whether one still is.

use jiff::{SignedDuration, Timestamp};

use crate::repo::object_store::bucket::http_time;
use crate::repo::object_store::http::Answer;
use crate::repo::s3::settings::{Mode, Retention};

impl Retention {
    /// Headers of an object that is written now.
    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        let mode = match self.mode {
            Mode::Governance => "GOVERNANCE",
            Mode::Compliance => "COMPLIANCE",
        };
        let until = Timestamp::now() + SignedDuration::from_hours(24 * i64::from(self.days));
        let until = until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        vec![
            ("x-amz-object-lock-mode", mode.to_owned()),
            ("x-amz-object-lock-retain-until-date", until),
        ]
    }
}

/// Until when the object is locked that an answer is about, by the store's clock.
pub(super) fn locked(answer: &Answer) -> Option<String> {
    if answer.header("x-amz-object-lock-legal-hold") == Some("ON") {
        return Some("its legal hold ends".to_owned());
    }
    let until: Timestamp = answer.header("x-amz-object-lock-retain-until-date")?.parse().ok()?;
    let date = answer.header("date").and_then(http_time);
    let now = date.unwrap_or_else(|| Timestamp::now().as_second());
    (now < until.as_second()).then(|| until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
