//! The trigger functions as SQL declares them.

use super::format::Format;
use super::protocol::fire;
use crate::error::PgqError;
use pgq_pg::call::{Call, Returned};

/// `pgq.logutriga()`.
pub(crate) fn logutriga(call: &Call) -> Result<Returned, PgqError> {
    fire(Format::Url, call)
}

/// `pgq.jsontriga()`.
pub(crate) fn jsontriga(call: &Call) -> Result<Returned, PgqError> {
    fire(Format::Json, call)
}

/// `pgq.sqltriga()`.
pub(crate) fn sqltriga(call: &Call) -> Result<Returned, PgqError> {
    fire(Format::Sql, call)
}

/// `logtriga()`, which PgQ 3 has no SQL declaration for any more.
pub(crate) fn logtriga(call: &Call) -> Result<Returned, PgqError> {
    fire(Format::Kinds, call)
}
