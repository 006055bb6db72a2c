//! A batch: the events between two ticks, for one consumer.

use std::time::{Duration, SystemTime};

use postgres::Row;

use crate::error::Error;

/// An open batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Id, good until the batch is finished.
    pub id: i64,
    /// Tick at which it begins.
    pub previous_tick: i64,
    /// Tick at which it ends.
    pub tick: i64,
    /// When it begins.
    pub begin: SystemTime,
    /// When it ends.
    pub end: SystemTime,
}

impl Batch {
    /// From a row of `pgq.next_batch_custom`; none when there is no batch.
    pub(crate) fn from_next_batch(row: &Row) -> Result<Option<Self>, Error> {
        let Some(id) = row.try_get("batch_id")? else { return Ok(None) };
        Ok(Some(Self {
            id,
            previous_tick: row.try_get("prev_tick_id")?,
            tick: row.try_get("cur_tick_id")?,
            begin: row.try_get("prev_tick_time")?,
            end: row.try_get("cur_tick_time")?,
        }))
    }

    /// From a row of `pgq.get_batch_info`; none for an unknown batch.
    pub(crate) fn from_batch_info(id: i64, row: &Row) -> Result<Option<Self>, Error> {
        let Some(tick) = row.try_get("tick_id")? else { return Ok(None) };
        Ok(Some(Self {
            id,
            previous_tick: row.try_get("prev_tick_id")?,
            tick,
            begin: row.try_get("batch_start")?,
            end: row.try_get("batch_end")?,
        }))
    }

    /// How far behind the present the end of the batch is.
    pub fn lag(&self) -> Duration {
        self.end.elapsed().unwrap_or_default()
    }
}
