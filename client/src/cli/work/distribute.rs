//! Events over queues of another database, by a field.

use std::collections::BTreeMap;

use clap::ValueEnum;
use pgq_client::dead_letter::HOLDER;
use pgq_client::{Error, Event, HandlerError, Pattern, RemoteBatch};
use postgres::Transaction;
use postgres::types::Type;

use super::advise;
use super::copy::{insert, may_keep_time};

/// A field of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Field {
    Type,
    Extra1,
    Extra2,
    Extra3,
    Extra4,
}

impl Field {
    fn of(self, event: &Event) -> Option<&str> {
        match self {
            Self::Type => event.ev_type.as_deref(),
            Self::Extra1 => event.extra1.as_deref(),
            Self::Extra2 => event.extra2.as_deref(),
            Self::Extra3 => event.extra3.as_deref(),
            Self::Extra4 => event.extra4.as_deref(),
        }
    }
}

/// Patterns of queues.
pub(in crate::cli) fn patterns(texts: &[String]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::new(text.trim())).collect()
}

/// Distribute one batch. Events of one queue keep their order. An event that names no queue it may
/// go to is set aside where that was asked for; else it stops everything: it must not be lost.
pub(in crate::cli) fn distribute(
    batch: &mut RemoteBatch<'_, '_, '_>,
    by: Field,
    only: &[Pattern],
) -> Result<(), HandlerError> {
    let keeps_time = may_keep_time(batch.target())?;
    let mut known: BTreeMap<String, Result<(), &'static str>> = BTreeMap::new();
    while let Some(page) = batch.next_page()? {
        let mut queues: Vec<(String, Vec<Event>)> = Vec::new();
        for event in page {
            let Some(queue) = by.of(&event) else {
                let what = format!("event {} names no queue in {by:?}", event.id);
                batch.bury(&event, Error::Payload(what)).map_err(advise)?;
                continue;
            };
            let allowed = match known.get(queue) {
                Some(allowed) => *allowed,
                None => {
                    let allowed = is_allowed(batch, queue, only)?;
                    known.insert(queue.to_owned(), allowed);
                    allowed
                }
            };
            if let Err(why) = allowed {
                let what = format!("event {} names queue \"{queue}\", {why}", event.id);
                batch.bury(&event, Error::Refused(what)).map_err(advise)?;
                continue;
            }
            match queues.iter_mut().find(|(name, _)| name == queue) {
                Some((_, events)) => events.push(event),
                None => queues.push((queue.to_owned(), vec![event])),
            }
        }
        for (queue, events) in queues {
            insert(batch.target(), &queue, &events, keeps_time)?;
        }
    }
    Ok(())
}

/// May events go to a queue of this name; why not. Whoever inserts an event chooses the name. What
/// goes into a cascade is carried out on all its nodes, and what looks like a dead letter is given
/// to any consumer by `pgq dead replay`.
fn is_allowed(
    batch: &mut RemoteBatch<'_, '_, '_>,
    queue: &str,
    only: &[Pattern],
) -> Result<Result<(), &'static str>, Error> {
    if only.iter().any(|pattern| pattern.is_name() && pattern.matches(queue)) {
        return Ok(Ok(()));
    }
    if !only.is_empty() && !only.iter().any(|pattern| pattern.matches(queue)) {
        return Ok(Err("which --only (INI: queues) does not allow"));
    }
    if !exists(batch.target(), queue, "pgq", "select from pgq.get_queue_info($1)")? {
        // Without a place to set it aside it is an error of the target's, which names it.
        return Ok(if batch.can_bury() { Err("which the target does not have") } else { Ok(()) });
    }
    let dead_letters = format!("select from pgq.get_consumer_info($1, '{HOLDER}')");
    if exists(batch.target(), queue, "pgq", &dead_letters)? {
        return Ok(Err(
            "which holds dead letters: allow it with its full name by --only (INI: queues)",
        ));
    }
    let node = "select
                  from pgq_node.get_node_info($1)
                 where ret_code operator(pg_catalog.<) 300";
    if exists(batch.target(), queue, "pgq_node", node)? {
        return Ok(Err(
            "which is part of a cascade: allow it with its full name by --only (INI: queues)",
        ));
    }
    Ok(Ok(()))
}

/// Does the query about a queue have a row? False where its schema does not exist.
fn exists(
    target: &mut Transaction<'_>,
    queue: &str,
    schema: &str,
    query: &str,
) -> Result<bool, Error> {
    let row = target.query_typed_one(
        "select pg_catalog.to_regnamespace($1) is not null",
        &[(&schema, Type::TEXT)],
    )?;
    if !row.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    Ok(!target.query_typed(query, &[(&queue, Type::TEXT)])?.is_empty())
}
