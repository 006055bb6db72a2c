//! Keeps `balance` up to date from queue `payments`, exactly once: the update and the end of the
//! batch are one transaction.
//!
//! Run: `cargo run -p pgq_client --example consumer -- "host=… dbname=…"`

use std::time::Duration;

use pgq_client::postgres::types::Type;
use pgq_client::{Backoff, Consumer, Event, HandlerError, NewEvent, OnFailure, Producer, Work};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Payment {
    account: String,
    cents: i64,
}

fn book(work: &mut Work<'_, '_>, event: &Event) -> Result<(), HandlerError> {
    let payment: Payment = event.payload()?;
    work.transaction()?.execute_typed(
        "insert into balance as b values ($1, $2)
         on conflict (account) do update set cents = b.cents + excluded.cents",
        &[(&payment.account, Type::TEXT), (&payment.cents, Type::INT8)],
    )?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the example shows its result")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dsn = std::env::args().nth(1).unwrap_or_default();

    let mut consumer = Consumer::builder("payments", "bookkeeper")
        .on_failure(OnFailure::Retry {
            backoff: Backoff::doubling(Duration::from_secs(1), Duration::from_secs(60)),
            max_attempts: Some(5),
        })
        .dead_letter_queue("payments.dead")
        .stop_when_empty(true) // a service leaves this out and runs until its stop handle is used
        .connect(&dsn)?;
    consumer.register()?;

    // A producer needs nothing but a client or a transaction of its own.
    let mut client = pgq_client::Connector::new(&dsn)?.connect()?;
    let mut transaction = client.transaction()?;
    let payment = Payment { account: "alice".to_owned(), cents: 250 };
    Producer::new("payments")
        .insert_event(&mut transaction, &NewEvent::json("payment", &payment)?)?;
    transaction.commit()?;

    let stats = consumer.run(book)?;
    println!("{} events in {} batches", stats.events, stats.batches);
    Ok(())
}
