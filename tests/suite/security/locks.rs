//! Nobody who can merely connect holds up ticks, rotation or registration.

use pgq_tests::scratch_database;

use pgq_tests::query::{outcome, patient, row, rows, run};

#[test]
fn no_lock_that_sql_can_take_holds_up_a_queue() {
    let database = scratch_database();
    let mut client = patient(database.connect());
    run(&mut client, "select pgq.create_queue('q')");
    let nobody = format!("{}_nobody", database.name());
    run(&mut client, &format!("create role {nobody} login"));
    let mut attacker = database.connect_as(&nobody);
    // All that SQL has to offer: two keys or one, shared or not, to the end of the transaction or
    // the session.
    run(&mut attacker, "begin");
    for class in ["1885827444", "1885827442", "1885827433"] {
        for key in 0..=1 {
            let one = format!("(({class}::bigint << 32) | {key})");
            for function in [
                "pg_advisory_lock",
                "pg_advisory_xact_lock",
                "pg_advisory_lock_shared",
                "pg_advisory_xact_lock_shared",
            ] {
                run(&mut attacker, &format!("select {function}({class}, {key}), {function}{one}"));
            }
        }
    }
    for function in ["_lock", "_lock_shared", "_try_lock"] {
        run(&mut attacker, "savepoint s");
        let said = outcome(&mut attacker, &format!("select pgq.{function}('ticks', 1)"));
        assert!(said.starts_with("ERROR 42501"), "{function}: {said}");
        run(&mut attacker, "rollback to s");
    }
    for mode in [
        "access share",
        "row share",
        "row exclusive",
        "share update exclusive",
        "exclusive",
        "access exclusive",
    ] {
        for table in ["queue", "tick", "subscription", "consumer", "retry_queue", "event_1_0"] {
            run(&mut attacker, "savepoint s");
            let said = outcome(&mut attacker, &format!("lock table pgq.{table} in {mode} mode"));
            let is_reader =
                mode == "access share" && !["retry_queue", "event_1_0"].contains(&table);
            if !is_reader {
                assert!(said.starts_with("ERROR 42501"), "{table} {mode}: {said}");
                run(&mut attacker, "rollback to s");
            }
        }
    }

    run(&mut client, "set lock_timeout = '30s'");
    run(
        &mut client,
        "update pgq.queue set queue_rotation_period = '0', queue_ticker_max_lag = '0'",
    );
    for call in [
        "select pgq.force_tick('q')",
        "select pgq.ticker('q')",
        "select pgq.ticker()",
        "select pgq._tick_on_demand('q')",
        "select pgq.register_consumer('q', 'c')",
        "select pgq.maint_rotate_tables_step1('q')",
        "select pgq.maint_rotate_tables_step2()",
        "select pgq.pause_queue('q')",
        "select pgq.resume_queue('q')",
        "select pgq.rebase()",
        "select pgq.create_queue('p')",
        "select pgq.drop_queue('q', true)",
    ] {
        if call.contains("step1") {
            // Not given up because of a lock.
            run(&mut client, "select pgq.unregister_consumer('q', 'c')");
        }
        let said = outcome(&mut client, call);
        assert!(!said.starts_with("ERROR"), "{call}: {said}");
        if call.contains("step1") {
            assert_eq!(row(&mut client, "select queue_cur_table from pgq.queue"), "1");
        }
    }
    drop(attacker);
    run(&mut client, &format!("drop role {nobody}"));
}

#[test]
fn the_locks_are_seen_and_keep_others_out() {
    let database = scratch_database();
    let (mut holder, mut other) = (database.connect(), patient(database.connect()));
    run(&mut holder, "select pgq.create_queue('q')");
    run(
        &mut holder,
        "begin; select pgq._lock('ticks', 1), pgq._lock_shared('rotation', 1), pgq._lock('ids', 0)",
    );
    let held = "select classid || ' ' || objid || ' ' || objsubid || ' ' || mode from pg_locks
                 where locktype = 'advisory'
                   and database = (select oid from pg_database where datname = current_database())
                 order by 1";
    assert_eq!(
        rows(&mut other, held),
        [
            "1885827433 0 3 ExclusiveLock",
            "1885827442 1 3 ShareLock",
            "1885827444 1 3 ExclusiveLock"
        ]
    );
    assert_eq!(row(&mut other, "select pgq._try_lock('ticks', 1)"), "f");
    assert_eq!(row(&mut other, "select pgq._try_lock('ticks', 2)"), "t");
    assert_eq!(row(&mut other, "select pgq._try_lock('rotation', 1)"), "f");
    assert_eq!(outcome(&mut other, "select pgq._lock_shared('rotation', 1)"), "");
    run(&mut other, "set lock_timeout = '20ms'");
    for waiting in
        ["select pgq.ticker('q')", "select pgq.drop_queue('q')", "select pgq.pause_queue('q')"]
    {
        assert!(outcome(&mut other, waiting).starts_with("ERROR 55P03"), "{waiting}");
    }
    // Rotation gives up instead; a savepoint gives its locks back, an end of the session's own
    // locks does not.
    run(
        &mut holder,
        "select pg_advisory_unlock_all(); savepoint s; select pgq._lock('ticks', 7); rollback to s",
    );
    assert_eq!(row(&mut other, "select pgq._try_lock('ticks', 7)"), "t");
    assert_eq!(row(&mut other, "select pgq._try_lock('ticks', 1)"), "f");
    run(&mut holder, "commit");
    assert_eq!(row(&mut other, "select pgq._try_lock('ticks', 1)"), "t");
    assert_eq!(
        outcome(&mut other, "select pgq._lock('tocks', 1)"),
        "ERROR 22023: no such lock: \"tocks\""
    );
    assert_eq!(
        outcome(&mut other, "select pgq._lock('ticks', null)"),
        "ERROR 22004: queue must not be NULL"
    );
}
