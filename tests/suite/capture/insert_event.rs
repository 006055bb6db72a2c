//! The way from a trigger to `pgq.insert_event`: replaceable, and under its permissions.

use super::{database, expect_error, expect_events, take_events};

const SIGNATURE: &str =
    "pgq.insert_event(queue_name text, ev_type text, ev_data text, ev_extra1 text,
     ev_extra2 text, ev_extra3 text, ev_extra4 text) returns bigint";

#[test]
fn a_replacement_is_called_from_the_next_row_on() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create table t (id int primary key, v text); create table stub (line text);
         create trigger t after insert on t for each row
             execute function pgq.logutriga('q', 'ev_extra2=null', 'ev_extra3=$$$$')",
    )
    .unwrap();
    let definition: String = db
        .query_one(
            "select pg_get_functiondef('pgq.insert_event(text,text,text,text,text,text,text)'::regprocedure)",
            &[],
        )
        .unwrap()
        .get(0);
    for round in 0..3 {
        expect_events(
            &mut db,
            &format!("insert into t values ({round}, 'a')"),
            &[&format!("I:id|id={round}&v=a|public.t|∅|")],
        );
        db.batch_execute(&format!(
            "create or replace function {SIGNATURE} language plpgsql as $$ begin
                 insert into stub values (concat_ws('/', queue_name, ev_type, ev_data, ev_extra1,
                     coalesce(ev_extra2, '<NULL>'), coalesce(ev_extra3, '<NULL>'),
                     coalesce(ev_extra4, '<NULL>')));
                 return 1;
             end $$"
        ))
        .unwrap();
        expect_events(&mut db, &format!("insert into t values (1{round}, 'b')"), &[]);
        let line: String = db.query_one("delete from stub returning line", &[]).unwrap().get(0);
        assert_eq!(line, format!("q/I:id/id=1{round}&v=b/public.t/<NULL>//<NULL>"));
        db.batch_execute(&definition).unwrap();
    }
    // Renamed away, there is nothing to call.
    db.batch_execute(
        "alter function pgq.insert_event(text,text,text,text,text,text,text) rename to gone",
    )
    .unwrap();
    expect_error(
        &mut db,
        "insert into t values (99)",
        "42883",
        "function pgq.insert_event(text, text, text, text, text, text, text) does not exist",
    );
}

#[test]
fn writing_to_a_captured_table_takes_the_right_to_insert_events() {
    let (scratch, mut db) = database();
    let role = format!("capture_{}", scratch.name());
    db.batch_execute(&format!(
        "create role {role} login; create table t (id int primary key); grant insert on t to {role};
         create trigger t after insert on t for each row execute function pgq.logutriga('q')"
    ))
    .unwrap();
    let mut user = scratch.connect_as(&role);
    let denied = |user: &mut postgres::Client, statement: &str, message: &str| {
        let error = user.batch_execute(statement).unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!((error.code().code(), error.message()), ("42501", message));
    };
    let no_function = "permission denied for function insert_event";
    denied(&mut user, "insert into t values (1)", no_function);
    db.batch_execute(&format!("grant pgq_writer to {role}")).unwrap();
    // Granted while the session runs, and without any right to the event tables.
    user.batch_execute("insert into t values (2)").unwrap();
    denied(
        &mut user,
        "insert into pgq.event_1_0 (ev_data) values ('x')",
        "permission denied for table event_1_0",
    );
    let whoami: String = user.query_one("select current_user::text", &[]).unwrap().get(0);
    assert_eq!(whoami, role, "the caller is himself again");
    db.batch_execute(&format!("revoke pgq_writer from {role}")).unwrap();
    denied(&mut user, "insert into t values (3)", no_function);
    db.batch_execute(&format!(
        "grant pgq_writer to {role}; revoke usage on schema pgq from public"
    ))
    .unwrap();
    denied(&mut user, "insert into t values (4)", "permission denied for schema pgq");
    db.batch_execute("grant usage on schema pgq to public").unwrap();
    user.batch_execute("insert into t values (5)").unwrap();
    // Within one session, each user's own right counts.
    db.batch_execute(&format!("revoke pgq_writer from {role}")).unwrap();
    for _ in 0..2 {
        db.batch_execute("insert into t values (6); delete from t").unwrap();
        denied(&mut db, &format!("set role {role}; insert into t values (7)"), no_function);
        db.batch_execute("reset role").unwrap();
    }
    assert_eq!(take_events(&mut db).len(), 4);
    drop(user);
    db.batch_execute(&format!("drop owned by {role}; drop role {role}")).unwrap();
}

#[test]
fn the_limit_of_a_transaction_counts_captured_events() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create table t (id int primary key);
         create trigger t after insert on t for each row execute function pgq.logutriga('q');
         update pgq.queue set queue_per_tx_limit = 2",
    )
    .unwrap();
    expect_events(
        &mut db,
        "insert into t values (1), (2)",
        &["I:id|id=1|public.t", "I:id|id=2|public.t"],
    );
    expect_error(
        &mut db,
        "insert into t values (3), (4), (5)",
        "54000",
        "Queue 'q' allows max 2 events from one TX",
    );
}
