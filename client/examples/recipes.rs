//! The recipes of docs/recipes.md in Rust, which the test suite runs: `recipes DSN NUMBER`.

#![expect(clippy::print_stdout, reason = "printing is what some of them do")]

use std::error::Error;

use pgq_client::dead_letter::{self, Decision};
use pgq_client::postgres::Client;
use pgq_client::{Connector, Consumer, NewEvent, Producer};
use serde_json::{Value, json};

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let mut arguments = std::env::args().skip(1);
    let dsn = arguments.next().ok_or("no connection string")?;
    let mut client = Connector::new(&dsn)?.connect()?;
    match arguments.next().as_deref() {
        Some("1") => a_queue_and_its_reader(&mut client),
        Some("2") => send_with_other_work(&mut client),
        Some("3") => send_many(&mut client),
        Some("4") => receive_exactly_once(&dsn),
        Some("5") => a_second_reader(&mut client, &dsn),
        Some("6") => what_fails(&mut client, &dsn),
        Some("7") => dead_letters(&mut client),
        Some("8") => go_back(&mut client, &dsn),
        Some("9") => keys_and_headers(&mut client),
        Some("10") => ask_what_is_wrong(&mut client),
        _ => Err("which recipe?".into()),
    }
}

fn a_queue_and_its_reader(client: &mut Client) -> Done {
    client.execute("select pgq.create_queue('orders')", &[])?;
    client.execute("select pgq.subscribe('orders', 'mailer')", &[])?;
    Ok(())
}

fn send_with_other_work(client: &mut Client) -> Done {
    let mut transaction = client.transaction()?;
    transaction.execute("update orders set paid = true where id = 17", &[])?;
    let message = NewEvent::json("paid", &json!({"order": 17}))?;
    Producer::new("orders").insert_event(&mut transaction, &message)?;
    transaction.commit()?;
    Ok(())
}

fn send_many(client: &mut Client) -> Done {
    let mut messages = Vec::new();
    for id in [18, 19, 20] {
        messages.push(NewEvent::json("paid", &json!({"order": id}))?);
    }
    Producer::new("orders").insert_events(client, &messages)?;
    Ok(())
}

fn receive_exactly_once(dsn: &str) -> Done {
    let mut consumer = Consumer::builder("orders", "mailer").stop_when_empty(true).connect(dsn)?;
    consumer.run(|work, message| {
        let payload: Value = message.payload()?;
        let order = payload.get("order").and_then(Value::as_i64).ok_or("no order")?;
        let sql = format!("insert into mail (order_id) values ({order})");
        work.transaction()?.batch_execute(&sql)?;
        Ok(())
    })?;
    Ok(())
}

fn a_second_reader(client: &mut Client, dsn: &str) -> Done {
    client.execute("select pgq.subscribe('orders', 'audit', '-infinity')", &[])?;
    let mut consumer = Consumer::builder("orders", "audit").stop_when_empty(true).connect(dsn)?;
    consumer.run(|work, message| {
        let sql = "insert into audit (what) values ($1)";
        work.transaction()?.execute(sql, &[&message.ev_type])?;
        Ok(())
    })?;
    Ok(())
}

fn what_fails(client: &mut Client, dsn: &str) -> Done {
    client.execute("select pgq.set_queue_config('orders', 'max_retries', '0')", &[])?;
    let broken = NewEvent::json("paid", &json!({"order": null}))?;
    Producer::new("orders").insert_event(client, &broken)?;
    let mut consumer = Consumer::builder("orders", "mailer").stop_when_empty(true).connect(dsn)?;
    consumer.run(|_, message| {
        let payload: Value = message.payload()?;
        payload.get("order").and_then(Value::as_i64).ok_or("no order")?;
        Ok(())
    })?;
    Ok(())
}

fn dead_letters(client: &mut Client) -> Done {
    for letter in dead_letter::list(client, "orders")? {
        println!("{} {}", letter.origin.consumer, letter.origin.error);
    }
    dead_letter::sort(client, "orders", std::time::Duration::ZERO, |letter| {
        if letter.origin.consumer == "mailer" { Decision::Replay } else { Decision::Keep }
    })?;
    Ok(())
}

fn go_back(client: &mut Client, dsn: &str) -> Done {
    let back = "select pgq.seek('orders', 'audit', to_time => '-infinity')";
    client.execute(back, &[])?;
    let mut consumer = Consumer::builder("orders", "audit").stop_when_empty(true).connect(dsn)?;
    consumer.run(|work, message| {
        let sql = "insert into audit (what) values ($1)";
        work.transaction()?.execute(sql, &[&message.ev_type])?;
        Ok(())
    })?;
    Ok(())
}

fn keys_and_headers(client: &mut Client) -> Done {
    let headers = json!({"traceparent": "00-ab-cd-01"});
    let message = NewEvent::json("shipped", &json!({"order": 17}))?
        .key("customer 4")
        .headers(headers.as_object().ok_or("headers are an object")?);
    Producer::new("orders").insert_event(client, &message)?;
    Ok(())
}

fn ask_what_is_wrong(client: &mut Client) -> Done {
    for row in client.query("select severity, finding, remedy from pgq.queue_health()", &[])? {
        let [severity, finding, remedy] = [0, 1, 2].map(|at| row.get::<_, &str>(at));
        println!("{severity}: {finding}: {remedy}");
    }
    Ok(())
}
