//! What is remembered between rows is forgotten when it may have changed.

use super::{database, expect_events, take_events};

#[test]
fn a_trigger_made_anew_has_its_new_arguments() {
    let (_scratch, mut db) = database();
    db.batch_execute("create table t (id int primary key, v int)").unwrap();
    for (options, expected) in [
        ("", "I:id|id=1&v=2|public.t"),
        (", 'ignore=v'", "I:id|id=1|public.t"),
        (", 'ev_extra1=v'", "I:id|id=1&v=2|2"),
    ] {
        db.batch_execute(&format!(
            "drop trigger if exists t on t; truncate t;
             create trigger t after insert on t for each row
                 execute function pgq.logutriga('q'{options})"
        ))
        .unwrap();
        expect_events(&mut db, "insert into t values (1, 2)", &[expected]);
    }
}

#[test]
fn changes_by_another_session_are_seen() {
    let (scratch, mut db) = database();
    let mut other = scratch.connect();
    db.batch_execute(
        "create schema s; create table s.t (id int primary key, v int);
         create trigger t after insert or delete on s.t for each row
             execute function pgq.sqltriga('q')",
    )
    .unwrap();
    expect_events(&mut db, "insert into s.t values (1, 2)", &["I|(id,v) values ('1','2')|s.t"]);
    other.batch_execute("alter table s.t add w text").unwrap();
    expect_events(
        &mut db,
        "insert into s.t values (2, 2)",
        &["I|(id,v,w) values ('2','2',null)|s.t"],
    );
    other.batch_execute("alter table s.t drop constraint t_pkey, add primary key (id, v)").unwrap();
    expect_events(&mut db, "delete from s.t where id = 1", &["D|id='1' and v='2'|s.t"]);
    other.batch_execute("alter schema s rename to s2").unwrap();
    expect_events(&mut db, "delete from s2.t where id = 2", &["D|id='2' and v='2'|s2.t"]);
}

#[test]
fn quoting_follows_the_setting() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create table t (id int); create trigger t after insert on t
             for each row execute function pgq.sqltriga('q')",
    )
    .unwrap();
    for (setting, expected) in [
        ("off", "I|(id) values ('1')|public.t"),
        ("on", "I|(\"id\") values ('1')|public.t"),
        ("off", "I|(id) values ('1')|public.t"),
    ] {
        db.batch_execute(&format!("set quote_all_identifiers = {setting}")).unwrap();
        expect_events(&mut db, "insert into t values (1)", &[expected]);
    }
}

#[test]
fn the_extension_can_be_dropped_and_created_in_a_session() {
    let (_scratch, mut db) = database();
    for _ in 0..3 {
        db.batch_execute(
            "create table t (id int primary key); create trigger t after insert on t
                 for each row execute function pgq.logutriga('q')",
        )
        .unwrap();
        expect_events(&mut db, "insert into t values (1)", &["I:id|id=1|public.t"]);
        db.batch_execute(
            "drop table t; select pgq.drop_queue('q'); drop extension pgq; create extension pgq;
             select pgq.create_queue('q')",
        )
        .unwrap();
    }
}

#[test]
fn expressions_see_replaced_functions() {
    let (_scratch, mut db) = database();
    let function = |body: &str| {
        format!("create or replace function f(int) returns text language sql as $$ {body} $$")
    };
    db.batch_execute(&function("select 'one ' || $1")).unwrap();
    db.batch_execute(
        "create table t (id int primary key); create trigger t after insert on t
             for each row execute function pgq.logutriga('q', 'ev_extra1=f(id)')",
    )
    .unwrap();
    expect_events(&mut db, "insert into t values (1)", &["I:id|id=1|one 1"]);
    db.batch_execute(&function("select 'two ' || $1")).unwrap();
    expect_events(&mut db, "insert into t values (2)", &["I:id|id=2|two 2"]);
}

#[test]
fn many_tables_share_a_session() {
    let (_scratch, mut db) = database();
    for round in 0..2 {
        for n in 0..150 {
            db.batch_execute(&format!(
                "create table t{n} (id int primary key, v{round} int);
                 create trigger t after insert on t{n} for each row
                     execute function pgq.logutriga('q');
                 insert into t{n} values ({n}, 1)"
            ))
            .unwrap();
        }
        let events = take_events(&mut db);
        for (n, event) in events.iter().enumerate() {
            assert_eq!(*event, format!("I:id|id={n}&v{round}=1|public.t{n}"));
        }
        assert_eq!(events.len(), 150);
        let tables: Vec<_> = (0..150).map(|n| format!("t{n}")).collect();
        db.batch_execute(&format!("drop table {}", tables.join(", "))).unwrap();
    }
}

#[test]
fn a_trigger_may_fire_a_trigger() {
    let (_scratch, mut db) = database();
    // The stub of insert_event writes into a table that is captured itself, down to a depth, where
    // it fails at first.
    let stub = |last| {
        format!(
            "create or replace function pgq.insert_event(queue_name text, ev_type text, ev_data text,
                 ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text) returns bigint
             language plpgsql as $$ begin
                 if ev_data = 'n=2&w=w' then
                     {last};
                 else
                     insert into inner_t select count(*), 'w' from inner_t;
                 end if;
                 insert into seen (t, d, x1, x2, x3) values (ev_type, ev_data, ev_extra1, ev_extra2,
                     ev_extra3);
                 return 1;
             end $$"
        )
    };
    db.batch_execute(
        "create table outer_t (id int primary key, v text);
         create table inner_t (n int primary key, w text);
         create trigger t after insert on outer_t for each row
             execute function pgq.logutriga('q', 'ev_extra1=v', 'ev_extra2=id');
         create trigger t after insert on inner_t for each row
             execute function pgq.logutriga('q', 'ev_extra3=w', 'when=n<3');
         create table seen (at int generated always as identity, t text, d text, x1 text, x2 text,
             x3 text)",
    )
    .unwrap();
    db.batch_execute(&stub("raise exception 'deep enough'")).unwrap();
    let error = db.batch_execute("insert into outer_t values (7, 'x')").unwrap_err();
    assert_eq!(error.as_db_error().unwrap().message(), "deep enough");
    db.batch_execute(&stub("null")).unwrap();
    db.batch_execute("insert into outer_t values (7, 'x')").unwrap();
    let rows =
        db.query("select concat_ws('|', t, d, x1, x2, x3) from seen order by at", &[]).unwrap();
    let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        rows,
        [
            "I:n|n=2&w=w|public.inner_t|w",
            "I:n|n=1&w=w|public.inner_t|w",
            "I:n|n=0&w=w|public.inner_t|w",
            "I:id|id=7&v=x|x|7",
        ]
    );
}
