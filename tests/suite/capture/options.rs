//! Every option of a trigger, alone and with others.

use super::{database, expect_error, expect_events, take_events, three_triggers};
use postgres::Client;

/// The table of most examples, with one trigger.
fn table_with(function: &str, when: &str, options: &str) -> String {
    format!(
        "drop table if exists t; create table t (nr int primary key, col1 text, col2 text);
         create trigger t {when} insert or update or delete on t
             for each row execute function pgq.{function}('q'{options})"
    )
}

fn run(db: &mut Client, sql: &str) {
    db.batch_execute(sql).unwrap();
    take_events(db);
}

#[test]
fn ignored_columns_are_left_out_and_do_not_make_events() {
    let (_scratch, mut db) = database();
    db.batch_execute("create table t (dat1 text primary key, col1 text, col2 text)").unwrap();
    three_triggers(&mut db, "t", ", 'ignore=col2'");
    let json = |op, col1| {
        format!(
            r#"{{"op":"{op}","table":["public","t"],"pkey":["dat1"]}}|{{"dat1":"a","col1":"{col1}"}}|public.t"#
        )
    };
    expect_events(
        &mut db,
        "insert into t values ('a', '1', '2')",
        &[
            &json("INSERT", "1"),
            "I:dat1|dat1=a&col1=1|public.t",
            "I|(dat1,col1) values ('a','1')|public.t",
        ],
    );
    expect_events(&mut db, "update t set col2 = 'x'", &[]);
    expect_events(
        &mut db,
        "update t set col1 = '5', col2 = 'y'",
        &[
            &json("UPDATE", "5"),
            "U:dat1|dat1=a&col1=5|public.t",
            "U|col1='5' where dat1='a'|public.t",
        ],
    );
    expect_events(
        &mut db,
        "update t set col2 = col2",
        &[
            &json("UPDATE", "5"),
            "U:dat1|dat1=a&col1=5|public.t",
            "U|dat1='a' where dat1='a'|public.t",
        ],
    );
}

#[test]
fn a_key_can_be_named() {
    let (_scratch, mut db) = database();
    db.batch_execute("create table t (nr int, col1 text, col2 text)").unwrap();
    three_triggers(&mut db, "t", ", 'pkey=nr,col1'");
    let json = |op, col2| {
        format!(
            r#"{{"op":"{op}","table":["public","t"],"pkey":["nr","col1"]}}|{{"nr":1,"col1":"col1","col2":"{col2}"}}|public.t"#
        )
    };
    run(&mut db, "insert into t values (1, 'col1', 'col2')");
    expect_events(
        &mut db,
        "update t set col2 = 'col2x'",
        &[
            &json("UPDATE", "col2x"),
            "U:nr,col1|nr=1&col1=col1&col2=col2x|public.t",
            "U|col2='col2x' where nr='1' and col1='col1'|public.t",
        ],
    );
    expect_events(
        &mut db,
        "delete from t",
        &[
            &json("DELETE", "col2x"),
            "D:nr,col1|nr=1&col1=col1&col2=col2x|public.t",
            "D|nr='1' and col1='col1'|public.t",
        ],
    );
}

#[test]
fn lists_tolerate_blanks_and_show_them() {
    let (_scratch, mut db) = database();
    db.batch_execute("create table t (a int, b int, \"c d\" int)").unwrap();
    three_triggers(&mut db, "t", ", 'pkey= a , b', 'ignore= c d '");
    run(&mut db, "insert into t values (1, 2, 3)");
    expect_events(
        &mut db,
        "delete from t",
        &[
            r#"{"op":"DELETE","table":["public","t"],"pkey":[" a "," b"]}|{"a":1,"b":2}|public.t"#,
            "D: a , b|a=1&b=2|public.t",
            "D|a='1' and b='2'|public.t",
        ],
    );
}

#[test]
fn backup_holds_the_old_row_of_an_update() {
    let (_scratch, mut db) = database();
    db.batch_execute("create table t (nr int primary key, col1 text, stamp date)").unwrap();
    three_triggers(&mut db, "t", ", 'backup'");
    run(&mut db, "insert into t values (1, 'text', '1999-02-03')");
    db.batch_execute("update t set col1 = 'col1x'").unwrap();
    let backups: Vec<_> = take_events(&mut db)
        .iter()
        .map(|event| event.split('|').nth(3).map(str::to_owned))
        .collect();
    let urlencoded = Some("nr=1&col1=text&stamp=1999-02-03".to_owned());
    assert_eq!(
        backups,
        [
            Some(r#"{"nr":1,"col1":"text","stamp":"1999-02-03"}"#.to_owned()),
            urlencoded.clone(),
            urlencoded
        ]
    );
    db.batch_execute("delete from t; insert into t values (2, null, null)").unwrap();
    for event in take_events(&mut db) {
        assert_eq!(event.split('|').nth(3), None, "{event}");
    }
}

#[test]
fn deny_refuses_every_change() {
    let (_scratch, mut db) = database();
    let denied =
        |operation| format!("Table 'public.t' to queue 'q': change not allowed ({operation})");
    for function in ["logutriga", "jsontriga", "sqltriga"] {
        db.batch_execute(&table_with(function, "after", "")).unwrap();
        run(&mut db, "insert into t values (1)");
        db.batch_execute(&format!(
            "drop trigger t on t;
             create trigger t after insert or update or delete on t
                 for each row execute function pgq.{function}('q', 'deny');
             create trigger r before truncate on t execute function pgq.{function}('q', 'deny')"
        ))
        .unwrap();
        expect_error(&mut db, "insert into t values (2)", "55000", &denied("INSERT"));
        expect_error(&mut db, "update t set col1 = 'x'", "55000", &denied("UPDATE"));
        expect_error(&mut db, "delete from t", "55000", &denied("DELETE"));
        expect_error(&mut db, "truncate t", "55000", &denied("TRUNCATE"));
        assert_eq!(db.query_one("select count(*) from t", &[]).unwrap().get::<_, i64>(0), 1);
    }
}

#[test]
fn skip_logs_what_it_suppresses() {
    let (_scratch, mut db) = database();
    db.batch_execute(&table_with("sqltriga", "before", ", 'SKIP'")).unwrap();
    expect_events(
        &mut db,
        "insert into t values (1, 'a')",
        &["I|(nr,col1,col2) values ('1','a',null)|public.t"],
    );
    db.batch_execute(
        "alter table t disable trigger t; insert into t values (2); alter table t enable trigger t",
    )
    .unwrap();
    expect_events(&mut db, "update t set col2 = 'b'", &["U|col2='b' where nr='2'|public.t"]);
    expect_events(&mut db, "delete from t", &["D|nr='2'|public.t"]);
    let rows = db.query("select nr, col2 from t", &[]).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, Option<String>>(1), None);
}

#[test]
fn expressions_replace_fields() {
    let (_scratch, mut db) = database();
    db.batch_execute(&table_with(
        "logutriga",
        "after",
        ", 'ev_extra1=(nr+3)::text', 'ev_extra2=col1||col2', 'ev_extra3=$$333$$', 'ev_extra4=$$444$$',
         'ev_type=$$badidea$$'",
    ))
    .unwrap();
    expect_events(
        &mut db,
        "insert into t values (1, 'col1', 'col2')",
        &["badidea|nr=1&col1=col1&col2=col2|4|col1col2|333|444"],
    );
    expect_events(
        &mut db,
        "update t set col2 = 'col2x'",
        &["badidea|nr=1&col1=col1&col2=col2x|4|col1col2x|333|444"],
    );
    expect_events(
        &mut db,
        "delete from t",
        &["badidea|nr=1&col1=col1&col2=col2x|4|col1col2x|333|444"],
    );
    db.batch_execute(&table_with(
        "logutriga",
        "after",
        ", 'ev_data=upper(col1)', 'ev_extra1=null', 'ev_type='",
    ))
    .unwrap();
    expect_events(&mut db, "insert into t values (1, 'col1', 'col2')", &["∅|COL1"]);
}

#[test]
fn a_function_may_have_the_name_of_a_column() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create table t (lower text, id int primary key);
         create trigger t after insert on t
             for each row execute function pgq.logutriga('q', 'ev_extra1=lower(lower)')",
    )
    .unwrap();
    expect_events(&mut db, "insert into t values ('AbC', 1)", &["I:id|lower=AbC&id=1|abc"]);
}

#[test]
fn when_chooses_rows() {
    let (_scratch, mut db) = database();
    db.batch_execute(&table_with("jsontriga", "after", ", 'when=col2=''foo'''")).unwrap();
    expect_events(
        &mut db,
        "insert into t values (1, 'a', 'foo'), (2, 'b', 'bar')",
        &[
            r#"{"op":"INSERT","table":["public","t"],"pkey":["nr"]}|{"nr":1,"col1":"a","col2":"foo"}|public.t"#,
        ],
    );
    expect_events(&mut db, "delete from t where nr = 2", &[]);
    expect_events(&mut db, "update t set col2 = 'bar'", &[]);
}

#[test]
fn magic_columns_set_fields_and_are_not_data() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create table t (nr int primary key, col1 text, _pgq_ev_type text, _pgq_ev_extra1 int,
                         _pgq_ev_extra2 text)",
    )
    .unwrap();
    three_triggers(&mut db, "t", "");
    expect_events(
        &mut db,
        "insert into t values (1, 'c', 'mytype', 17, null)",
        &[
            r#"mytype|{"nr":1,"col1":"c"}|17"#,
            "mytype|nr=1&col1=c|17",
            "mytype|(nr,col1) values ('1','c')|17",
        ],
    );
    expect_events(
        &mut db,
        "update t set _pgq_ev_extra1 = 18, _pgq_ev_type = null, col1 = 'd'",
        &[r#"∅|{"nr":1,"col1":"d"}|18"#, "∅|nr=1&col1=d|18", "∅|col1='d' where nr='1'|18"],
    );
    expect_events(
        &mut db,
        "delete from t",
        &[r#"∅|{"nr":1,"col1":"d"}|18"#, "∅|nr=1&col1=d|18", "∅|nr='1'|18"],
    );
    run(&mut db, "alter table t add _pgq_ev_foo int");
    expect_error(&mut db, "insert into t values (2)", "22023", "Unknown magic column: _pgq_ev_foo");
}

/// The nodes of a cascade run them, and whoever owns a table can add the column.
#[test]
fn a_magic_column_gives_no_commands_to_a_cascade() {
    let (_scratch, mut db) = database();
    db.batch_execute("create table t (nr int primary key, _pgq_ev_type text)").unwrap();
    for function in ["jsontriga", "logutriga", "sqltriga"] {
        db.batch_execute(&format!(
            "drop trigger if exists t on t;
             create trigger t after insert or update on t
                 for each row execute function pgq.{function}('q')"
        ))
        .unwrap();
        for command in ["EXECUTE", "londiste.add-table", "pgq.location-info", "pgq."] {
            expect_error(
                &mut db,
                &format!("insert into t values (1, '{command}')"),
                "22023",
                &format!("column \"_pgq_ev_type\" cannot make events of type \"{command}\""),
            );
        }
        for other in ["execute", "EXECUTE ", "londiste", "pgqx", ""] {
            run(&mut db, &format!("insert into t values (1, '{other}'); delete from t"));
        }
    }
    // What an expression of the trigger says is said by whoever made the trigger.
    db.batch_execute(
        "drop trigger t on t;
         create trigger t after insert on t
             for each row execute function pgq.logutriga('q', 'ev_type=''EXECUTE''')",
    )
    .unwrap();
    expect_events(&mut db, "insert into t values (1, 'x')", &["EXECUTE|nr=1|public.t"]);
}

#[test]
fn magic_beats_backup_and_expressions_beat_both() {
    let (_scratch, mut db) = database();
    let table = |options| {
        format!(
            "drop table if exists t; create table t (nr int primary key, _pgq_ev_extra2 text);
             create trigger t after insert or update on t
                 for each row execute function pgq.logutriga('q', 'backup'{options})"
        )
    };
    db.batch_execute(&table("")).unwrap();
    run(&mut db, "insert into t values (1, 'a')");
    expect_events(&mut db, "update t set _pgq_ev_extra2 = 'magic'", &["U:nr|nr=1|public.t|magic"]);
    db.batch_execute(&table(", 'ev_extra2=nr+1'")).unwrap();
    run(&mut db, "insert into t values (1, 'a')");
    expect_events(&mut db, "update t set _pgq_ev_extra2 = 'magic'", &["U:nr|nr=1|public.t|2"]);
}

#[test]
fn the_session_role_decides_whether_changes_count() {
    let (_scratch, mut db) = database();
    // In the local role nothing is looked at: not even the arguments.
    db.batch_execute(&table_with("logutriga", "before", ", 'SKIP', 'no option'")).unwrap();
    expect_events(
        &mut db,
        "set session_replication_role = local; insert into t values (1); update t set col1 = 'x'",
        &[],
    );
    assert_eq!(db.query_one("select col1 from t", &[]).unwrap().get::<_, &str>(0), "x");
    db.batch_execute(&table_with("logutriga", "after", "")).unwrap();
    expect_events(&mut db, "set session_replication_role = replica; insert into t values (1)", &[]);
    db.batch_execute("alter table t enable always trigger t").unwrap();
    expect_events(&mut db, "insert into t values (2)", &["I:nr|nr=2&col1&col2|public.t"]);
    db.batch_execute("update pgq.queue set queue_disable_insert = true").unwrap();
    expect_events(&mut db, "insert into t values (3)", &["I:nr|nr=3&col1&col2|public.t"]);
    db.batch_execute("reset session_replication_role").unwrap();
    expect_error(&mut db, "insert into t values (4)", "55000", "Insert into queue disallowed");
}
