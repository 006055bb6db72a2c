//! `load --copy`: what was there before is handed over to the stream of changes, with nothing lost,
//! doubled or out of date.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgq_tests::{PATIENCE, Random, Scratch, Tree, wait_until};
use postgres::Client;

use crate::client::services::signal;
use pgq_tests::programs::{
    create_queue, database_on, dsn, pgq, run, stderr, succeed, target, tick, value,
};

const TABLES: &str = "
    create schema app;
    create table app.account (id int primary key, name text unique, size int, twice int generated \
    always as (size * 2) stored);
    create table \"Note\" (\"K\" int generated always as identity primary key, text text);
    create table log (id int, what text)";

/// A source with rows that nobody captured, then triggers.
fn source() -> (Scratch, Client) {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    client.batch_execute(TABLES).unwrap();
    client
        .batch_execute(
            "insert into app.account (id, name, size) select n, 'n' || n, n from \
             generate_series(1, 500) n;
             insert into \"Note\" (text) values (null), (e'tab\\t\\\\ and\\nline'), ('\\N');
             insert into log select n, 'old' from generate_series(1, 50) n",
        )
        .unwrap();
    create_queue(&mut client, "q", "c");
    for table in ["app.account", "\"Note\"", "log"] {
        client
            .batch_execute(&format!(
                "create trigger capture after insert or update or delete on {table}
                   for each row execute function pgq.logutriga('q', 'pkey={}')",
                if table == "\"Note\"" { "K" } else { "id" }
            ))
            .unwrap();
    }
    (scratch, client)
}

fn assert_same(here: &mut Client, far: &mut Client) {
    for table in ["app.account", "\"Note\"", "log"] {
        let sql = format!(
            "select count(*) || ' ' || coalesce(md5(string_agg(t::text, e'\\n' order by \
             t::text)), '-') from {table} t"
        );
        assert_eq!(value(far, &sql), value(here, &sql), "{table}");
    }
}

#[test]
fn a_copy_goes_over_into_the_changes_under_writes_and_kills() {
    let (scratch, mut here) = source();
    let (there, mut far) = target(TABLES);
    let to = dsn(&there);
    let load = ["load", "q", "c", "--to", &to, "--copy", "--poll", "0.05"];
    let mut random = Random::for_test("a_copy_goes_over_into_the_changes_under_writes_and_kills");

    // Writes go on all the time: new rows, rows that go, unique names that move from row to row,
    // each in several transactions at once.
    let end = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let mut client = scratch.connect();
            let end = Arc::clone(&end);
            let seed = random.below(1_000_000);
            std::thread::spawn(move || {
                let mut n = seed;
                while !end.load(Ordering::SeqCst) {
                    n = (n * 1_103_515_245 + 12_345) % 2_147_483_648;
                    let (a, b) = (n % 600 + 1, n / 600 % 600 + 1);
                    let sql = match n / 7 % 4 {
                        0 => format!(
                            "insert into app.account (id, name, size) values ({a}, 'x{n}', {b}) \
                             on conflict do nothing"
                        ),
                        1 => format!("delete from app.account where id = {a}"),
                        2 => format!(
                            "insert into log values ({n}, 'new'); insert into \"Note\" (text) \
                             values ('{n}')"
                        ),
                        // Two rows change names, in a transaction that takes its time.
                        _ => format!(
                            "begin; select id from app.account where id in ({a}, {b}) order by id \
                             for update;
                             update app.account set name = 'moving{n}' where id = {a};
                             update app.account set name = (select 'was' || name || '{n}' from \
                             app.account where id = {a}) where id = {b};
                             select pg_sleep(0.02); commit"
                        ),
                    };
                    // Deadlocks and equal names are theirs.
                    if client.batch_execute(&sql).is_err() {
                        let _ = client.batch_execute("rollback");
                    }
                }
            })
        })
        .collect();
    let ticker = {
        let mut client = scratch.connect();
        let end = Arc::clone(&end);
        std::thread::spawn(move || {
            while !end.load(Ordering::SeqCst) {
                tick(&mut client, "q");
                // Pace: of the ticks.
                std::thread::sleep(Duration::from_millis(30));
            }
        })
    };
    // A transaction from before the copy that commits long after it.
    let mut old = scratch.connect();
    old.batch_execute("begin; insert into log values (-1, 'late')").unwrap();

    for step in ["rows.copied", "finish.committed", "tracking.noted"] {
        let killed = pgq(&load)
            .env("PGQ_DSN", dsn(&scratch))
            .env("PGQ_FAILPOINT", format!("{step}=kill"))
            .output()
            .unwrap();
        assert_eq!(killed.status.signal(), Some(9), "{step}: {}", stderr(&killed));
        assert_eq!(value(&mut far, "select count(*) from app.account"), "0", "{step}");
    }
    for _ in 0..6 {
        let mut child = pgq(&load)
            .env("PGQ_DSN", dsn(&scratch))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(random.below(400)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let killed = pgq(&load)
        .env("PGQ_DSN", dsn(&scratch))
        .env("PGQ_FAILPOINT", "target.committed=kill")
        .output()
        .unwrap();
    assert_eq!(killed.status.signal(), Some(9), "{}", stderr(&killed));
    old.batch_execute("commit").unwrap();
    end.store(true, Ordering::SeqCst);
    for thread in writers.into_iter().chain([ticker]) {
        thread.join().unwrap();
    }
    tick(&mut here, "q");
    let once = ["load", "q", "c", "--to", &to, "--copy", "--once"];
    succeed(&scratch, &once);
    assert_same(&mut here, &mut far);
    assert_eq!(value(&mut far, "select what from log where id = -1"), "late");

    // Done is done: the option may stay in the command line.
    here.batch_execute("update app.account set size = 7").unwrap();
    tick(&mut here, "q");
    succeed(&scratch, &once);
    assert_same(&mut here, &mut far);
}

/// Each of these changes, applied again after the copy, would break a constraint or double a row.
#[test]
fn what_the_copy_has_seen_does_not_come_again() {
    let (scratch, mut here) = source();
    let (there, mut far) = target(&format!("{TABLES}; create table plain (n int)"));
    here.batch_execute(
        "create table plain (n int);
         create trigger capture after insert on plain for each row execute function \
         pgq.logutriga('q')",
    )
    .unwrap();
    for change in [
        "update app.account set name = 'x' where id = 1",
        "update app.account set name = 'y' where id = 1; update app.account set name = 'x' where \
         id = 2",
        "insert into plain values (1), (1), (2)",
    ] {
        here.batch_execute(change).unwrap();
        tick(&mut here, "q");
    }
    let to = dsn(&there);
    succeed(&scratch, &["load", "q", "c", "--to", &to, "--copy", "--once"]);
    assert_same(&mut here, &mut far);
    assert_eq!(value(&mut far, "select string_agg(n::text, ' ' order by n) from plain"), "1 1 2");
    here.batch_execute("insert into plain values (3)").unwrap();
    tick(&mut here, "q");
    succeed(&scratch, &["load", "q", "c", "--to", &to, "--once"]);
    assert_eq!(value(&mut far, "select count(*) from plain"), "4");
}

#[test]
fn a_copy_is_of_what_may_be_written_and_never_on_top_of_rows() {
    let (scratch, mut here) = source();
    let (there, mut far) = target(TABLES);
    let to = dsn(&there);
    far.batch_execute("insert into log values (1, 'mine')").unwrap();
    tick(&mut here, "q");
    let copy = ["load", "q", "c", "--to", &to, "--copy", "--once"];
    let output = run(&scratch, &copy);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("\"public.log\" of the target has rows"),
        "{}",
        stderr(&output)
    );
    assert_eq!(value(&mut far, "select count(*) from app.account"), "0");

    let mut some = copy.to_vec();
    some.extend(["--only", "app.*"]);
    succeed(&scratch, &some);
    assert_eq!(value(&mut far, "select count(*) from app.account"), "500");
    assert_eq!(value(&mut far, "select count(*) from \"Note\""), "0");

    // Nobody is registered: what comes meanwhile would be lost.
    let output = run(&scratch, &["load", "q", "nobody", "--to", &to, "--copy", "--once"]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
}

#[test]
fn a_copy_follows_the_map_of_tables() {
    let (scratch, mut here) = source();
    let (there, mut far) = target(
        "create schema archive;
         create table archive.account (name text, id int primary key, size bigint, extra text \
         default 'd');",
    );
    let to = dsn(&there);
    here.batch_execute("drop trigger capture on \"Note\"; alter table log disable trigger capture")
        .unwrap();
    let arguments = [
        "load",
        "q",
        "fresh",
        "--to",
        &to,
        "--copy",
        "--register",
        "--once",
        "--table",
        "app.account=archive.account",
    ];
    succeed(&scratch, &arguments);
    assert_eq!(
        value(
            &mut far,
            "select count(*) || ' ' || sum(size) || ' ' || min(extra) from archive.account"
        ),
        "500 125250 d"
    );
}

#[test]
fn a_copy_is_of_all_rows_exactly_whatever_the_source_has_set() {
    let (scratch, mut here) = source();
    here.batch_execute(&format!(
        "create table app.odd (id int primary key, day date, took interval, size float8);
         insert into app.odd values (1, '2026-02-03', '-1 month 2 days -3 hours', 0.1::float8 + \
         0.2);
         create trigger capture after insert on app.odd for each row execute function \
         pgq.logutriga('q');
         do $$ begin create role pgq_copier login in role pgq_reader;
           exception when duplicate_object then null; end $$;
         grant usage on schema app to pgq_copier;
         grant select on app.account, app.odd to pgq_copier;
         alter table app.account enable row level security;
         alter database \"{0}\" set datestyle = 'SQL, DMY';
         alter database \"{0}\" set intervalstyle = 'sql_standard';
         alter database \"{0}\" set extra_float_digits = 0",
        scratch.name()
    ))
    .unwrap();
    let odd = "create table app.odd (id int primary key, day date, took interval, size float8)";
    let (there, mut far) = target(&format!("{TABLES}; {odd}"));
    let (to, role) = (dsn(&there), scratch.cluster().conninfo_as(scratch.name(), "pgq_copier"));
    // Tables that are not for us need not be ours to read.
    let load = ["load", "q", "c", "--to", &to, "--copy", "--once", "--only", "app.*"];
    let copy = || pgq(&load).args(["--dsn", &role]).output().unwrap();
    let output = copy();
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(stderr(&output).contains("row-level security"), "{}", stderr(&output));
    assert_eq!(value(&mut far, "select count(*) from app.odd"), "0");

    here.batch_execute("alter table app.account disable row level security").unwrap();
    let end = Arc::new(AtomicBool::new(false));
    let ticker = {
        let end = Arc::clone(&end);
        std::thread::spawn(move || {
            while !end.load(Ordering::SeqCst) {
                tick(&mut here, "q");
            }
        })
    };
    let output = copy();
    end.store(true, Ordering::SeqCst);
    ticker.join().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let same = "select day = '2026-02-03' and took::text = '-1 mons +2 days -03:00:00' and size = \
        0.1::float8 + 0.2 from app.odd";
    assert_eq!(value(&mut far, same), "t");
    assert_eq!(value(&mut far, "select count(*) from app.account"), "500");
}

#[test]
fn several_tables_are_copied_into_one() {
    let (scratch, mut here) = source();
    let (there, mut far) = target("create table log (id int, what text)");
    here.batch_execute(
        "drop trigger capture on app.account; drop trigger capture on \"Note\";
         create table log2 as select -id as id, what from log;
         create trigger capture after insert on log2 for each row execute function \
         pgq.logutriga('q')",
    )
    .unwrap();
    let to = dsn(&there);
    let load = ["load", "q", "c", "--to", &to, "--copy", "--once", "--table", "log2=public.log"];
    succeed(&scratch, &load);
    let sum = "select count(*) || ' ' || sum(id) from log";
    assert_eq!(value(&mut far, sum), "100 0");
}

#[test]
fn a_stop_ends_a_copy_in_the_middle() {
    let (scratch, mut here) = source();
    let (there, mut far) = target(TABLES);
    // The copy waits for this lock, as it would for the last of very many rows.
    let mut holder = scratch.connect();
    holder.batch_execute("begin; lock table log").unwrap();
    let mut child = pgq(&["load", "q", "c", "--to", &dsn(&there), "--copy"])
        .env("PGQ_DSN", dsn(&scratch))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and \
        wait_event_type = 'Lock'";
    assert!(wait_until(PATIENCE, || value(&mut here, waits) == "1"));
    signal(&child, "TERM");
    let mut code = None;
    assert!(wait_until(PATIENCE, || {
        code = child.try_wait().unwrap().map(|status| status.code());
        code.is_some()
    }));
    assert_eq!(code, Some(Some(0)));
    assert_eq!(value(&mut far, "select count(*) from app.account"), "0");
}
