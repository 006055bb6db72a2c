//! Why nothing comes, for who waits.

use std::time::{Duration, Instant};

use pgq_pg::session::{self, Value};
use pgq_pg::{process, report};

/// Told once: soon, if it is known then, or later.
pub(super) struct Reasons<'a> {
    queue: &'a str,
    /// In microseconds since 1970.
    begin: i64,
    pause: Duration,
    /// When to look; none: they were told.
    pub(super) due: Option<Instant>,
}

impl<'a> Reasons<'a> {
    const FIRST: Duration = Duration::from_secs(1);
    const QUERY: &'static str = "\
        select finding, remedy from pgq._why_no_batch($1, \
               pg_catalog.to_timestamp($2 operator(pg_catalog./) 1000000.0::pg_catalog.float8))";

    pub(super) fn begin(queue: &'a str) -> Self {
        Self {
            queue,
            begin: process::timestamp().saturating_add(process::EPOCH * 1_000_000),
            pause: Self::FIRST,
            due: Instant::now().checked_add(Self::FIRST),
        }
    }

    pub(super) fn are_due(&self) -> bool {
        self.due.is_some_and(|due| Instant::now() >= due)
    }

    pub(super) fn tell(&mut self) {
        if self.due.is_none() {
            return;
        }
        let arguments = [Value::Text(self.queue), Value::Int8(self.begin)];
        let reasons = session::query(Self::QUERY, &arguments);
        self.pause *= 2;
        self.due = if reasons.is_empty() { Instant::now().checked_add(self.pause) } else { None };
        for reason in reasons {
            let mut columns = reason.into_iter().map(Option::unwrap_or_default);
            let (finding, remedy) = (columns.next(), columns.next());
            report::notice(&finding.unwrap_or_default(), &remedy.unwrap_or_default());
        }
    }
}
