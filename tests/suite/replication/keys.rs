//! Keys whose values have many texts, or compute themselves: which row is meant.

use pgq_tests::Tree;
use pgq_tests::query::run;

use super::set::{Driver, Set};

by_both! {
    a_row_is_the_same_row_however_sessions_write_its_key,
    a_row_that_comes_again_has_its_key_as_it_was_written_last,
    a_key_that_computes_itself_names_its_row_alone,
}

fn a_row_is_the_same_row_however_sessions_write_its_key(driver: Driver) {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    let tables = [
        ("at", "timestamptz", "'2024-03-01 10:00+00'"),
        ("on_day", "date", "'2024-03-01'"),
        ("bytes", "bytea", r"'\x00ff61'"),
        ("span", "interval", "'1 day 02:00'"),
        ("fixed", "char(4)", "'ab'"),
        ("amount", "numeric", "1.50"),
        ("number", "int", "7"),
    ];
    for name in ["root", "leaf"] {
        for (table, key, _) in tables {
            let sql = format!("create table {table} (k {key} primary key, v text)");
            run(&mut set.connect(name), &sql);
            set.attach(name, &format!("public.{table}"), "expect_sync");
        }
    }
    const ONE: &str = "set local timezone = 'UTC'; set local datestyle = 'ISO, DMY';
                       set local bytea_output = hex; set local intervalstyle = postgres;";
    const OTHER: &str = "set local timezone = 'Asia/Kolkata'; set local datestyle = 'ISO, DMY';
                         set local bytea_output = escape; set local intervalstyle = iso_8601;";
    let mut root = set.connect("root");
    let _worker = set.start("leaf", None);
    // Each of these in one batch: a row that comes and goes, one that is changed twice, one that
    // goes and comes again.
    let each = |change: &dyn Fn(&str, &str) -> String| {
        let changes = tables.map(|(table, _, key)| change(table, key)).concat();
        run(&mut set.connect("root"), &format!("begin; {changes} commit"));
        set.await_sync("root", "leaf");
        for (table, _, _) in tables {
            set.assert_same("root", "leaf", &format!("select k, v from {table}"));
        }
    };
    each(&|table, key| {
        format!("{ONE} insert into {table} values ({key}, '-'); {OTHER} delete from {table};")
    });
    each(&|table, key| {
        format!(
            "{OTHER} insert into {table} values ({key}, '1');
             {ONE} update {table} set v = '2'; {OTHER} update {table} set v = '3';
             {ONE} update {table} set v = '4'; {OTHER} update {table} set v = '5';"
        )
    });
    each(&|table, _| {
        format!("{ONE} update {table} set v = '6'; {OTHER} update {table} set v = '7';")
    });
    each(&|table, _| {
        format!("{OTHER} update {table} set v = '8'; {ONE} update {table} set v = '9';")
    });
    each(&|table, _| format!("{ONE} update {table} set v = '-'; {OTHER} delete from {table};"));
    // All of that.
    let mut sql = String::from("begin;");
    for (table, _, key) in tables {
        sql += &format!(
            "{ONE} insert into {table} values ({key}, 'a');
             {OTHER} delete from {table};
             {ONE} insert into {table} values ({key}, 'b');
             {OTHER} update {table} set v = 'c';"
        );
    }
    run(&mut root, &(sql + "commit"));
    let mut sql = String::from("begin;");
    for (table, _, key) in tables {
        sql += &format!(
            "{OTHER} update {table} set v = 'd'; {ONE} update {table} set v = 'e';
             {OTHER} delete from {table}; {ONE} insert into {table} values ({key}, 'f');
             {ONE} update {table} set v = 'g'; {OTHER} update {table} set v = 'h';"
        );
    }
    sql += &format!("{ONE} delete from bytes; {OTHER} delete from at;");
    run(&mut root, &(sql + "commit"));
    set.await_sync("root", "leaf");
    for (table, _, _) in tables {
        set.assert_same("root", "leaf", &format!("select k, v from {table}"));
    }
    let said = set.said("leaf");
    assert!(!said.contains("met no row") && !said.contains("applying row by row"), "{said}");
}

/// A row goes, and comes again under a key that is the same and is written otherwise.
fn a_row_that_comes_again_has_its_key_as_it_was_written_last(driver: Driver) {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    // Keys of one text alone, too.
    let tables = [
        ("amount", "numeric", "1.5", "1.50"),
        ("padded", "bpchar", "'ab'", "'ab  '"),
        ("wrapped", "price", "2", "2.00"),
        ("flag", "bool", "true", "true"),
        ("clock", "time", "'10:00'", "'10:00'"),
        ("clock_there", "timetz", "'10:00+02'", "'10:00+02'"),
        ("moment", "timestamp", "'2024-03-01 10:00'", "'2024-03-01 10:00'"),
        ("mood", "feeling", "'glad'", "'glad'"),
        ("number", "oid", "7", "7"),
        ("word", "name", "'word'", "'word'"),
        ("address", "inet", "'10.0.0.1'", "'10.0.0.1/32'"),
        ("network", "cidr", "'10.0.0.0/8'", "'10.0.0.0/8'"),
        ("card", "macaddr", "'08:00:2b:01:02:03'", "'08-00-2B-01-02-03'"),
        ("card_8", "macaddr8", "'08:00:2b:01:02:03:04:05'", "'08-00-2B-01-02-03-04-05'"),
        ("bits", "bit(3)", "'101'", "'101'"),
        ("more_bits", "varbit", "'1010'", "'1010'"),
    ];
    for name in ["root", "leaf"] {
        run(
            &mut set.connect(name),
            "create domain price as numeric; create type feeling as enum ('glad', 'sad')",
        );
        for (table, key, _, _) in tables {
            let sql = format!("create table {table} (k {key} primary key, v text)");
            run(&mut set.connect(name), &sql);
            set.attach(name, &format!("public.{table}"), "expect_sync");
        }
    }
    let each = |change: &dyn Fn(&str, &str, &str) -> String| {
        let changes = tables.map(|(table, _, one, other)| change(table, one, other)).concat();
        run(&mut set.connect("root"), &format!("begin; {changes} commit"));
    };
    let _worker = set.start("leaf", None);
    let in_sync = || {
        set.await_sync("root", "leaf");
        for (table, _, _, _) in tables {
            set.assert_same("root", "leaf", &format!("select k, v from {table}"));
        }
    };
    each(&|table, one, other| {
        format!(
            "insert into {table} values ({one}, 'a'); delete from {table} where k = {other};
             insert into {table} values ({other}, 'b');"
        )
    });
    in_sync();
    each(&|table, one, _| {
        format!(
            "update {table} set v = 'c'; delete from {table}; insert into {table} values ({one}, 'd');
             update {table} set v = 'e';"
        )
    });
    in_sync();
    each(&|table, _, _| format!("update {table} set v = 'f'; delete from {table};"));
    in_sync();
    let said = set.said("leaf");
    assert!(!said.contains("met no row") && !said.contains("applying row by row"), "{said}");
}

fn a_key_that_computes_itself_names_its_row_alone(driver: Driver) {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(
            &mut set.connect(name),
            "create table t (code int, part int generated always as (code / 10) stored, n int,
                             v text, primary key (part, n))",
        );
        set.attach(name, "public.t", "expect_sync");
    }
    let mut root = set.connect("root");
    run(&mut root, "insert into t (code, n, v) values (10, 1, 'a'), (20, 1, 'b'), (30, 1, 'c')");
    let _worker = set.start("leaf", None);
    set.await_sync("root", "leaf");
    run(&mut root, "update t set v = 'changed' where code = 20; delete from t where code = 30");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by code");
    // It was not a second attempt that has done it.
    assert!(!set.said("leaf").contains("applying row by row"), "{}", set.said("leaf"));
}
