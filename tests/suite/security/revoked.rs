//! A right that was taken away is gone, also for a transaction that has used it already.

use pgq_tests::scratch_database;

use pgq_tests::query::{outcome, row, run};

const INSERT: &str = "select pgq.insert_event_raw('q', null, now(), null, null, 't', 'd', null, null, null, null) > 0";

#[test]
fn a_right_that_was_revoked_is_gone_within_a_transaction() {
    let database = scratch_database();
    let mut admin = database.connect();
    let role = format!("revoked_{}", database.name());
    run(
        &mut admin,
        &format!(
            "select pgq.create_queue('q');
             create role {role}_group; create role {role} login in role {role}_group;
             create table t (n int primary key);
             create trigger log after insert on t for each row execute function pgq.logutriga('q');
             grant insert on t to {role};
             grant execute on function pgq.insert_event(text, text, text, text, text, text, text)
                 to {role}_group;
             grant execute on function pgq.insert_event_raw(text, bigint, timestamptz, integer,
                 integer, text, text, text, text, text, text)
                to {role}"
        ),
    );
    let table = row(&mut admin, "select pgq.current_event_table('q')");
    let sequence = row(&mut admin, "select queue_event_seq from pgq.queue");
    let grants = [
        (format!("insert on {table}"), "ERROR 42501: permission denied for table event_1_0"),
        (
            format!("usage on sequence {sequence}"),
            "ERROR 42501: permission denied for sequence event_1_id_seq",
        ),
    ];
    let mut writer = database.connect_as(&role);
    for to in [role.clone(), format!("{role}_group")] {
        for (grant, _) in &grants {
            run(&mut admin, &format!("grant {grant} to {to}"));
        }
        for (grant, refusal) in &grants {
            run(&mut writer, "begin");
            assert_eq!(outcome(&mut writer, INSERT), "t");
            assert_eq!(outcome(&mut writer, INSERT), "t");
            run(&mut admin, &format!("revoke {grant} from {to}"));
            assert_eq!(&outcome(&mut writer, INSERT), refusal, "{grant} from {to}");
            run(&mut writer, "rollback");
            run(&mut admin, &format!("grant {grant} to {to}"));
        }
        run(&mut writer, "begin");
        assert_eq!(outcome(&mut writer, INSERT), "t");
        if to != role {
            run(&mut admin, &format!("revoke {role}_group from {role}"));
        } else {
            run(&mut admin, &format!("revoke all on {table}, {sequence} from {role}"));
        }
        assert!(outcome(&mut writer, INSERT).starts_with("ERROR 42501"), "{to}");
        run(&mut writer, "rollback");
    }

    // The same for a trigger's right to call the function.
    run(&mut admin, &format!("grant {role}_group to {role}"));
    run(&mut writer, "begin; insert into t values (1); insert into t values (2)");
    run(
        &mut admin,
        &format!(
            "revoke execute on function pgq.insert_event(text, text, text, text, text, text, text) from {role}_group"
        ),
    );
    assert_eq!(
        outcome(&mut writer, "insert into t values (3)"),
        "ERROR 42501: permission denied for function insert_event"
    );
    run(&mut writer, "rollback");
    drop(writer);
    run(&mut admin, &format!("drop owned by {role}, {role}_group; drop role {role}, {role}_group"));
}
