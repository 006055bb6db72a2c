//! What outlives a dump and a restore.

use pgq_tests::query::{outcome, row, rows, run};
use pgq_tests::{PATIENCE, Scratch, Tree, scratch_database_on, wait_until};
use postgres::Client;

use super::{ack, drain, numbers, queue, receive, retry_now, send, tick};

/// A session in a database that a dump of this one was restored into.
fn restored(from: &Scratch) -> (Scratch, Client) {
    let to = scratch_database_on(Tree::Ours);
    let file = from.cluster().dir().join(format!("{}.sql", to.name()));
    let path = file.to_str().unwrap();
    for (program, arguments) in [
        ("pg_dump", vec!["-d", from.name(), "-f", path]),
        ("psql", vec!["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", to.name(), "-f", path]),
    ] {
        let output = from.cluster().command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let client = to.connect();
    (to, client)
}

#[test]
fn pages_letters_and_settings_go_through_a_dump() {
    let (from, mut there) = queue();
    run(
        &mut there,
        "select pgq.set_queue_config('q', 'max_retries', '0');
         select pgq.subscribe('q', 'strict')",
    );
    send(&mut there, 0..10);
    tick(&mut there);
    let (batch, _) = receive(&mut there, "strict", 4);
    run(&mut there, &format!("select pgq.nack({batch}, 2, reason => 'bad')"));
    ack(&mut there, batch);
    run(&mut there, "select pgq.set_queue_config('q', 'max_retries', '7')");
    let (batch, _) = receive(&mut there, "strict", 4);
    run(&mut there, &format!("select pgq.nack({batch}, 5)"));

    let (_to, mut here) = restored(&from);
    for query in [
        "select * from pgq.dead_letter",
        "select * from pgq.queue_option",
        "select * from pgq.page order by 2",
    ] {
        assert_eq!(rows(&mut here, query), rows(&mut there, query), "{query}");
    }
    run(&mut here, "select pgq.rebase()");
    // Who has the page may go on with it; the one that was put aside is out of its way.
    assert_eq!(row(&mut here, &format!("select pgq.ack({batch}, 6)")), "1");
    assert_eq!(drain(&mut here, "strict", 3), (vec![3, 1], numbers(6..10)));
    assert_eq!(drain(&mut here, "c", 100).1, numbers(0..10));
    retry_now(&mut here);
    assert_eq!(drain(&mut here, "strict", 3).1, ["4"]);
    assert_eq!(row(&mut here, "select pgq.dead_replay('q', 'strict')"), "1");
    retry_now(&mut here);
    assert_eq!(drain(&mut here, "strict", 3).1, ["1"]);
}

/// What is delivered must not be so again, and what is not must be, also where transaction ids are
/// not those of the cluster that it was sent in.
#[test]
fn what_is_delayed_and_what_is_unique_goes_through_a_dump() {
    let (from, mut there) = queue();
    let unique = "select pgq.send('q', 't', 'unique', unique_key => 'k')";
    let id = row(&mut there, unique);
    let after = |payload: &str, wait: &str| {
        format!("select pgq.send('q', 't', '{payload}', deliver_at => now() + interval '{wait}')")
    };
    run(&mut there, &after("delivered", "1 ms"));
    assert!(wait_until(PATIENCE, || row(&mut there, "select pgq.maint_delayed()") == "1"));
    run(&mut there, &after("later", "1 hour"));
    let (_to, mut here) = restored(&from);
    run(&mut here, "select pgq.rebase()");
    assert_eq!(row(&mut here, unique), id);
    assert_eq!(row(&mut here, "select pgq.maint_delayed()"), "0");
    assert_eq!(rows(&mut here, "select dl_data from pgq.delayed"), ["later"]);
    run(
        &mut here,
        "update pgq.delayed set dl_due = dl_due - interval '1 hour', dl_txid = dl_txid + 1000000000",
    );
    let foreign = outcome(&mut here, "select pgq.maint_delayed()");
    assert!(foreign.starts_with("ERROR XX001"), "{foreign}");
    run(&mut here, "select pgq.rebase()");
    assert_eq!(row(&mut here, "select pgq.maint_delayed()"), "1");
    assert_eq!(row(&mut here, "select pgq.maint_delayed()"), "0");
    tick(&mut here);
    let mut got = drain(&mut here, "c", 10).1;
    got.sort_unstable();
    assert_eq!(got, ["delivered", "later", "unique"]);
}
