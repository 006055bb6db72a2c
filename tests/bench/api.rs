//! The queue API next to the calls under it: sending, sending many, and receiving in pages.
//! Backend CPU time; variants in turn, the median of the rounds' ratios.

use postgres::Client;

use crate::measure::{Measured, Series};
use crate::servers::Servers;

const ROUNDS: usize = 11;
/// Messages of a round, in one transaction.
const MESSAGES: usize = 10_000;
const PAGE: i32 = 100;
const PAYLOAD: &str = "{\"order\": 17, \"customer\": \"somebody\", \"total\": \"12.50\"}";

pub(crate) fn run(servers: &Servers) {
    println!("api (backend CPU; {MESSAGES} messages a round, medians of {ROUNDS} rounds)");
    let mut server = Measured::new(servers.ours.connect("postgres"));
    for queue in ["api_single", "api_many", "api_read"] {
        let set_up = format!(
            "select pgq.create_queue('{queue}'), pgq.set_queue_config('{queue}', \
             'ticker_max_lag', '0'), pgq.set_queue_config('{queue}', 'ticker_idle_period', '0')"
        );
        server.client.batch_execute(&set_up).unwrap();
    }
    send_one(&mut server);
    send_many(&mut server);
    receive(&mut server);
}

fn report(ours: &Series, below: &Series, target: &str) {
    let (name, other) = (ours.name, below.name);
    println!("  {name}: {:.2}x the CPU of {other} ({target})", below.times_cheaper_than(ours));
}

fn send_one(server: &mut Measured) {
    let mut ours = Series::new("send");
    let mut below = Series::new("insert_event");
    for _ in 0..ROUNDS {
        for (series, sql) in [
            (&mut ours, "select pgq.send('api_single', 'paid', $1::text)"),
            (&mut below, "select pgq.insert_event('api_single', 'paid', $1::text)"),
        ] {
            let statement = server.client.prepare(sql).unwrap();
            series.costs.push(server.cost(|client| {
                let mut transaction = client.transaction().unwrap();
                for _ in 0..MESSAGES {
                    transaction.execute(&statement, &[&PAYLOAD]).unwrap();
                }
                transaction.commit().unwrap();
            }));
        }
    }
    report(&ours, &below, "target 1 / 0.85");
}

fn send_many(server: &mut Measured) {
    let mut ours = Series::new("send_batch");
    let mut below = Series::new("insert_events");
    let payloads = vec![PAYLOAD; MESSAGES];
    let types = vec!["paid"; MESSAGES];
    for _ in 0..ROUNDS {
        ours.costs.push(server.cost(|client| {
            let sql = "select pgq.send_batch('api_many', 'paid', $1::text[])";
            client.query_one(sql, &[&payloads]).unwrap();
        }));
        below.costs.push(server.cost(|client| {
            let sql = "select pgq.insert_events('api_many', $1::text[], $2::text[])";
            client.query_one(sql, &[&types, &payloads]).unwrap();
        }));
    }
    report(&ours, &below, "target 1");
}

/// One batch, read by one consumer in pages and by another at once.
fn receive(server: &mut Measured) {
    let mut pages = Series::new("receive and ack in pages of 100");
    let mut whole = Series::new("get_batch_events once");
    let set_up = "select pgq.subscribe('api_read', 'pages'), pgq.subscribe('api_read', 'whole')";
    server.client.batch_execute(set_up).unwrap();
    for _ in 0..ROUNDS {
        let fill = format!(
            "select count(pgq.insert_event('api_read', 'paid', '{PAYLOAD}')) from \
             generate_series(1, {MESSAGES})"
        );
        server.client.batch_execute(&fill).unwrap();
        server.client.batch_execute("select pgq.ticker('api_read')").unwrap();
        pages.costs.push(server.cost(in_pages));
        whole.costs.push(server.cost(at_once));
    }
    report(&pages, &whole, "target 1.5");
}

fn in_pages(client: &mut Client) {
    let receive = client.prepare("select * from pgq.receive('api_read', 'pages', $1)").unwrap();
    let ack = client.prepare("select pgq.ack($1)").unwrap();
    let mut received = 0;
    loop {
        let mut transaction = client.transaction().unwrap();
        let page = transaction.query(&receive, &[&PAGE]).unwrap();
        let Some(first) = page.first() else { break };
        received += page.len();
        transaction.query_one(&ack, &[&first.get::<_, i64>("batch_id")]).unwrap();
        transaction.commit().unwrap();
    }
    assert_eq!(received, MESSAGES, "all pages of the batch");
}

fn at_once(client: &mut Client) {
    let batch: i64 =
        client.query_one("select pgq.next_batch('api_read', 'whole')", &[]).unwrap().get(0);
    let events = client.query("select * from pgq.get_batch_events($1)", &[&batch]).unwrap();
    assert_eq!(events.len(), MESSAGES, "the batch");
    client.query_one("select pgq.finish_batch($1)", &[&batch]).unwrap();
}
