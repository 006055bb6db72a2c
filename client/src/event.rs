//! One event, as a consumer gets it.

use std::time::SystemTime;

use pgq_replica::{Captured, RowChange};
use postgres::Row;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// An event of a batch. Everything but id, time and transaction may be NULL, as the producer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Id, unique in the queue; grows within a batch.
    pub id: i64,
    /// When the producer's transaction began, unless the producer gave a time.
    pub time: SystemTime,
    /// Transaction that inserted it.
    pub txid: i64,
    /// How often it has been retried; none the first time.
    pub retry: Option<i32>,
    /// Type.
    pub ev_type: Option<String>,
    /// Payload.
    pub data: Option<String>,
    /// Extra field; the table's name in events of triggers.
    pub extra1: Option<String>,
    /// Extra field; the old row in update events of triggers with `backup`.
    pub extra2: Option<String>,
    /// Extra field.
    pub extra3: Option<String>,
    /// Extra field.
    pub extra4: Option<String>,
}

impl Event {
    /// From a row with PgQ's ten columns in PgQ's order.
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.try_get(0)?,
            time: row.try_get(1)?,
            txid: row.try_get(2)?,
            retry: row.try_get(3)?,
            ev_type: row.try_get(4)?,
            data: row.try_get(5)?,
            extra1: row.try_get(6)?,
            extra2: row.try_get(7)?,
            extra3: row.try_get(8)?,
            extra4: row.try_get(9)?,
        })
    }

    /// Which delivery this is: 1 for the first.
    pub fn attempt(&self) -> u32 {
        self.retry.and_then(|retry| u32::try_from(retry).ok()).unwrap_or(0).saturating_add(1)
    }

    /// The type, or the empty string.
    pub fn kind(&self) -> &str {
        self.ev_type.as_deref().unwrap_or("")
    }

    /// The payload as JSON of the caller's type.
    ///
    /// # Errors
    /// [`Error::Payload`] when it is NULL, not JSON, or not of that shape.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let data = self.data.as_deref().ok_or_else(|| Error::Payload("is NULL".to_owned()))?;
        serde_json::from_str(data).map_err(|error| Error::Payload(error.to_string()))
    }

    /// The key of a message (`pgq.send`): extra field 1.
    pub fn key(&self) -> Option<&str> {
        self.extra1.as_deref()
    }

    /// The headers of a message (`pgq.send`): extra field 2; none when it has none.
    ///
    /// # Errors
    /// [`Error::Payload`] when they are no JSON object.
    pub fn headers(&self) -> Result<serde_json::Map<String, serde_json::Value>, Error> {
        let Some(text) = self.extra2.as_deref() else { return Ok(serde_json::Map::new()) };
        serde_json::from_str(text).map_err(|error| Error::Payload(format!("headers: {error}")))
    }

    /// The row change that a PgQ trigger (logutriga or jsontriga) put into this event; none for
    /// other events.
    ///
    /// # Errors
    /// [`Error::Payload`] when type and payload of a trigger event do not parse.
    pub fn change(&self) -> Result<Option<RowChange>, Error> {
        Ok(RowChange::of(self)?)
    }

    /// Bytes of payload, for paging.
    pub(crate) fn weight(&self) -> usize {
        [&self.ev_type, &self.data, &self.extra1, &self.extra2, &self.extra3, &self.extra4]
            .into_iter()
            .map(|field| field.as_ref().map_or(0, String::len))
            .sum::<usize>()
            + size_of::<Self>()
    }
}

impl Captured for Event {
    fn id(&self) -> i64 {
        self.id
    }

    fn kind(&self) -> &str {
        self.kind()
    }

    fn data(&self) -> &str {
        self.data.as_deref().unwrap_or("")
    }

    fn is_retry(&self) -> bool {
        self.retry.is_some()
    }

    fn extra(&self, number: usize) -> &str {
        let extra = match number {
            1 => &self.extra1,
            2 => &self.extra2,
            3 => &self.extra3,
            _ => &self.extra4,
        };
        extra.as_deref().unwrap_or("")
    }
}

/// An event to be inserted.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// Type.
    #[serde(default, alias = "type")]
    pub ev_type: Option<String>,
    /// Payload.
    #[serde(default, alias = "data")]
    pub ev_data: Option<String>,
    /// Extra field.
    #[serde(default, alias = "extra1")]
    pub ev_extra1: Option<String>,
    /// Extra field.
    #[serde(default, alias = "extra2")]
    pub ev_extra2: Option<String>,
    /// Extra field.
    #[serde(default, alias = "extra3")]
    pub ev_extra3: Option<String>,
    /// Extra field.
    #[serde(default, alias = "extra4")]
    pub ev_extra4: Option<String>,
}

impl NewEvent {
    /// An event with type and text payload.
    pub fn new(ev_type: impl Into<String>, data: impl Into<String>) -> Self {
        Self { ev_type: Some(ev_type.into()), ev_data: Some(data.into()), ..Self::default() }
    }

    /// An event whose payload is the JSON of a value.
    ///
    /// # Errors
    /// [`Error::Payload`] when the value has no JSON form.
    pub fn json<T: Serialize + ?Sized>(
        ev_type: impl Into<String>,
        value: &T,
    ) -> Result<Self, Error> {
        let data =
            serde_json::to_string(value).map_err(|error| Error::Payload(error.to_string()))?;
        Ok(Self::new(ev_type, data))
    }

    /// Set extra field 1, by which consumers filter and `split` routes.
    pub fn extra1(mut self, value: impl Into<String>) -> Self {
        self.ev_extra1 = Some(value.into());
        self
    }

    /// Set the key of a message, as `pgq.send` does: extra field 1.
    pub fn key(self, key: impl Into<String>) -> Self {
        self.extra1(key)
    }

    /// Set the headers of a message, as `pgq.send` does: extra field 2, a JSON object.
    pub fn headers(mut self, headers: &serde_json::Map<String, serde_json::Value>) -> Self {
        let text = serde_json::to_string(headers).expect("a map of JSON has a JSON form");
        self.ev_extra2 = Some(text);
        self
    }

    /// Bytes of payload, for chunking.
    pub(crate) fn weight(&self) -> usize {
        self.fields().into_iter().map(|field| field.map_or(0, str::len)).sum::<usize>() + 64
    }

    /// The six text fields in PgQ's order.
    pub(crate) fn fields(&self) -> [Option<&str>; 6] {
        [
            self.ev_type.as_deref(),
            self.ev_data.as_deref(),
            self.ev_extra1.as_deref(),
            self.ev_extra2.as_deref(),
            self.ev_extra3.as_deref(),
            self.ev_extra4.as_deref(),
        ]
    }
}

impl From<Event> for NewEvent {
    /// The same content under a new id, as `move` and `split` copy events.
    fn from(event: Event) -> Self {
        Self {
            ev_type: event.ev_type,
            ev_data: event.data,
            ev_extra1: event.extra1,
            ev_extra2: event.extra2,
            ev_extra3: event.extra3,
            ev_extra4: event.extra4,
        }
    }
}
