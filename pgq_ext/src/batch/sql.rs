//! `pgq._window_sql`: the query for the events between two ticks, as text.

use super::span::{Span, TickPair};
use crate::error::PgqError;
use pgq_core::encode::opaque;
use pgq_pg::call::{Call, Returned};
use pgq_pg::text::Text;

/// `pgq._window_sql(i_queue_id, i_sub_id, i_prev_tick, i_cur_tick, i_filter)`.
pub(crate) fn window_sql_function(call: &Call) -> Result<Returned, PgqError> {
    let (Some(queue), Some(subscription), Some(previous), Some(current)) =
        (call.int4(0), call.int4(1), call.int8(2), call.int8(3))
    else {
        return Ok(Returned::Null);
    };
    let Some(span) = Span::load(TickPair { queue, previous, current })? else {
        return Ok(Returned::Null);
    };
    let filter =
        call.text(4).map(|filter| filter.with_bytes(|bytes| opaque::decode(bytes).into_owned()));
    let sql = span.sql(subscription, filter.as_deref());
    Ok(sql.map_or(Returned::Null, |sql| Returned::Text(Text::new(&opaque::encode(&sql)))))
}
