//! Waiting for messages.

use pgq_tests::query::{outcome, patient, row, rows, run};
use pgq_tests::{PATIENCE, scratch_database_with_worker, wait_until};

use super::{numbers, queue, send, tick};

const PAYLOADS: &str = "
    create table got (payload text);
    create procedure collect(most int) language plpgsql as $$
    declare
        found pgq.message[];
        n int := 0;
    begin
        while n < most loop
            call pgq.wait_receive('q', 'c', null, 10, found);
            insert into got select payload from unnest(found);
            n := n + cardinality(found);
            perform pgq.ack(found[1].batch_id);
            commit;
        end loop;
    end;
    $$";

#[test]
fn messages_arrive_where_somebody_waits() {
    let database = scratch_database_with_worker();
    let mut client = database.connect();
    run(&mut client, "select pgq.create_queue('q'), pgq.subscribe('q', 'c')");
    run(&mut client, PAYLOADS);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| run(&mut patient(database.connect()), "call collect(50)"));
        let waits = "select count(*) from pg_stat_activity
                      where datname = current_database() and wait_event_type = 'Extension'
                        and backend_xmin is null and backend_xid is null
                        and query like 'call collect%'";
        assert!(
            wait_until(PATIENCE, || row(&mut client, waits) == "1"),
            "it waits, with no snapshot"
        );
        for n in 0..50 {
            send(&mut client, [n]);
        }
        waiting.join().unwrap();
    });
    assert_eq!(rows(&mut client, "select payload from got order by payload::int"), numbers(0..50));
}

#[test]
fn who_looks_once_gets_what_is_there() {
    let (_database, mut client) = queue();
    let look = "call pgq.wait_receive('q', 'c', '0', 2, null)";
    assert_eq!(row(&mut client, look), "{}");
    send(&mut client, 0..3);
    tick(&mut client);
    // A page that is put aside is passed.
    let first = row(&mut client, look);
    assert_eq!(first.matches(",t,").count(), 2, "{first}");
    run(&mut client, "select pgq.nack(page_id, id) from pgq.page, unnest('{1,2}'::int[]) id");
    let second = row(&mut client, look);
    assert!(second.starts_with("{\"(3,"), "{second}");
    run(&mut client, "select pgq.ack(page_id) from pgq.page");
    assert_eq!(row(&mut client, look), "{}");
    for (call, error) in [
        ("begin; call pgq.wait_receive('q', 'c')", "ERROR 25001"),
        ("rollback; call pgq.wait_receive(null, 'c')", "ERROR 22004"),
        ("call pgq.wait_receive('q', 'x', '0')", "ERROR 42704"),
        ("call pgq.wait_receive('q', 'c', '-1 s')", "ERROR 22023"),
    ] {
        for call in call.split("; ").filter(|call| !call.contains("call")) {
            run(&mut client, call);
        }
        let last = call.split("; ").last().unwrap();
        let answer = outcome(&mut client, last);
        assert!(answer.starts_with(error), "{call}: {answer}");
    }
    send(&mut client, 0..1);
    tick(&mut client);
    let answer = outcome(&mut client, "call pgq.wait_receive('q', 'c', '0', 0)");
    assert!(answer.starts_with("ERROR 22023: max_return"), "{answer}");
}
