//! What outlives a dump and a restore.

use pgq_tests::query::{row, rows, run};
use pgq_tests::{Tree, scratch_database_on};

use super::{ack, drain, numbers, queue, receive, retry_now, send, tick};

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
    let mut here = to.connect();
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
