//! `pgq._next_cron`: when a schedule is due next.

use crate::error::PgqError;
use pgq_core::cron::{self, Clock};
use pgq_pg::call::{Call, Returned};
use pgq_pg::process;
use pgq_pg::zone::Zone;

const SECOND: i64 = 1_000_000;

impl Clock for ServerClock {
    fn ahead(&self, seconds: i64) -> i64 {
        self.0.ahead(seconds).expect("a timestamp is of a year that there is")
    }
}

struct ServerClock(Zone);

/// `pgq._next_cron(i_cron, i_timezone, i_after)`.
pub(crate) fn next_cron(call: &Call) -> Result<Returned, PgqError> {
    let (Some(expression), Some(name), Some(after)) =
        (call.string(0), call.string(1), call.int8(2))
    else {
        return Err(PgqError::NullArgument("cron, timezone and time"));
    };
    let Some(zone) = Zone::named(&name) else { return Err(PgqError::TimeZone { name }) };
    let after = after.div_euclid(SECOND) + process::EPOCH;
    let next = cron::next(&expression, after, &ServerClock(zone))
        .map_err(|problem| PgqError::Cron { expression, problem: problem.to_string() })?;
    Ok(Returned::Int8((next - process::EPOCH) * SECOND))
}
