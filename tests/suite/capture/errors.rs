//! Misuse: each error by its text and SQLSTATE; the statement fails cleanly and nothing is queued.

use super::{database, expect_error, expect_events, take_events};
use postgres::Client;

/// Create a trigger `z` on `t`, expect the statement to fail, drop the trigger.
#[track_caller]
fn refuse(db: &mut Client, trigger: &str, statement: &str, code: &str, message: &str) {
    let (timing, call) = trigger.split_once(" | ").expect("timing | call");
    db.batch_execute(&format!("create trigger z {timing} execute function {call}")).unwrap();
    expect_error(db, statement, code, message);
    db.batch_execute("drop trigger z on t").unwrap();
}

fn table() -> (pgq_tests::Scratch, Client) {
    let (scratch, mut db) = database();
    db.batch_execute("create table t (id int, v int, name text); insert into t values (1, 2, 'n')")
        .unwrap();
    (scratch, db)
}

const ROW: &str = "after insert or update or delete on t for each row";
const INSERT: &str = "insert into t values (2, 3, 'm')";

#[test]
fn a_direct_call_is_refused() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create function logtriga() returns trigger language c as '$libdir/pgq', 'pgq_logtriga'",
    )
    .unwrap();
    for (call, name) in [
        ("pgq.logutriga()", "logutriga"),
        ("pgq.jsontriga()", "logutriga"),
        ("pgq.sqltriga()", "sqltriga"),
        ("logtriga()", "logtriga"),
    ] {
        let message = format!("pgq.{name} not called as trigger");
        expect_error(&mut db, &format!("select {call}"), "39P01", &message);
    }
}

#[test]
fn the_wrong_kind_of_trigger_is_refused() {
    let (_scratch, mut db) = table();
    for function in ["logutriga", "jsontriga", "sqltriga"] {
        refuse(
            &mut db,
            &format!("after insert on t for each statement | pgq.{function}('q')"),
            INSERT,
            "39P01",
            "pgq Ins/Upd/Del trigger must be fired FOR EACH ROW",
        );
        refuse(
            &mut db,
            &format!("{ROW} | pgq.{function}()"),
            INSERT,
            "22023",
            "pgq trigger must have destination queue as argument",
        );
        refuse(
            &mut db,
            &format!("{ROW} | pgq.{function}('q', 'SKIP')"),
            INSERT,
            "39P01",
            "SKIP does not work in AFTER trigger.",
        );
        for bad in ["", "skip", "Deny", "ev_extra5=1", "ignore", "key=id", "deny="] {
            refuse(
                &mut db,
                &format!("{ROW} | pgq.{function}('q', 'backup', '{bad}')"),
                INSERT,
                "22023",
                "bad param to pgq trigger",
            );
        }
    }
}

#[test]
fn options_about_rows_are_refused_for_truncate() {
    let (_scratch, mut db) = table();
    for (options, message) in [
        ("'ignore=v'", "Column ignore does not make sense for truncate trigger"),
        ("'pkey=id', 'backup'", "Custom pkey_list does not make sense for truncate trigger"),
        ("'backup', 'deny'", "Backup does not make sense for truncate trigger"),
        ("'ignore=v', 'when=true'", "Custom expressions do not make sense for truncater trigger"),
        ("'ev_type=1'", "Custom expressions do not make sense for truncater trigger"),
    ] {
        refuse(
            &mut db,
            &format!("before truncate on t | pgq.logutriga('q', {options})"),
            "truncate t",
            "22023",
            message,
        );
    }
    assert_eq!(db.query_one("select count(*) from t", &[]).unwrap().get::<_, i64>(0), 1);
}

#[test]
fn a_key_is_needed_and_must_not_change() {
    let (_scratch, mut db) = table();
    let no_key = "Update/Delete on table without pkey";
    for (function, options) in [
        ("logutriga", ""),
        ("jsontriga", ", 'pkey='"),
        ("sqltriga", ""),
        // A WHERE clause without conditions would hit every row.
        ("sqltriga", ", 'pkey=nosuch'"),
    ] {
        let trigger = format!("{ROW} | pgq.{function}('q'{options})");
        refuse(&mut db, &trigger, "update t set v = 3", "55000", no_key);
        refuse(&mut db, &trigger, "delete from t", "55000", no_key);
    }
    for function in ["logutriga", "jsontriga", "sqltriga"] {
        for options in ["", ", 'ignore=id'", ", 'ignore=v'"] {
            refuse(
                &mut db,
                &format!("{ROW} | pgq.{function}('q', 'pkey=id'{options})"),
                "update t set v = 5, id = 2",
                "55000",
                "primary key update not allowed",
            );
        }
    }
    db.batch_execute("update t set id = null").unwrap();
    let trigger = format!("{ROW} | pgq.sqltriga('q', 'pkey=id')");
    let message = "logtriga: Unexpected NULL key value";
    refuse(&mut db, &trigger, "update t set v = 3", "55000", message);
    refuse(&mut db, &trigger, "update t set v = v", "55000", message);
    refuse(&mut db, &trigger, "delete from t", "55000", message);
}

#[test]
fn expressions_are_checked() {
    let (_scratch, mut db) = table();
    let many: Vec<_> = (0..101).map(|n| format!("m{n}")).collect();
    db.batch_execute(&format!("alter table t add {} int", many.join(" int, add "))).unwrap();
    let too_many = format!("ev_extra2=concat({})", many.join(","));
    for (option, code, message) in [
        ("ev_extra1=\"id\"", "22023", "QB: syntax error"),
        ("ev_extra1=''id", "22023", "QB: syntax error"),
        ("ev_extra1=E''\\''", "22023", "QB: syntax error"),
        ("ev_extra1=$x$id", "22023", "QB: syntax error"),
        ("ev_extra1=/* /* */", "22023", "QB: syntax error"),
        (&*too_many, "22023", "Too many args"),
        ("ev_extra1=1 where id < 0", "22023", "Expect 1 row from override query, got 0"),
        ("ev_type=generate_series(1,3)", "22023", "Expect 1 row from override query, got 3"),
        ("when=id", "22023", "when= query result must be boolean, got=23"),
        ("when=", "22023", "when= query result must be boolean, got=0"),
        ("when=v > null", "22004", "when= should not be NULL"),
        ("ev_extra1=Name", "42703", "column \"name\" does not exist"),
        ("ev_extra1=t.id", "42P01", "missing FROM-clause entry for table \"t\""),
        ("ev_extra1=id/0", "22012", "division by zero"),
        ("ev_extra1=$1", "42P02", "there is no parameter $1"),
    ] {
        let trigger = format!("{ROW} | pgq.jsontriga('q', '{option}')");
        refuse(&mut db, &trigger, INSERT, code, message);
    }
    // Every expression is evaluated, even where the condition is false.
    refuse(
        &mut db,
        &format!("{ROW} | pgq.jsontriga('q', 'when=false', 'ev_extra4=1/0')"),
        INSERT,
        "22012",
        "division by zero",
    );
    refuse(
        &mut db,
        &format!("{ROW} | pgq.jsontriga('q', 'ev_extra1=nextval(''s'')', 'when=false')"),
        INSERT,
        "42P01",
        "relation \"s\" does not exist",
    );
    // Expressions may read, not write.
    db.batch_execute("create table other (n int)").unwrap();
    refuse(
        &mut db,
        &format!("{ROW} | pgq.jsontriga('q', 'ev_extra1=1; insert into other select 1')"),
        INSERT,
        "0A000",
        "INSERT is not allowed in a non-volatile function",
    );
}

#[test]
fn column_kinds_are_checked() {
    let (_scratch, mut db) = table();
    db.batch_execute(
        "create function logtriga() returns trigger language c as '$libdir/pgq', 'pgq_logtriga'",
    )
    .unwrap();
    let arguments = "pgq.logtriga must be used with 2 or 3 args";
    for (trigger, code, message) in [
        (format!("{ROW} | logtriga('q')"), "22023", arguments),
        (format!("{ROW} | logtriga('q', 'k', 't', 'x')"), "22023", arguments),
        (format!("{ROW} | logtriga('q', 'vvv')"), "22023", "need at least one key column"),
        (format!("{ROW} | logtriga('q', 'vvvk')"), "22023", "key column does not exist"),
        (
            "before insert on t for each row | logtriga('q', 'k')".to_owned(),
            "39P01",
            "pgq.logtriga must be fired AFTER",
        ),
    ] {
        refuse(&mut db, &trigger, INSERT, code, message);
    }
}

#[test]
fn an_unknown_queue_fails_the_statement() {
    let (_scratch, mut db) = table();
    refuse(&mut db, &format!("{ROW} | pgq.logutriga('nowhere')"), INSERT, "42704", "No such queue");
}

#[test]
fn a_failed_row_leaves_the_trigger_working() {
    let (_scratch, mut db) = table();
    db.batch_execute(
        "create trigger t after insert or update on t
             for each row execute function pgq.logutriga('q', 'pkey=id', 'ev_extra2=10/v',
                 'ignore=name')",
    )
    .unwrap();
    for _ in 0..3 {
        expect_error(&mut db, "insert into t values (3, 0)", "22012", "division by zero");
        expect_events(&mut db, "insert into t values (3, 5)", &["I:id|id=3&v=5|public.t|2"]);
    }
    // An error inside a transaction undoes what went before in its subtransaction, and no more.
    db.batch_execute(
        "begin; insert into t values (4, 1); savepoint s; insert into t values (5, 1)",
    )
    .unwrap();
    db.batch_execute("insert into t values (6, 0)").unwrap_err();
    db.batch_execute("rollback to s; insert into t values (7, 1); commit").unwrap();
    assert_eq!(take_events(&mut db), ["I:id|id=4&v=1|public.t|10", "I:id|id=7&v=1|public.t|10"]);
}
