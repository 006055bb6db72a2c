//! Copies the payments of queue `payments` into table `ledger` of another database, exactly once:
//! the rows, and the mark that the batch is complete, are one transaction there. The other database
//! needs extension pgq_ext.
//!
//! Run: `cargo run -p pgq_client --example remote_consumer -- "dbname=shop" "dbname=books"`

use pgq_client::postgres::types::Type;
use pgq_client::{Connector, HandlerError, RemoteBatch, RemoteConsumer, Tracking};

fn copy(batch: &mut RemoteBatch<'_, '_, '_>) -> Result<(), HandlerError> {
    // A page is some megabytes at most, however large the batch.
    while let Some(page) = batch.next_page()? {
        let payments: Vec<_> = page.into_iter().map(|event| event.data).collect();
        batch.target().execute_typed(
            "insert into ledger (payment) select unnest($1)",
            &[(&payments, Type::TEXT_ARRAY)],
        )?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the example shows its result")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [source, target] = [1, 2].map(|n| std::env::args().nth(n).unwrap_or_default());
    let stats = RemoteConsumer::builder("payments", "bookkeeper")
        // python-pgq's RemoteConsumer remembers the same; the default is by tick.
        .tracking(Tracking::Batch)
        .stop_when_empty(true) // a service leaves this out and runs until its stop handle is used
        .connect(Connector::new(&source)?, Connector::new(&target)?)?
        .run_batches(copy)?;
    println!("{} events in {} batches", stats.events, stats.batches);
    Ok(())
}
