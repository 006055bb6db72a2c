//! Insert events, in the caller's transaction or in one of their own.

use postgres::GenericClient;
use postgres::types::Type;

use crate::error::Error;
use crate::event::NewEvent;

/// A statement carries at most this many events, and about this many bytes of them.
const CHUNK_EVENTS: usize = 5_000;
const CHUNK_BYTES: usize = 8 << 20;

/// Inserts events into one queue. It holds no connection: every call takes the caller's client or
/// transaction, so that events commit, or roll back, with the work they tell about.
#[derive(Clone, Debug)]
pub struct Producer {
    queue: String,
    has_insert_events: Option<bool>,
}

impl Producer {
    /// A producer for the named queue, which must exist by the time of the first insert.
    pub fn new(queue: impl Into<String>) -> Self {
        Self { queue: queue.into(), has_insert_events: None }
    }

    /// The queue's name.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Insert one event; its id. One round trip, no prepared statement.
    ///
    /// # Errors
    /// [`Error::Server`]: no such queue (42704), inserts disabled (55000), too many in one
    /// transaction (54000), not a pgq_writer (42501). A server with PgQ 3.5 says XX000 instead of
    /// the first three.
    pub fn insert_event(
        &self,
        client: &mut impl GenericClient,
        event: &NewEvent,
    ) -> Result<i64, Error> {
        let [ev_type, data, extra1, extra2, extra3, extra4] = event.fields();
        let row = client.query_typed_one(
            "select pgq.insert_event($1, $2, $3, $4, $5, $6, $7)",
            &[
                (&self.queue, Type::TEXT),
                (&ev_type, Type::TEXT),
                (&data, Type::TEXT),
                (&extra1, Type::TEXT),
                (&extra2, Type::TEXT),
                (&extra3, Type::TEXT),
                (&extra4, Type::TEXT),
            ],
        )?;
        Ok(row.try_get(0)?)
    }

    /// Insert many events; how many. All or none: they share a transaction (a savepoint in the
    /// caller's). `pgq.insert_events` is used where the server has it, else one statement per chunk
    /// that calls `pgq.insert_event` for each.
    ///
    /// # Errors
    /// As [`Producer::insert_event`].
    pub fn insert_events(
        &mut self,
        client: &mut impl GenericClient,
        events: &[NewEvent],
    ) -> Result<u64, Error> {
        if events.is_empty() {
            return Ok(0);
        }
        let bulk = self.bulk(client)?;
        if chunks(events).nth(1).is_none() {
            // One statement is all or nothing by itself.
            return self.insert_chunk(client, events, bulk);
        }
        let mut transaction = client.transaction()?;
        let mut inserted = 0;
        for chunk in chunks(events) {
            inserted += self.insert_chunk(&mut transaction, chunk, bulk)?;
        }
        transaction.commit()?;
        Ok(inserted)
    }

    /// Insert events in one statement, without a transaction around it.
    pub(crate) fn insert_chunk(
        &self,
        client: &mut impl GenericClient,
        events: &[NewEvent],
        bulk: bool,
    ) -> Result<u64, Error> {
        let column = |index: usize| -> Option<Vec<Option<&str>>> {
            let values: Vec<_> =
                events.iter().map(|event| event.fields().get(index).copied().flatten()).collect();
            // An extra field nobody uses is a NULL array.
            (index < 2 || values.iter().any(Option::is_some)).then_some(values)
        };
        let columns = [column(0), column(1), column(2), column(3), column(4), column(5)];
        let [ev_type, data, extra1, extra2, extra3, extra4] = &columns;
        let sql = if bulk {
            "select pgq.insert_events($1, $2, $3, $4, $5, $6, $7)"
        } else {
            "select pg_catalog.count(pgq.insert_event($1, t, d, e1, e2, e3, e4))
               from rows from (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
                               pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7))
                    as e (t, d, e1, e2, e3, e4)"
        };
        let row = client.query_typed_one(
            sql,
            &[
                (&self.queue, Type::TEXT),
                (ev_type, Type::TEXT_ARRAY),
                (data, Type::TEXT_ARRAY),
                (extra1, Type::TEXT_ARRAY),
                (extra2, Type::TEXT_ARRAY),
                (extra3, Type::TEXT_ARRAY),
                (extra4, Type::TEXT_ARRAY),
            ],
        )?;
        let count: i64 = row.try_get(0)?;
        u64::try_from(count).map_err(|_| Error::Answer(format!("{count} events inserted")))
    }

    /// Does this server take events by the array? Asked once.
    pub(crate) fn bulk(&mut self, client: &mut impl GenericClient) -> Result<bool, Error> {
        match self.has_insert_events {
            Some(known) => Ok(known),
            None => {
                let known = crate::features::Features::detect(client)?.insert_events;
                self.has_insert_events = Some(known);
                Ok(known)
            }
        }
    }
}

/// Cut events into statements' worth.
pub(crate) fn chunks(events: &[NewEvent]) -> impl Iterator<Item = &[NewEvent]> {
    let mut rest = events;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let fitting = rest.iter().take(CHUNK_EVENTS).take_while(|event| {
            bytes += event.weight();
            bytes <= CHUNK_BYTES
        });
        let (chunk, after) = rest.split_at(fitting.count().max(1));
        rest = after;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES, CHUNK_EVENTS, chunks};
    use crate::event::NewEvent;

    #[test]
    fn chunks_cover_everything_in_order() {
        let mut events: Vec<_> =
            (0..CHUNK_EVENTS * 2 + 1).map(|n| NewEvent::new("t", n.to_string())).collect();
        events.insert(3, NewEvent::new("large", "x".repeat(CHUNK_BYTES + 1)));
        let sizes: Vec<_> = chunks(&events).map(<[NewEvent]>::len).collect();
        assert_eq!(sizes[..2], [3, 1]);
        assert_eq!(sizes.iter().sum::<usize>(), events.len());
        assert!(chunks(&events).flatten().eq(events.iter()));
    }
}
