//! Consumers and queues that go by force, while somebody gives messages up.

use std::thread;

use pgq_tests::query::{outcome, row, run};
use pgq_tests::{PATIENCE, wait_until};

use super::{ack, queue, receive, send, tick};

/// Who gives up a message again has its subscription and wants its letter; who drops both must not
/// have the letter and want the subscription.
#[test]
fn who_gives_up_and_who_drops_do_not_deadlock() {
    for (call, answer) in [("unsubscribe('q', 'c', true)", "1"), ("drop_queue('q', true)", "1")] {
        let (database, mut client) = queue();
        run(&mut client, "select pgq.set_queue_config('q', 'max_retries', '0')");
        send(&mut client, 0..1);
        tick(&mut client);
        let (batch, _) = receive(&mut client, "c", 1);
        run(&mut client, &format!("select pgq.nack({batch}, 1)"));
        ack(&mut client, batch);
        run(&mut client, "select pgq.seek('q', 'c', 1)");

        run(&mut client, "begin");
        let (batch, _) = receive(&mut client, "c", 1);
        let mut other = database.connect();
        let pid = row(&mut other, "select pg_backend_pid()");
        let dropped = thread::scope(|scope| {
            let dropping = scope.spawn(|| outcome(&mut other, &format!("select pgq.{call}")));
            let waits = format!(
                "select count(*) from pg_stat_activity where pid = {pid} and wait_event_type = 'Lock'"
            );
            let mut watcher = database.connect();
            assert!(wait_until(PATIENCE, || row(&mut watcher, &waits) == "1"), "{call}");
            assert_eq!(outcome(&mut client, &format!("select pgq.nack({batch}, 1)")), "dead");
            run(&mut client, "commit");
            dropping.join().unwrap()
        });
        assert_eq!(dropped, answer, "{call}");
        assert_eq!(row(&mut client, "select count(*) from pgq.dead_letter"), "0");
        assert_eq!(row(&mut client, "select count(*) from pgq.aside"), "0");
    }
}
