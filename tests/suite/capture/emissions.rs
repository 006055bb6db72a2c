//! The worked examples of the specification's appendix, word for word.

use super::{database, expect_error, expect_events, take_events, three_triggers};

#[test]
fn each_trigger_writes_its_format() {
    let (_scratch, mut db) = database();
    db.batch_execute("create table trigger_base (id serial primary key, txt text, val float)")
        .unwrap();
    three_triggers(&mut db, "trigger_base", "");
    let type_of =
        |op| format!(r#"{{"op":"{op}","table":["public","trigger_base"],"pkey":["id"]}}"#);
    let json = |op, data: &str| format!("{}|{data}|public.trigger_base", type_of(op));
    expect_events(
        &mut db,
        "insert into trigger_base (txt) values ('text1')",
        &[
            &json("INSERT", r#"{"id":1,"txt":"text1","val":null}"#),
            "I:id|id=1&txt=text1&val|public.trigger_base",
            "I|(id,txt,val) values ('1','text1',null)|public.trigger_base",
        ],
    );
    expect_events(
        &mut db,
        "insert into trigger_base (val) values (1.5)",
        &[
            &json("INSERT", r#"{"id":2,"txt":null,"val":"1.5"}"#),
            "I:id|id=2&txt&val=1.5|public.trigger_base",
            "I|(id,txt,val) values ('2',null,'1.5')|public.trigger_base",
        ],
    );
    expect_events(
        &mut db,
        "update trigger_base set txt = 'text2' where id = 1",
        &[
            &json("UPDATE", r#"{"id":1,"txt":"text2","val":null}"#),
            "U:id|id=1&txt=text2&val|public.trigger_base",
            "U|txt='text2' where id='1'|public.trigger_base",
        ],
    );
    expect_events(
        &mut db,
        "delete from trigger_base where id = 2",
        &[
            &json("DELETE", r#"{"id":2,"txt":null,"val":"1.5"}"#),
            "D:id|id=2&txt&val=1.5|public.trigger_base",
            "D|id='2'|public.trigger_base",
        ],
    );
    for name in ["t1", "t2", "t3"] {
        db.batch_execute(&format!(
            "alter table trigger_base disable trigger user;
             alter table trigger_base enable trigger {name}"
        ))
        .unwrap();
        expect_error(
            &mut db,
            "update trigger_base set id = 9",
            "55000",
            "primary key update not allowed",
        );
    }
}

#[test]
fn a_table_without_key_takes_inserts_only() {
    let (_scratch, mut db) = database();
    db.batch_execute("create table loose (v int); insert into loose values (0)").unwrap();
    three_triggers(&mut db, "loose", "");
    expect_events(
        &mut db,
        "insert into loose values (1)",
        &[
            r#"{"op":"INSERT","table":["public","loose"],"pkey":[]}|{"v":1}|public.loose"#,
            "I:|v=1|public.loose",
            "I|(v) values ('1')|public.loose",
        ],
    );
    for name in ["t1", "t2", "t3"] {
        db.batch_execute(&format!(
            "alter table loose disable trigger user; alter table loose enable trigger {name}"
        ))
        .unwrap();
        let message = "Update/Delete on table without pkey";
        expect_error(&mut db, "update loose set v = 2", "55000", message);
        expect_error(&mut db, "delete from loose", "55000", message);
    }
}

#[test]
fn key_columns_come_in_index_order_and_compare_by_value() {
    let (_scratch, mut db) = database();
    db.batch_execute("create table pair (a numeric, b int, v int, primary key (b, a))").unwrap();
    three_triggers(&mut db, "pair", "");
    db.batch_execute("insert into pair values (1.0, 2, 3)").unwrap();
    take_events(&mut db);
    expect_events(
        &mut db,
        "update pair set a = 1.00, v = 4",
        &[
            r#"{"op":"UPDATE","table":["public","pair"],"pkey":["b","a"]}|{"a":"1.00","b":2,"v":4}|public.pair"#,
            "U:b,a|a=1.00&b=2&v=4|public.pair",
            "U|v='4' where a='1.0' and b='2'|public.pair",
        ],
    );
    expect_events(
        &mut db,
        "update pair set a = 1.0",
        &[
            r#"{"op":"UPDATE","table":["public","pair"],"pkey":["b","a"]}|{"a":"1.0","b":2,"v":4}|public.pair"#,
            "U:b,a|a=1.0&b=2&v=4|public.pair",
            "U|a='1.00' where a='1.00' and b='2'|public.pair",
        ],
    );
}

#[test]
fn names_are_raw_in_the_event_and_quoted_in_sql() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        r#"create schema "Sc.h"; create table "Sc.h"."T b" ("Id" int, "b c" text, "select" int, _x int,
           primary key ("Id", "b c"))"#,
    )
    .unwrap();
    three_triggers(&mut db, r#""Sc.h"."T b""#, "");
    expect_events(
        &mut db,
        r#"insert into "Sc.h"."T b" values (1, 'ä b''\')"#,
        &[
            r#"{"op":"INSERT","table":["Sc.h","T b"],"pkey":["Id","b c"]}|{"Id":1,"b c":"ä b'\\","select":null,"_x":null}|Sc.h.T b"#,
            "I:Id,b c|Id=1&b+c=%c3%a4+b%27%5c&select&_x|Sc.h.T b",
            r#"I|("Id","b c","select",_x) values ('1',E'ä b''\\',null,null)|Sc.h.T b"#,
        ],
    );
}

#[test]
fn truncate_has_a_type_and_no_data() {
    let (_scratch, mut db) = database();
    db.batch_execute("create table t (id int primary key)").unwrap();
    for (name, function) in [("t1", "jsontriga"), ("t2", "logutriga"), ("t3", "sqltriga")] {
        db.batch_execute(&format!(
            "create trigger {name} after truncate on t for each statement
             execute function pgq.{function}('q')"
        ))
        .unwrap();
    }
    expect_events(
        &mut db,
        "truncate t",
        &[
            r#"{"op":"TRUNCATE","table":["public","t"],"pkey":["id"]}|{}|public.t"#,
            "R||public.t",
            "R||public.t",
        ],
    );
}

#[test]
fn partitions_speak_for_themselves() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create table whole (id int, part int, v int, primary key (id, part)) partition by list (part);
         create table part_1 partition of whole for values in (1);
         create table part_2 partition of whole for values in (2);
         create trigger t after insert or update or delete on whole
             for each row execute function pgq.logutriga('q', 'pkey=id');
         create trigger r after truncate on whole execute function pgq.logutriga('q')",
    )
    .unwrap();
    expect_events(
        &mut db,
        "insert into whole values (1, 1, 5)",
        &["I:id|id=1&part=1&v=5|public.part_1"],
    );
    expect_events(
        &mut db,
        "update whole set part = 2",
        &["D:id|id=1&part=1&v=5|public.part_1", "I:id|id=1&part=2&v=5|public.part_2"],
    );
    expect_events(&mut db, "truncate whole", &["R||public.whole"]);
}

#[test]
fn triggers_on_views_and_before_triggers_pass_the_row_on() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create view seen as select 1 as id, 'x'::text as t;
         create trigger t instead of insert or update or delete on seen
             for each row execute function pgq.sqltriga('q', 'pkey=id');
         create table t (id int primary key, v int);
         create trigger t before insert or update or delete on t
             for each row execute function pgq.logutriga('q')",
    )
    .unwrap();
    expect_events(
        &mut db,
        "insert into seen values (1, 'y')",
        &["I|(id,t) values ('1','y')|public.seen"],
    );
    expect_events(&mut db, "update seen set t = 'z'", &["U|t='z' where id='1'|public.seen"]);
    expect_events(&mut db, "delete from seen", &["D|id='1'|public.seen"]);
    expect_events(&mut db, "insert into t values (1, 2)", &["I:id|id=1&v=2|public.t"]);
    expect_events(&mut db, "update t set v = 3", &["U:id|id=1&v=3|public.t"]);
    assert_eq!(db.query_one("select v from t", &[]).unwrap().get::<_, i32>(0), 3);
    expect_events(&mut db, "delete from t", &["D:id|id=1&v=3|public.t"]);
    assert!(db.query("select * from t", &[]).unwrap().is_empty());
}

#[test]
fn the_old_logtriga_reads_column_kinds() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create function logtriga() returns trigger language c as '$libdir/pgq', 'pgq_logtriga';
         create table t (a int, b int, c text, d int);
         create trigger t after insert or update or delete on t
             for each row execute function logtriga('q', 'kvi', 'ignored.name')",
    )
    .unwrap();
    expect_events(
        &mut db,
        "insert into t values (1, 2, 'x', 4)",
        &["I|(a,b) values ('1','2')|public.t"],
    );
    expect_events(&mut db, "update t set b = null, c = 'y'", &["U|b=NULL where a='1'|public.t"]);
    expect_events(&mut db, "update t set c = 'z', d = 5", &[]);
    expect_events(&mut db, "delete from t", &["D|a='1'|public.t"]);
}
