//! What the target remembers (extension pgq_ext).

use postgres::GenericClient;
use postgres::types::Type;

use crate::batch::Batch;
use crate::error::Error;

/// By what a target recognises a batch it has completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tracking {
    /// By the tick it ends at. Also proves that no batch was left out, and allows
    /// [`crate::RemoteConsumer::rewind`].
    #[default]
    Tick,
    /// By the batch's id, as python-pgq's `RemoteConsumer` does.
    Batch,
}

impl Tracking {
    /// Has the target completed this batch? Until the transaction ends, no other process of this
    /// consumer gets an answer: two that were started by mistake take turns instead of both
    /// writing.
    pub(super) fn is_done(
        self,
        target: &mut impl GenericClient,
        consumer: &str,
        batch: &Batch,
    ) -> Result<bool, Error> {
        self.lock(target, consumer)?;
        if self == Self::Batch {
            let row = target.query_typed_one(
                "select pgq_ext.is_batch_done($1, $2)",
                &[(&consumer, Type::TEXT), (&batch.id, Type::INT8)],
            )?;
            return Ok(row.try_get(0)?);
        }
        match self.position(target, consumer)? {
            None => Ok(false),
            Some(tick) if tick == batch.previous_tick => Ok(false),
            Some(tick) if tick == batch.tick => Ok(true),
            Some(tick) => Err(Error::LostPosition {
                consumer: consumer.to_owned(),
                previous: batch.previous_tick,
                current: batch.tick,
                target: tick,
            }),
        }
    }

    pub(super) fn lock(self, target: &mut impl GenericClient, consumer: &str) -> Result<(), Error> {
        target.execute_typed(
            "select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 7370))",
            &[(&consumer, Type::TEXT)],
        )?;
        Ok(())
    }

    /// Note, in the transaction of the effects, that the batch is complete.
    pub(super) fn set_done(
        self,
        target: &mut impl GenericClient,
        consumer: &str,
        batch: &Batch,
    ) -> Result<(), Error> {
        let (sql, id) = match self {
            Self::Tick => ("select pgq_ext.set_last_tick($1, $2)", batch.tick),
            Self::Batch => ("select pgq_ext.set_batch_done($1, $2)", batch.id),
        };
        target.execute_typed(sql, &[(&consumer, Type::TEXT), (&id, Type::INT8)])?;
        Ok(())
    }

    /// The tick the target has completed.
    pub(super) fn position(
        self,
        target: &mut impl GenericClient,
        consumer: &str,
    ) -> Result<Option<i64>, Error> {
        if self == Self::Batch {
            return Ok(None);
        }
        let row = target
            .query_typed_one("select pgq_ext.get_last_tick($1)", &[(&consumer, Type::TEXT)])?;
        Ok(row.try_get(0)?)
    }

    pub(super) fn forget(
        self,
        target: &mut impl GenericClient,
        consumer: &str,
    ) -> Result<(), Error> {
        if self == Self::Tick {
            target.query_typed_one(
                "select pgq_ext.set_last_tick($1, null::bigint)",
                &[(&consumer, Type::TEXT)],
            )?;
        }
        Ok(())
    }
}
