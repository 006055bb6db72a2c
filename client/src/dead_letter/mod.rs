//! Dead letters: events given up, kept with the reason: by the server, in its table
//! `pgq.dead_letter`, or in a queue of their own.
//!
//! A dead-letter queue is an ordinary PgQ queue. The event keeps its type and payload; extra field
//! 1 is a JSON object that says where it came from and why it is here ([`Origin`]), extra field 2
//! the original extra fields as a JSON array. The consumer [`HOLDER`] is registered on the queue,
//! so that rotation keeps the letters until they are replayed or purged. Other consumers may
//! subscribe as well, for alarms.

mod held;
mod letters;
mod table;

pub use letters::{list, sort};

use std::collections::BTreeSet;
use std::time::SystemTime;

use pgq_connect::redact;
use postgres::types::Type;
use postgres::{GenericClient, Transaction};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::event::{Event, NewEvent};
use crate::producer::Producer;

/// The consumer whose position separates letters that are still held from those that are gone.
pub const HOLDER: &str = "dead_letters";

/// Where a dead letter came from, and why it is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Queue it was consumed from.
    pub queue: String,
    /// Consumer that failed.
    pub consumer: String,
    /// Its id there.
    pub ev_id: i64,
    /// Its time there.
    pub ev_time: String,
    /// How many deliveries were tried.
    pub attempts: u32,
    /// The last failure, without passwords.
    pub error: String,
    /// When it was given up.
    pub failed_at: String,
}

/// An event in a dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where from, and why.
    pub origin: Origin,
    /// Type, payload and extra fields as they were.
    pub event: NewEvent,
}

/// What becomes of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays.
    Keep,
    /// It goes back to the consumer that gave it up, and only to it. Its attempts are counted anew.
    Replay,
    /// It is dropped.
    Purge,
}

impl DeadLetter {
    /// Read one back from an event of the dead-letter queue.
    ///
    /// # Errors
    /// [`Error::Payload`] when somebody else put the event there.
    pub fn from_event(event: Event) -> Result<Self, Error> {
        let bad =
            |what: &str| Error::Payload(format!("event {} is no dead letter: {what}", event.id));
        let origin = event.extra1.as_deref().ok_or_else(|| bad("no origin"))?;
        let origin = serde_json::from_str(origin).map_err(|error| bad(&error.to_string()))?;
        let extras: [Option<String>; 4] = match event.extra2.as_deref() {
            Some(text) => serde_json::from_str(text).map_err(|error| bad(&error.to_string()))?,
            None => Default::default(),
        };
        let [ev_extra1, ev_extra2, ev_extra3, ev_extra4] = extras;
        let (ev_type, ev_data) = (event.ev_type, event.data);
        Ok(Self {
            origin,
            event: NewEvent { ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4 },
        })
    }

    /// Of an event that was given up for this error. The queue's readers may be others than the
    /// log's, and the handler's command line or words may have a password in them.
    fn new(queue: &str, consumer: &str, event: &Event, error: &str) -> Self {
        Self {
            origin: Origin {
                queue: queue.to_owned(),
                consumer: consumer.to_owned(),
                ev_id: event.id,
                ev_time: humantime::format_rfc3339_micros(event.time).to_string(),
                attempts: event.attempt(),
                error: redact(error),
                failed_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            },
            event: event.clone().into(),
        }
    }

    /// The event that carries the letter.
    pub(crate) fn to_event(&self) -> Result<NewEvent, Error> {
        let json = |error: serde_json::Error| Error::Payload(error.to_string());
        let extras = [
            &self.event.ev_extra1,
            &self.event.ev_extra2,
            &self.event.ev_extra3,
            &self.event.ev_extra4,
        ];
        let extra2 = if extras.iter().all(|extra| extra.is_none()) {
            None
        } else {
            Some(serde_json::to_string(&extras).map_err(json)?)
        };
        Ok(NewEvent {
            ev_type: self.event.ev_type.clone(),
            ev_data: self.event.ev_data.clone(),
            ev_extra1: Some(serde_json::to_string(&self.origin).map_err(json)?),
            ev_extra2: extra2,
            ..NewEvent::default()
        })
    }
}

/// Put an event into the dead-letter queue, in the transaction that finishes its batch.
pub(crate) fn bury(
    transaction: &mut Transaction<'_>,
    dead_queue: &str,
    queue: &str,
    consumer: &str,
    event: &Event,
    error: &str,
) -> Result<(), Error> {
    let letter = DeadLetter::new(queue, consumer, event, error);
    Producer::new(dead_queue).insert_event(transaction, &letter.to_event()?)?;
    Ok(())
}

/// Put events of another database's consumer into the dead-letter queue. That transaction and the
/// target's commit one after the other: a batch that comes again after a crash in between finds its
/// letters here.
pub(crate) fn bury_once(
    transaction: &mut Transaction<'_>,
    dead_queue: &str,
    queue: &str,
    consumer: &str,
    letters: Vec<(Event, String)>,
) -> Result<(), Error> {
    if letters.is_empty() {
        return Ok(());
    }
    let held: BTreeSet<i64> = held::list(transaction, dead_queue)?
        .ok_or_else(|| letters::no_dead_queue(dead_queue))?
        .into_iter()
        .filter(|letter| letter.origin.queue == queue && letter.origin.consumer == consumer)
        .map(|letter| letter.origin.ev_id)
        .collect();
    for (event, why) in letters {
        log::warn!("{consumer}: event {} is dead: {why}", event.id);
        if !held.contains(&event.id) {
            bury(transaction, dead_queue, queue, consumer, &event, &why)?;
        }
    }
    Ok(())
}

/// Make sure that the queue is there and held. Creating it needs pgq_admin; using one that exists
/// does not.
///
/// # Errors
/// [`Error::Missing`] when it does not exist and may not be created.
pub fn ensure_queue(client: &mut impl GenericClient, dead_queue: &str) -> Result<(), Error> {
    let found = client.query_typed_opt(
        "select 1 from pgq.queue where queue_name operator(pg_catalog.=) $1",
        &[(&dead_queue, Type::TEXT)],
    )?;
    if found.is_none() {
        let created = client
            .query_typed_one("select pgq.create_queue($1)", &[(&dead_queue, Type::TEXT)])
            .map_err(Error::from);
        match created {
            Err(error) if error.sqlstate() == Some("42501") => {
                return Err(Error::Missing(format!(
                    "dead-letter queue \"{dead_queue}\" does not exist, and creating it takes role pgq_admin"
                )));
            }
            other => other?,
        };
    }
    client.query_typed_one(
        "select pgq.register_consumer($1, $2)",
        &[(&dead_queue, Type::TEXT), (&HOLDER, Type::TEXT)],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::{DeadLetter, Origin};
    use crate::event::{Event, NewEvent};

    fn event(new: NewEvent) -> Event {
        Event {
            id: 1,
            time: SystemTime::UNIX_EPOCH,
            txid: 1,
            retry: None,
            ev_type: new.ev_type,
            data: new.ev_data,
            extra1: new.ev_extra1,
            extra2: new.ev_extra2,
            extra3: None,
            extra4: None,
        }
    }

    #[test]
    fn a_letter_has_no_password_of_the_handlers() {
        let given_up = event(NewEvent::new("t", "password=data"));
        let error = "psql 'host=a password=QXZ' -f x: exit status: 1: postgres://u:QXZ@h/d";
        let letter = DeadLetter::new("q", "c", &given_up, error);
        let text = letter.to_event().unwrap();
        assert!(!format!("{text:?}").contains("QXZ"), "{text:?}");
        assert_eq!(letter.event.ev_data.as_deref(), Some("password=data"), "data is data");
    }

    #[test]
    fn a_letter_survives_the_queue() {
        let letter = DeadLetter {
            origin: Origin {
                queue: "q\"".to_owned(),
                consumer: "c".to_owned(),
                ev_id: 7,
                ev_time: "t".to_owned(),
                attempts: 3,
                error: "no\nluck".to_owned(),
                failed_at: "u".to_owned(),
            },
            event: NewEvent { ev_extra4: Some(String::new()), ..NewEvent::new("a", "b") },
        };
        let event = event(letter.to_event().unwrap());
        assert_eq!(DeadLetter::from_event(event.clone()).unwrap(), letter);
        assert!(DeadLetter::from_event(Event { extra1: None, ..event }).is_err());
    }
}
