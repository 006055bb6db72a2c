//! Databases whose encoding is not UTF-8.

use super::{expect_error, take_events, three_triggers};
use pgq_tests::{Tree, scratch_database_on};

#[test]
fn bytes_stay_as_they_are_in_a_latin1_database() {
    let keeper = scratch_database_on(Tree::Ours);
    let name = format!("{}_latin1", keeper.name());
    let mut admin = keeper.connect();
    admin
        .batch_execute(&format!(
            "create database {name} template template0 encoding 'LATIN1' locale 'C'"
        ))
        .unwrap();
    let mut db = keeper.cluster().connect(&name);
    db.batch_execute("create extension pgq; select pgq.create_queue('q')").unwrap();
    db.batch_execute("create table \"täfel\" (id int primary key, \"größe\" text, w text)")
        .unwrap();
    three_triggers(&mut db, "\"täfel\"", ", 'ev_extra3=größe', 'ignore=w'");
    db.batch_execute("insert into \"täfel\" values (1, 'é \"\\ ÿ')").unwrap();
    assert_eq!(
        take_events(&mut db),
        [
            r#"{"op":"INSERT","table":["public","täfel"],"pkey":["id"]}|{"id":1,"größe":"é \"\\ ÿ"}|public.täfel|∅|é "\ ÿ"#,
            r#"I:id|id=1&gr%f6%dfe=%e9+%22%5c+%ff|public.täfel|∅|é "\ ÿ"#,
            r#"I|(id,"größe") values ('1',E'é "\\ ÿ')|public.täfel|∅|é "\ ÿ"#,
        ]
    );
    db.batch_execute(
        "create trigger a before insert on \"täfel\" for each row
             execute function pgq.logutriga('q', 'deny')",
    )
    .unwrap();
    // Messages cannot carry the character, but the statement fails as it should.
    expect_error(
        &mut db,
        "update pgq.queue set queue_name = 'qü', queue_per_tx_limit = 0;
         select pgq.insert_event('qü', 't', 'd')",
        "54000",
        "Queue 'q?' allows max 0 events from one TX",
    );
    expect_error(
        &mut db,
        "insert into \"täfel\" values (2)",
        "55000",
        "Table 'public.t?fel' to queue 'q': change not allowed (INSERT)",
    );
    drop(db);
    admin.batch_execute(&format!("drop database {name} with (force)")).unwrap();
}

#[test]
fn bytes_stay_as_they_are_in_a_sql_ascii_database() {
    let keeper = scratch_database_on(Tree::Ours);
    let name = format!("{}_ascii", keeper.name());
    let mut admin = keeper.connect();
    admin
        .batch_execute(&format!(
            "create database {name} template template0 encoding 'SQL_ASCII' locale 'C'"
        ))
        .unwrap();
    let mut db = keeper.cluster().connect(&name);
    db.batch_execute("create extension pgq; select pgq.create_queue('q')").unwrap();
    db.batch_execute("create table t (v text)").unwrap();
    three_triggers(&mut db, "t", "");
    db.batch_execute(r"insert into t values (E'\xff\xfe''\\')").unwrap();
    let rows = db
        .query(
            "select convert_to(ev_data, 'SQL_ASCII') from pgq.event_template order by ev_id",
            &[],
        )
        .unwrap();
    let data: Vec<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        data,
        [
            b"{\"v\":\"\xff\xfe'\\\\\"}".to_vec(),
            b"v=%ff%fe%27%5c".to_vec(),
            b"(v) values (E'\xff\xfe''\\\\')".to_vec(),
        ]
    );
    drop(db);
    admin.batch_execute(&format!("drop database {name} with (force)")).unwrap();
}
