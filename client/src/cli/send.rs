//! `pgq send`.

use std::io::{BufRead, IsTerminal, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use clap::ValueEnum;
use pgq_client::{NewEvent, Producer};
use postgres::Client;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::exit::UsageError;
use super::output::{counted, done};
use super::progress::Progress;
use super::{Exit, Global};

/// Insert events.
#[derive(Debug, clap::Args)]
pub(super) struct Send {
    /// Name of the queue
    queue: String,
    /// Payload of one event; without it, events come from standard input
    data: Option<String>,
    /// Type of the event, or of all events that do not bring their own
    #[arg(long, short = 't')]
    r#type: Option<String>,
    /// Key of the message: what it is about. It is the first extra field
    #[arg(long, short = 'k', conflicts_with = "extra1")]
    key: Option<String>,
    /// A header of the message, NAME=VALUE; may be repeated. They are a JSON object in the second
    /// extra field
    #[arg(long, value_name = "NAME=VALUE", value_parser = header, conflicts_with = "extra2")]
    header: Vec<(String, String)>,
    /// First extra field
    #[arg(long)]
    extra1: Option<String>,
    /// Second extra field
    #[arg(long)]
    extra2: Option<String>,
    /// Third extra field
    #[arg(long)]
    extra3: Option<String>,
    /// Fourth extra field
    #[arg(long)]
    extra4: Option<String>,
    /// What standard input is: JSON objects with type, data, key, headers, extra1 …; CSV with such
    /// a header; or payloads, one a line
    #[arg(long, short = 'f', value_enum, default_value_t = Input::Json)]
    format: Input,
    /// Commit every N events; otherwise all are one transaction, and an error inserts none
    #[arg(long, value_name = "N")]
    commit_every: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Input {
    Json,
    Csv,
    Lines,
}

/// Events that are parsed while the ones before are inserted.
const CHUNK: usize = 5_000;
type Chunk = Result<Vec<NewEvent>, UsageError>;

/// An input object. A payload that is not a string is kept as JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputEvent {
    #[serde(default, alias = "ev_type", deserialize_with = "text")]
    r#type: Option<String>,
    #[serde(default, alias = "ev_data", alias = "payload", deserialize_with = "text")]
    data: Option<String>,
    #[serde(default, alias = "ev_extra1", alias = "key", deserialize_with = "text")]
    extra1: Option<String>,
    #[serde(default, alias = "ev_extra2", alias = "headers", deserialize_with = "text")]
    extra2: Option<String>,
    #[serde(default, alias = "ev_extra3", deserialize_with = "text")]
    extra3: Option<String>,
    #[serde(default, alias = "ev_extra4", deserialize_with = "text")]
    extra4: Option<String>,
    // What `pgq consume` and `pgq tail` print besides; a new event gets its own.
    #[serde(default, rename = "ev_id", alias = "msg_id")]
    _id: Option<Value>,
    #[serde(default, rename = "ev_time", alias = "created_at")]
    _time: Option<Value>,
    #[serde(default, rename = "ev_txid")]
    _txid: Option<Value>,
    #[serde(default, rename = "ev_retry", alias = "retry_count")]
    _retry: Option<Value>,
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    })
}

impl From<InputEvent> for NewEvent {
    fn from(input: InputEvent) -> Self {
        Self {
            ev_type: input.r#type,
            ev_data: input.data,
            ev_extra1: input.extra1,
            ev_extra2: input.extra2,
            ev_extra3: input.extra3,
            ev_extra4: input.extra4,
        }
    }
}

/// NAME=VALUE.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no \"=\"")?;
    if name.is_empty() {
        return Err("it has no name".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

impl Send {
    pub(super) fn run(mut self, global: &Global) -> anyhow::Result<Exit> {
        // What key and headers are to consumers are extra fields to producers.
        self.extra1 = self.extra1.or(self.key.take());
        if !self.header.is_empty() {
            let headers = self.header.drain(..).map(|(name, value)| (name, json!(value)));
            self.extra2 = Some(Value::Object(headers.collect()).to_string());
        }
        if self.data.is_none() && std::io::stdin().is_terminal() {
            return Err(
                UsageError("no payload, and standard input is a terminal".to_owned()).into()
            );
        }
        let mut client = global.connect()?;
        if let Some(data) = self.data.take() {
            let event = self.with_defaults(NewEvent { ev_data: Some(data), ..NewEvent::default() });
            let id = Producer::new(&self.queue).insert_event(&mut client, &event)?;
            done(global.format(), &format!("event {id}"), &[("ev_id", json!(id))])?;
            return Ok(Exit::Ok);
        }
        let queue = self.queue.clone();
        let commit_every = self.commit_every;
        let (sender, receiver) = sync_channel(2);
        let reader = std::thread::spawn(move || self.read(&sender));
        let sent = insert(&mut client, &queue, commit_every, receiver)?;
        if reader.join().is_err() {
            anyhow::bail!("the reader of standard input panicked");
        }
        done(global.format(), &counted(sent, "event"), &[("events", json!(sent))])?;
        Ok(Exit::Ok)
    }

    fn with_defaults(&self, event: NewEvent) -> NewEvent {
        let fill = |own: Option<String>, default: &Option<String>| own.or_else(|| default.clone());
        NewEvent {
            ev_type: fill(event.ev_type, &self.r#type),
            ev_data: event.ev_data,
            ev_extra1: fill(event.ev_extra1, &self.extra1),
            ev_extra2: fill(event.ev_extra2, &self.extra2),
            ev_extra3: fill(event.ev_extra3, &self.extra3),
            ev_extra4: fill(event.ev_extra4, &self.extra4),
        }
    }

    /// Parse standard input into chunks, until its end, an error, or the inserter's end.
    fn read(&self, sender: &SyncSender<Chunk>) {
        let input = std::io::stdin().lock();
        match self.format {
            Input::Csv => self.send_chunks(csv_events(input), sender),
            format => self.send_chunks(line_events(input, format), sender),
        }
    }

    fn send_chunks(
        &self,
        events: impl Iterator<Item = Result<NewEvent, UsageError>>,
        sender: &SyncSender<Chunk>,
    ) {
        let mut chunk = Vec::with_capacity(CHUNK);
        for event in events {
            match event {
                Ok(event) => chunk.push(self.with_defaults(event)),
                Err(error) => {
                    // The inserter is gone only when it has an error of its own to report.
                    let _ = sender.send(Err(error));
                    return;
                }
            }
            if chunk.len() == CHUNK {
                let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
                if sender.send(Ok(full)).is_err() {
                    return;
                }
            }
        }
        let _ = sender.send(Ok(chunk));
    }
}

fn line_events(
    mut input: impl BufRead,
    format: Input,
) -> impl Iterator<Item = Result<NewEvent, UsageError>> {
    let mut line = Vec::new();
    let mut number = 0;
    std::iter::from_fn(move || {
        loop {
            line.clear();
            number += 1;
            let bad = |what: String| UsageError(format!("standard input, line {number}: {what}"));
            match input.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(bad(error.to_string()))),
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if format == Input::Lines {
                let data = std::str::from_utf8(text).map_err(|error| bad(error.to_string()));
                return Some(data.map(|data| NewEvent {
                    ev_data: Some(data.to_owned()),
                    ..NewEvent::default()
                }));
            }
            if text.trim_ascii().is_empty() {
                continue;
            }
            let parsed: Result<InputEvent, _> = serde_json::from_slice(text);
            return Some(parsed.map(NewEvent::from).map_err(|error| bad(error.to_string())));
        }
    })
}

fn csv_events(input: impl Read) -> impl Iterator<Item = Result<NewEvent, UsageError>> {
    csv::Reader::from_reader(input).into_deserialize::<InputEvent>().map(|event| {
        event
            .map(|event| {
                // An empty CSV field is how spreadsheets write "nothing".
                let some = |text: Option<String>| text.filter(|text| !text.is_empty());
                NewEvent {
                    ev_type: some(event.r#type),
                    ev_data: some(event.data),
                    ev_extra1: some(event.extra1),
                    ev_extra2: some(event.extra2),
                    ev_extra3: some(event.extra3),
                    ev_extra4: some(event.extra4),
                }
            })
            .map_err(|error| UsageError(format!("standard input: {error}")))
    })
}

fn insert(
    client: &mut Client,
    queue: &str,
    commit_every: Option<u64>,
    chunks: Receiver<Chunk>,
) -> anyhow::Result<u64> {
    let bar = Progress::new(None, "sent");
    let mut producer = Producer::new(queue);
    let mut sent = 0;
    let mut uncommitted = 0;
    let mut transaction = client.transaction().map_err(pgq_client::Error::from)?;
    for chunk in chunks {
        let mut rest = chunk?;
        while !rest.is_empty() {
            let room = commit_every.map_or(u64::MAX, |every| every.max(1) - uncommitted);
            let take = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
            let after = rest.split_off(take);
            let inserted = producer.insert_events(&mut transaction, &rest)?;
            rest = after;
            sent += inserted;
            uncommitted += inserted;
            bar.add(inserted);
            if commit_every.is_some_and(|every| uncommitted >= every) {
                transaction.commit().map_err(pgq_client::Error::from)?;
                transaction = client.transaction().map_err(pgq_client::Error::from)?;
                uncommitted = 0;
            }
        }
    }
    transaction.commit().map_err(pgq_client::Error::from)?;
    bar.finish();
    Ok(sent)
}
