//! `pgq dead`: events that were given up.

use std::time::Duration;

use clap::{Args, Subcommand};
use pgq_client::dead_letter::{DeadLetter, Decision, Origin, list, sort};
use pgq_client::redact;
use serde_json::{Value, json};

use super::output::{Format, Rows, done, json_line};
use super::{Exit, Global};

#[derive(Debug, Subcommand)]
pub(super) enum Dead {
    /// List dead letters
    List {
        /// The queue whose consumers gave them up, or a dead-letter queue
        queue: String,
    },
    /// Show one dead letter whole
    Show {
        /// The queue whose consumers gave them up, or a dead-letter queue
        queue: String,
        /// Id of the event in the queue it came from
        ev_id: i64,
    },
    /// Give dead letters back to the consumer that gave them up; those of a dead-letter queue need
    /// pgq_admin
    Replay {
        /// The queue whose consumers gave them up, or a dead-letter queue
        queue: String,
        #[command(flatten)]
        which: Which,
    },
    /// Drop dead letters
    Purge {
        /// The queue whose consumers gave them up, or a dead-letter queue
        queue: String,
        #[command(flatten)]
        which: Which,
    },
}

/// Which letters.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Ids of the events in the queue they came from
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ev_id: Vec<i64>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Only those of this consumer
    #[arg(long)]
    consumer: Option<String>,
}

impl Which {
    fn has(&self, letter: &DeadLetter) -> bool {
        let by_id = self.all || self.ev_id.contains(&letter.origin.ev_id);
        by_id && self.consumer.as_ref().is_none_or(|name| *name == letter.origin.consumer)
    }
}

/// How long to wait for a tick that somebody else makes.
const PATIENCE: Duration = Duration::from_secs(10);

impl Dead {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let mut client = global.connect()?;
        let format = global.format();
        match self {
            Self::List { queue } => table(&list(&mut client, &queue)?).print(format)?,
            Self::Show { queue, ev_id } => {
                let letters = list(&mut client, &queue)?;
                let mut found =
                    letters.iter().filter(|letter| letter.origin.ev_id == ev_id).peekable();
                if found.peek().is_none() {
                    return Err(no_letter(ev_id).into());
                }
                for letter in found {
                    json_line(match format {
                        Format::Json => whole(letter).to_string(),
                        Format::Table => serde_json::to_string_pretty(&whole(letter))?,
                    })?;
                }
            }
            Self::Replay { queue, which } => {
                let settled = sort(&mut client, &queue, PATIENCE, |letter| {
                    if which.has(letter) { Decision::Replay } else { Decision::Keep }
                })?;
                which.nothing_is_wrong(settled)?;
                done(format, &format!("{settled} replayed"), &[("replayed", json!(settled))])?;
            }
            Self::Purge { queue, which } => {
                let settled = sort(&mut client, &queue, PATIENCE, |letter| {
                    if which.has(letter) { Decision::Purge } else { Decision::Keep }
                })?;
                which.nothing_is_wrong(settled)?;
                done(format, &format!("{settled} purged"), &[("purged", json!(settled))])?;
            }
        }
        Ok(Exit::Ok)
    }
}

impl Which {
    /// Naming letters that are not there is a mistake; "all" of none is not.
    fn nothing_is_wrong(&self, settled: u64) -> anyhow::Result<()> {
        match self.ev_id.first() {
            Some(id) if settled == 0 => Err(no_letter(*id).into()),
            _ => Ok(()),
        }
    }
}

fn no_letter(ev_id: i64) -> pgq_client::Error {
    pgq_client::Error::Server(pgq_client::ServerError {
        sqlstate: "42704".to_owned(),
        message: format!("no dead letter of event {ev_id}"),
        detail: None,
        hint: None,
    })
}

fn table(letters: &[DeadLetter]) -> Rows {
    let columns = ["ev_id", "queue", "consumer", "attempts", "failed_at", "ev_type", "error"];
    let row = |letter: &DeadLetter| -> Vec<Value> {
        let origin = &letter.origin;
        vec![
            json!(origin.ev_id),
            json!(origin.queue),
            json!(origin.consumer),
            json!(origin.attempts),
            json!(origin.failed_at),
            json!(letter.event.ev_type),
            json!(origin.error),
        ]
    };
    Rows {
        columns: columns.map(str::to_owned).to_vec(),
        rows: letters.iter().map(row).collect(),
        ..Rows::default()
    }
}

fn whole(letter: &DeadLetter) -> Value {
    // Of an older release's letters, or another program's.
    let origin = Origin { error: redact(&letter.origin.error), ..letter.origin.clone() };
    json!({
        "origin": origin,
        "ev_type": letter.event.ev_type,
        "ev_data": letter.event.ev_data,
        "ev_extra1": letter.event.ev_extra1,
        "ev_extra2": letter.event.ev_extra2,
        "ev_extra3": letter.event.ev_extra3,
        "ev_extra4": letter.event.ev_extra4,
    })
}
