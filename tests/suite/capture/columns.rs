//! Columns that come and go, and columns that the server fills in.

use super::{database, expect_events, three_triggers};

#[test]
fn dropped_columns_vanish_and_added_ones_appear_at_once() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create table t (a int, id int primary key, b text);
         create trigger t after insert or update or delete on t
             for each row execute function pgq.logutriga('q')",
    )
    .unwrap();
    expect_events(&mut db, "insert into t values (1, 1, 'x')", &["I:id|a=1&id=1&b=x|public.t"]);
    db.batch_execute("alter table t drop a").unwrap();
    expect_events(&mut db, "insert into t values (2, 'y')", &["I:id|id=2&b=y|public.t"]);
    db.batch_execute("alter table t add c int default 7").unwrap();
    expect_events(&mut db, "insert into t values (3, 'z')", &["I:id|id=3&b=z&c=7|public.t"]);
    // The rows from before have the default without being rewritten.
    expect_events(&mut db, "delete from t where id = 1", &["D:id|id=1&b=x&c=7|public.t"]);
    db.batch_execute("alter table t alter b type bytea using b::bytea").unwrap();
    expect_events(&mut db, "delete from t where id = 2", &["D:id|id=2&b=%5cx79&c=7|public.t"]);
    db.batch_execute("alter table t rename c to d; alter table t rename to u").unwrap();
    expect_events(&mut db, "delete from u where id = 3", &["D:id|id=3&b=%5cx7a&d=7|public.u"]);
    db.batch_execute("begin; alter table u add e int; insert into u values (4)").unwrap();
    expect_events(&mut db, "commit", &["I:id|id=4&b&d=7&e|public.u"]);
}

#[test]
fn a_renamed_key_column_keeps_being_the_key() {
    let (_scratch, mut db) = database();
    db.batch_execute("create table t (id int primary key, v int); insert into t values (1, 1)")
        .unwrap();
    three_triggers(&mut db, "t", "");
    db.batch_execute("alter table t rename id to nr").unwrap();
    expect_events(
        &mut db,
        "update t set v = 2",
        &[
            r#"{"op":"UPDATE","table":["public","t"],"pkey":["nr"]}|{"nr":1,"v":2}|public.t"#,
            "U:nr|nr=1&v=2|public.t",
            "U|v='2' where nr='1'|public.t",
        ],
    );
}

#[test]
fn included_columns_of_the_key_index_are_data() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create table t (id int, v int, primary key (id) include (v)); insert into t values (1, 1)",
    )
    .unwrap();
    three_triggers(&mut db, "t", "");
    expect_events(
        &mut db,
        "update t set v = 2",
        &[
            r#"{"op":"UPDATE","table":["public","t"],"pkey":["id"]}|{"id":1,"v":2}|public.t"#,
            "U:id|id=1&v=2|public.t",
            "U|v='2' where id='1'|public.t",
        ],
    );
}

#[test]
fn a_comma_in_a_key_columns_name_is_part_of_the_name() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create table t (\"a,b\" int primary key, a int); insert into t values (1, 1)",
    )
    .unwrap();
    three_triggers(&mut db, "t", "");
    expect_events(
        &mut db,
        "update t set a = 2",
        &[
            r#"{"op":"UPDATE","table":["public","t"],"pkey":["a,b"]}|{"a,b":1,"a":2}|public.t"#,
            "U:a,b|a%2cb=1&a=2|public.t",
            r#"U|a='2' where "a,b"='1'|public.t"#,
        ],
    );
}

#[test]
fn a_deferrable_key_is_a_key() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create table t (id int primary key deferrable initially deferred, v int);
         create constraint trigger t after insert or update on t deferrable initially deferred
             for each row execute function pgq.logutriga('q')",
    )
    .unwrap();
    db.batch_execute("begin; insert into t values (1, 1); update t set v = 2").unwrap();
    expect_events(&mut db, "commit", &["I:id|id=1&v=1|public.t", "U:id|id=1&v=2|public.t"]);
}

#[test]
fn identity_and_stored_generated_columns_are_data_once_they_are_computed() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create table t (id int primary key generated always as identity, v int,
                         twice int generated always as (v * 2) stored);
         create trigger a after insert on t for each row execute function pgq.logutriga('q');
         create trigger b before insert on t for each row execute function pgq.logutriga('q')",
    )
    .unwrap();
    // A BEFORE trigger fires before generated columns are computed.
    expect_events(
        &mut db,
        "insert into t (v) values (4)",
        &["I:id|id=1&v=4&twice|public.t", "I:id|id=1&v=4&twice=8|public.t"],
    );
}

#[test]
fn a_table_without_columns_has_empty_rows() {
    let (_scratch, mut db) = database();
    db.batch_execute("create table t ()").unwrap();
    three_triggers(&mut db, "t", "");
    expect_events(
        &mut db,
        "insert into t default values",
        &[
            r#"{"op":"INSERT","table":["public","t"],"pkey":[]}|{}|public.t"#,
            "I:||public.t",
            "I|() values ()|public.t",
        ],
    );
}
