//! Everything in databases of several encodings, with names of queues and consumers that are not
//! ASCII.
//!
//! Names are SQL expressions here: in a database without an encoding they can be bytes that are no
//! text for the client.

use std::sync::OnceLock;

use pgq_tests::{Cluster, PATIENCE, wait_until};
use postgres::Client;

use pgq_tests::programs::{pgq, stderr};
use pgq_tests::query::{outcome, row, rows, run};

/// One server for all of them, as its workers share memory, with a worker for each.
fn server() -> &'static Cluster {
    static SERVER: OnceLock<Cluster> = OnceLock::new();
    SERVER.get_or_init(|| {
        Cluster::builder()
            .set("shared_preload_libraries", "pgq")
            .set("pgq.discovery_period", "200ms")
            .set("pgq.ticker_period", "50ms")
            .set("pgq.retry_period", "50ms")
            .set("pgq.maint_period", "100ms")
            .set("fsync", "off")
            .start()
    })
}

/// A database of this encoding with everything in it. `q` and `c` are the names of its queue and
/// consumer.
struct Place {
    client: Client,
    name: String,
    q: &'static str,
    c: &'static str,
}

fn place(encoding: &str, q: &'static str, c: &'static str) -> Place {
    let name = format!("in_{}", encoding.to_lowercase());
    run(
        &mut server().connect("postgres"),
        &format!("create database {name} encoding '{encoding}' locale 'C' template template0"),
    );
    let mut client = server().connect(&name);
    for extension in ["pgq", "pgq_coop", "pgq_node", "pgq_ext", "londiste"] {
        run(&mut client, &format!("create extension {extension}"));
    }
    run(
        &mut client,
        &format!(
            "select pgq.create_queue({q}), pgq.register_consumer({q}, {c});
             update pgq.queue set queue_ticker_max_lag = '10 ms',
                 queue_ticker_idle_period = '10 ms'"
        ),
    );
    Place { client, name, q, c }
}

impl Place {
    /// Wait for a batch and finish it, until an event with this condition came, which is left in
    /// its open batch.
    fn wait_for_event(&mut self, condition: &str) -> (String, String) {
        let Self { client, q, c, .. } = self;
        let mut found = None;
        let came = wait_until(PATIENCE, || {
            let batch = row(client, &format!("call pgq.wait_batch({q}, {c}, '1 s')"));
            if batch == "∅" {
                return false;
            }
            let events = rows(
                client,
                &format!("select ev_id from pgq.get_batch_events({batch}) where {condition}"),
            );
            match events.first() {
                Some(event) => found = Some((batch, event.clone())),
                None => run(client, &format!("select pgq.finish_batch({batch})")),
            }
            found.is_some()
        });
        assert!(came, "{}: no event where {condition}", self.name);
        found.unwrap()
    }

    fn finish(&mut self, batch: &str) {
        run(&mut self.client, &format!("select pgq.finish_batch({batch})"));
    }

    fn wait_for(&mut self, sql: &str) {
        let client = &mut self.client;
        assert!(wait_until(PATIENCE, || row(client, sql) == "t"), "{}: {sql}", self.name);
    }
}

/// Producers, triggers, waiting, retries, ticks by rule and on demand, rotation, the other
/// extensions.
fn everything_works(place: &mut Place, data: &str) {
    let (q, c) = (place.q, place.c);
    let insert = format!("select pgq.insert_event({q}, {data}, {data}, {data}, null, null, null)");
    run(&mut place.client, &insert);
    let condition = format!("(ev_type, ev_data, ev_extra1) = ({data}, {data}, {data})");
    let (batch, event) = place.wait_for_event(&condition);
    run(&mut place.client, &format!("select pgq.event_retry({batch}, {event}, 0)"));
    place.finish(&batch);
    let (batch, again) = place.wait_for_event(&format!("ev_retry = 1 and {condition}"));
    assert_eq!(again, event);
    let filtered = row(
        &mut place.client,
        &format!(
            "select ev_id from pgq.get_batch_cursor({batch}, 'c', 10, 'ev_data = ' || quote_literal({data}))"
        ),
    );
    assert_eq!(filtered, event);
    place.finish(&batch);

    // Nobody waits: by rule.
    let ticks = row(&mut place.client, "select max(tick_id) from pgq.tick");
    place.wait_for(&format!("select max(tick_id) > {ticks} + 2 from pgq.tick"));

    run(
        &mut place.client,
        &format!(
            "create table changing (id int primary key, v text);
             do $$ begin
                execute format('create trigger log after insert on changing for each row
                                    execute function pgq.logutriga(%L)', {q});
             end $$;
             insert into changing values (1, {data})"
        ),
    );
    let (batch, _) = place.wait_for_event("ev_extra1 = 'public.changing'");
    place.finish(&batch);
    run(
        &mut place.client,
        &format!(
            "with table_ as (select pgq.current_event_table({q}) as name) select name from table_;
             select pgq.insert_events({q}, array[{data}, 'b'], array['x', {data}])"
        ),
    );
    let (batch, _) = place.wait_for_event(&format!("ev_data = {data} and ev_type = 'b'"));
    place.finish(&batch);

    run(&mut place.client, "update pgq.queue set queue_rotation_period = '0'");
    let table = row(&mut place.client, "select queue_cur_table from pgq.queue");
    let client = &mut place.client;
    let rotated = wait_until(PATIENCE, || {
        let batch = row(client, &format!("call pgq.wait_batch({q}, {c}, '0')"));
        if batch != "∅" {
            run(client, &format!("select pgq.finish_batch({batch})"));
        }
        row(client, "select queue_cur_table from pgq.queue") != table
    });
    assert!(rotated, "{}: no rotation", place.name);

    // The worker lays ticks meanwhile, so there may or may not be a batch.
    run(
        &mut place.client,
        &format!(
            "select pgq_coop.register_subconsumer({q}, {c} || '+', {data});
             select pgq_coop.next_batch({q}, {c} || '+', {data})"
        ),
    );
    assert_eq!(
        row(
            &mut place.client,
            &format!(
                "select pgq_coop.unregister_subconsumer({q}, {c} || '+', {data}, 1),
                        pgq_ext.set_batch_done({c}, {data}, 1),
                        pgq_ext.is_batch_done({c}, {data}, 1)"
            )
        ),
        "1|t|t"
    );
    run(
        &mut place.client,
        &format!(
            "do $$ begin
                perform pgq_node.register_location({q} || '+', {data}, 'dbname=' || {data}, false);
                perform pgq_node.create_node({q} || '+', 'root', {data}, {c} || '.worker', null,
                    null, null);
             end $$"
        ),
    );
    assert_eq!(
        row(
            &mut place.client,
            &format!("select node_name = {data} from pgq_node.get_node_info({q} || '+')")
        ),
        "t"
    );
    // A table with such a name is attached, captured and detached again.
    run(
        &mut place.client,
        &format!(
            "do $$ begin
                execute format('create table %I (id integer primary key)', {data});
                perform londiste.local_add_table({q} || '+', {data});
                execute format('insert into %I values (1)', {data});
             end $$"
        ),
    );
    let is_captured = format!(
        "select count(*) = 1 from pgq.event_template
          where ev_type = 'I:id' and ev_extra1 = 'public.' || {data}"
    );
    assert_eq!(row(&mut place.client, &is_captured), "t");
    let is_detached =
        format!("select ret_code = 200 from londiste.local_remove_table({q} || '+', {data})");
    assert_eq!(row(&mut place.client, &is_detached), "t");
    assert_eq!(
        row(&mut place.client, "select count(*) from pg_trigger where tgname like '\\_londiste%'"),
        "0"
    );
}

/// A queue whose name is longer than shared memory has room for is named as far as that goes, when
/// it fails.
fn failures_are_told(place: &mut Place) {
    let q = place.q;
    run(&mut place.client, &format!("select pgq.create_queue('x' || repeat({q}, 200))"));
    let broken = format!(
        "(select queue_id from pgq.queue where queue_name in ({q}, 'x' || repeat({q}, 200)))"
    );
    run(
        &mut place.client,
        &format!(
            "do $$ declare r record; begin
                for r in select queue_tick_seq as seq, queue_id as id from pgq.queue
                          where queue_id in {broken} loop
                    execute format('alter sequence %s rename to gone_%s', r.seq, r.id);
                end loop;
             end $$;
             update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'"
        ),
    );
    place.wait_for(&format!(
        "select count(*) = 1 from pgq.queue_health() where queue_name = {q} and code = 'tick_failed'"
    ));
    place.wait_for("select count(*) = 2 from pgq._worker_problems() where task = 'tick'");
    place.wait_for("select bool_and(last_error like 'tick of %') from pgq.worker_status() where database_name = current_database()");
    // What there is of it is the beginning of the name.
    place.wait_for(&format!(
        "select bool_and(starts_with('x' || repeat({q}, 200), object) and length(object) > 40)
           from pgq._worker_problems() where object like 'x%'"
    ));
    run(&mut place.client, "select count(*) from pgq.metrics()");
    run(
        &mut place.client,
        "do $$ declare r record; begin
            for r in select 'pgq.gone_' || queue_id as seq,
                            split_part(queue_tick_seq, '.', 2) as name
                       from pgq.queue
                      where to_regclass(queue_tick_seq) is null loop
                execute format('alter sequence %s rename to %s', r.seq, r.name);
            end loop;
         end $$",
    );
    place.wait_for("select count(*) = 0 from pgq.queue_health() where code = 'tick_failed'");
}

/// The client sees names and data as they are.
fn the_client_consumes(place: &mut Place, q: &str, c: &str, data: &str) {
    run(&mut place.client, &format!("select pgq.insert_event({}, 'last', '{data}')", place.q));
    let output = pgq(&["consume", q, c, "--once"])
        .env("PGQ_DSN", server().conninfo(&place.name))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(data), "{text}\n{}", stderr(&output));
    let output = pgq(&["status"]).env("PGQ_DSN", server().conninfo(&place.name)).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(q) && text.contains(c), "{text}\n{}", stderr(&output));
}

fn drop_all(place: &mut Place) {
    assert_eq!(
        outcome(
            &mut place.client,
            &format!(
                "select pgq.unregister_consumer({0}, {1}) = 1, pgq.drop_queue({0}, true) = 1",
                place.q, place.c
            )
        ),
        "t|t"
    );
}

#[test]
fn everything_works_in_a_utf8_database() {
    let mut place = place("UTF8", "'キュー é'", "'ü'");
    everything_works(&mut place, "'数 😀'");
    the_client_consumes(&mut place, "キュー é", "ü", "数 😀");
    failures_are_told(&mut place);
    drop_all(&mut place);
}

#[test]
fn everything_works_in_a_euc_jp_database() {
    let mut place = place("EUC_JP", "'キュー'", "'漢字'");
    everything_works(&mut place, "'表 円 数'");
    the_client_consumes(&mut place, "キュー", "漢字", "表 数");
    failures_are_told(&mut place);
    drop_all(&mut place);
}

#[test]
fn everything_works_in_a_latin1_database() {
    let mut place = place("LATIN1", "'café'", "'ÿ'");
    everything_works(&mut place, "'ß \u{a0} é'");
    the_client_consumes(&mut place, "café", "ÿ", "ß é");
    failures_are_told(&mut place);
    drop_all(&mut place);
}

#[test]
fn everything_works_in_a_database_without_an_encoding() {
    // Bytes of the client, and bytes that are text in no encoding.
    let mut utf8 = place("SQL_ASCII", "'キュー'", "'ü'");
    everything_works(&mut utf8, "'数'");
    the_client_consumes(&mut utf8, "キュー", "ü", "数");
    drop_all(&mut utf8);
    run(&mut server().connect("postgres"), "drop database in_sql_ascii with (force)");
    drop(utf8);
    let mut bytes = place("SQL_ASCII", r"E'caf\xe9\xff'", r"E'\xfe\x80'");
    everything_works(&mut bytes, r"E'\xc3 \xf5'");
    failures_are_told(&mut bytes);
    drop_all(&mut bytes);
}

/// The server converts a script to the database's encoding, which may lack a character.
#[test]
fn scripts_of_the_extensions_are_ascii() {
    let mut seen = 0;
    let mut directories =
        vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../sql"))];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                seen += 1;
                assert!(std::fs::read(&path).unwrap().is_ascii(), "{}", path.display());
            }
        }
    }
    assert!(seen > 80, "only {seen} files");
}
