//! What health says of a queue that keeps events.

use pgq_tests::query::{row, rows, run};

use super::{queue, send, tick};

#[test]
fn health_says_when_what_is_kept_will_be_too_large() {
    let (_database, mut client) = queue();
    run(&mut client, "set pgq.health_table_size = '20MB'");
    send(&mut client, (0..1000).map(|_| "x".repeat(1000)));
    tick(&mut client);
    run(&mut client, "update pgq.tick set tick_time = tick_time - interval '2 hours'");
    let said = "select finding from pgq.queue_health() where code = 'keep_large'";
    assert_eq!(rows(&mut client, said), Vec::<String>::new());
    for (keep, is_said) in [("1 hour", "0"), ("7 days", "1")] {
        run(&mut client, &format!("select pgq.set_queue_config('q', 'keep', '{keep}')"));
        let count = format!("select count(*) from ({said}) s where finding like '%for {keep},%'");
        assert_eq!(row(&mut client, &count), is_said, "{keep}");
    }
    run(&mut client, "set pgq.health_table_size = '100kB'");
    let remedy = "select remedy like 'Keep less:%7 days now%' from pgq.queue_health()
                   where code = 'tables_large'";
    assert_eq!(row(&mut client, remedy), "t");
}

#[test]
fn health_says_that_tables_wait_for_what_is_kept() {
    let (_database, mut client) = queue();
    run(
        &mut client,
        "select pgq.unsubscribe('q', 'c');
         update pgq.queue set queue_rotation_period = '0',
                              queue_switch_time = now() - interval '3 days'",
    );
    let codes = "select code, severity from pgq.queue_health() where code like 'rotation%'";
    assert_eq!(rows(&mut client, codes), ["rotation_late|warning"]);
    run(&mut client, "select pgq.set_queue_config('q', 'keep', '1 day')");
    assert_eq!(rows(&mut client, codes), ["rotation_held_by_keep|info"]);
}
