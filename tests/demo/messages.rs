//! The queue API: a message is sent, fails, comes again, is given up, and given back.

use pgq_tests::Cluster;
use postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

pub(crate) fn run(cluster: &Cluster) {
    let mut client = cluster.connect("postgres");
    println!("\nMessages of an application, by SQL alone");
    show(&mut client, "select pgq.create_queue('orders'), pgq.subscribe('orders', 'mailer')");
    show(&mut client, "select pgq.set_queue_config('orders', 'max_retries', '1')");
    let sent = "select pgq.send('orders', 'paid', '{\"order\": 17}'::jsonb, key => 'customer 4')";
    show(&mut client, sent);
    let (batch, id) = receive(&mut client, 0);
    show(&mut client, &format!("select pgq.nack({batch}, {id}, '0', 'no mail server')"));
    show(&mut client, &format!("select pgq.ack({batch})"));
    let (batch, _) = receive(&mut client, 1);
    let dead =
        show(&mut client, &format!("select pgq.nack({batch}, {id}, reason => 'still none')"));
    assert_eq!(dead.get(0), Some("dead"));
    show(&mut client, &format!("select pgq.ack({batch})"));
    let letter =
        show(&mut client, "select msg_id, payload, reason from pgq.dead_letters('orders')");
    assert_eq!(letter.get(2), Some("still none"));
    show(&mut client, "select pgq.dead_replay('orders', 'mailer')");
    let (batch, again) = receive(&mut client, 0);
    assert_eq!(again, id, "it is the same message");
    show(&mut client, &format!("select pgq.ack({batch})"));
}

/// Wait for the message; its ids.
fn receive(client: &mut Client, retries: i32) -> (i64, i64) {
    const SQL: &str = "call pgq.wait_receive('orders', 'mailer')";
    let row = show(client, SQL);
    let messages = row.get("messages").unwrap_or("{}").to_owned();
    let fields = "select m.batch_id, m.msg_id, m.retry_count
                    from unnest($1::text::pgq.message[]) m";
    let message = client.query_one(fields, &[&messages]).unwrap();
    assert_eq!(message.get::<_, i32>(2), retries, "how often it came again");
    (message.get(0), message.get(1))
}

/// Print a statement and what it gives.
fn show(client: &mut Client, sql: &str) -> SimpleQueryRow {
    let row = client
        .simple_query(sql)
        .unwrap()
        .into_iter()
        .find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        })
        .unwrap();
    let values: Vec<_> = (0..row.len()).map(|at| row.get(at).unwrap_or("NULL")).collect();
    println!("  {sql};\n      {}", values.join(" | "));
    row
}
