//! Transactions in pieces.

use std::process::Command;
use std::sync::atomic::Ordering;

use pgq_pg::parameter::Parameter;
use pgq_pg::session::Failure;
use pgq_pg::{lock, piece, process, report};
use pgrx::pg_test;

use crate::{scenario, server, table};

/// What the tests below run in workers.
pub(crate) const SCENARIOS: &[fn()] = &[
    commits,
    savepoints,
    many_levels,
    no_savepoint,
    values,
    kept_plans,
    make_nobody,
    nobody,
    idle,
];

const TABLE: &str =
    "drop table if exists public.piece; create table public.piece (i integer primary key, t text)";

/// What works.
pub(crate) fn done<T>(result: Result<T, Failure>) -> T {
    result.expect("it works")
}

/// The code of an error.
pub(crate) fn code<T>(result: Result<T, Failure>) -> String {
    result.err().map_or_else(|| "no error".to_owned(), |failure| failure.sqlstate)
}

/// Rows of the table in a transaction of its own, after what the scenario has left.
fn numbers() -> Vec<String> {
    done(piece::begin());
    let rows = done(piece::rows("select i::text from public.piece order by i", &[]));
    done(piece::commit());
    rows.into_iter().flatten().flatten().collect()
}

fn make_table() {
    transaction(TABLE);
}

/// Statements in a transaction of their own.
pub(crate) fn transaction(sql: &str) {
    done(piece::begin());
    done(piece::run(sql));
    done(piece::commit());
}

/// A role without rights.
pub(crate) fn make_nobody() {
    transaction(
        "do $$ begin create role fence_nobody login;
         exception when duplicate_object then null; end $$",
    );
}

fn nobody() {
    done(piece::begin());
    let rows = done(piece::rows("select session_user::text, current_user::text", &[]));
    assert_eq!(rows, [[Some("fence_nobody".to_owned()), Some("fence_nobody".to_owned())]]);
    for refused in [
        "set session authorization default; create role fence_more",
        "reset role; create role fence_more",
        "set session_replication_role = replica",
        "select * from pg_authid",
    ] {
        done(piece::savepoint());
        assert_eq!(code(piece::run(refused)), "42501", "{refused}");
        done(piece::roll_back());
    }
    done(piece::commit());
}

fn insert(number: i32) -> Result<u64, Failure> {
    let number = number.to_string();
    let parameters = [Parameter::Text(Some(&number))];
    piece::execute("insert into public.piece values ($1::integer)", &parameters)
}

fn commits() {
    assert_eq!(code(insert(1)), "25P01");
    assert_eq!(code(piece::commit()), "25P01");
    piece::abort();
    make_table();
    done(piece::begin());
    assert!(piece::is_open());
    assert_eq!(code(piece::begin()), "25001");
    assert_eq!(done(insert(1)), 1);
    assert_eq!(done(insert(2)), 1);
    done(piece::commit());
    assert!(!piece::is_open());
    done(piece::begin());
    done(insert(3));
    piece::abort();
    assert_eq!(numbers(), ["1", "2"]);
    // What is deferred fails at the commit, and nothing is left open.
    done(piece::begin());
    done(piece::run(
        "alter table public.piece add constraint later unique (t) deferrable initially deferred;
         insert into public.piece values (4, 'x'), (5, 'x')",
    ));
    assert_eq!(code(piece::commit()), "23505");
    assert!(!piece::is_open());
    assert_eq!(numbers(), ["1", "2"]);
}

fn savepoints() {
    make_table();
    done(piece::begin());
    assert_eq!(code(piece::roll_back()), "3B001");
    assert_eq!(code(piece::release()), "3B001");
    done(insert(1));
    done(piece::savepoint());
    done(insert(2));
    done(piece::release());
    done(piece::savepoint());
    done(insert(3));
    done(piece::savepoint());
    let failure = insert(1).expect_err("the key is there");
    assert_eq!(failure.sqlstate, "23505");
    assert_eq!(failure.detail.as_deref(), Some("Key (i)=(1) already exists."));
    assert_eq!(code(insert(4)), "25P02", "before the savepoint is rolled back");
    assert_eq!(code(piece::savepoint()), "25P02");
    done(piece::roll_back());
    done(insert(5));
    done(piece::roll_back());
    done(insert(6));
    done(piece::commit());
    assert_eq!(numbers(), ["1", "2", "6"]);
}

fn many_levels() {
    make_table();
    // An open savepoint is no commit.
    done(piece::begin());
    done(insert(1));
    done(piece::savepoint());
    done(piece::savepoint());
    done(insert(2));
    assert_eq!(code(piece::commit()), "25000");
    assert!(!piece::is_open());
    assert_eq!(numbers(), [""; 0]);
    // An error that nobody rolls back is undone at all levels.
    done(piece::begin());
    done(insert(1));
    done(piece::savepoint());
    done(insert(2));
    done(piece::savepoint());
    assert_eq!(code(piece::run("select 1 / 0")), "22012");
    assert_eq!(code(piece::commit()), "25P02");
    assert_eq!(numbers(), [""; 0]);
    // One from a subtransaction of a function's own, within a savepoint.
    done(piece::begin());
    done(insert(1));
    done(piece::savepoint());
    let within = "do $$ begin begin perform 1 / 0; exception when division_by_zero then
                  perform 1 / 0; end; end $$";
    assert_eq!(code(piece::run(within)), "22012");
    done(piece::roll_back());
    done(insert(2));
    done(piece::savepoint());
    piece::abort();
    assert!(!piece::is_open());
    assert_eq!(numbers(), [""; 0]);
}

fn no_savepoint() {
    make_table();
    done(piece::begin());
    done(insert(1));
    assert_eq!(code(insert(1)), "23505");
    assert!(piece::is_open(), "until somebody aborts it");
    assert_eq!(code(insert(2)), "25P02");
    assert_eq!(code(piece::attempt(|| ())), "25P02");
    // The locks are gone: another session would see so; here, a new transaction can be begun.
    assert_eq!(code(piece::begin()), "25001");
    piece::abort();
    assert_eq!(numbers(), [""; 0]);
    // A panic is an error as well.
    done(piece::begin());
    let panicked = piece::attempt(|| assert_eq!(1 + 1, 3, "a sum"));
    assert!(panicked.is_err_and(|failure| failure.message.contains("a sum")));
    piece::abort();
    done(piece::begin());
    let told =
        "do $$ begin perform pg_cancel_backend(pg_backend_pid()); perform pg_sleep(60); end $$";
    assert_eq!(code(piece::run(told)), "57014");
    piece::abort();
    for refused in ["begin", "commit", "savepoint a", "copy public.piece from stdin"] {
        done(piece::begin());
        assert!(piece::run(refused).is_err(), "{refused}");
        piece::abort();
    }
}

fn values() {
    make_table();
    done(piece::begin());
    let texts = [Some("a \"b\", {c}\\"), None, Some("löwe"), Some("")];
    let parameters = [Parameter::Texts(&texts), Parameter::Text(None), Parameter::Texts(&[])];
    let rows = done(piece::rows(
        "select u.t, $2::text, cardinality($3)::text from unnest($1) with ordinality u(t, n)
          order by n",
        &parameters,
    ));
    let column: Vec<_> = rows.iter().map(|row| row[0].as_deref()).collect();
    assert_eq!(column, texts);
    assert_eq!((rows[0][1].as_deref(), rows[0][2].as_deref()), (None, Some("0")));
    assert_eq!(done(piece::rows("select", &[])), [Vec::new()]);
    done(piece::savepoint());
    let zero = piece::rows("select $1", &[Parameter::Text(Some("a\0b"))]);
    assert_eq!(code(zero), "22021");
    done(piece::roll_back());
    done(piece::savepoint());
    assert_eq!(code(piece::run("select 'a\0b'")), "22021");
    done(piece::roll_back());
    // Statements in one text see what those before have done.
    done(piece::run(
        "create temp table own (i integer); insert into own values (1);
         insert into own select i + 1 from own",
    ));
    assert_eq!(done(piece::execute("update own set i = 0", &[])), 2);
    done(piece::commit());
}

/// Between two pieces of work there is nothing to cancel.
fn idle() {
    let kill = format!("kill -INT {}", process::my_pid());
    let killed = Command::new("sh").args(["-c", &kill]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    report::log("a line, which looks at interrupts");
    assert!(process::interrupt_is_pending());
    process::check_interrupts();
    assert!(!process::interrupt_is_pending());
}

fn kept_plans() {
    let plans = || {
        let sql = "select count(*)::text from pg_backend_memory_contexts
                    where name = 'CachedPlanSource' and ident like 'select %of many%'";
        let rows = done(piece::rows(sql, &[]));
        rows[0][0].as_deref().and_then(|count| count.parse::<u32>().ok()).expect("a number")
    };
    done(piece::begin());
    let statement = |number: u32| format!("select {number}, 'of ' || 'many'");
    for _ in 0..3 {
        done(piece::rows(&statement(1), &[]));
    }
    let one = plans();
    assert!(one >= 1, "it is kept");
    for number in 2..600 {
        done(piece::rows(&statement(number), &[]));
        assert!(plans() <= 256 * one, "not all are kept");
    }
    let kept = plans();
    done(piece::rows(&format!("select 'of many', '{}'", "x".repeat(9000)), &[]));
    assert_eq!(plans(), kept, "a long text's is not kept");
    // A plan follows its table, and an error in a kept one leaves it usable.
    done(piece::commit());
    make_table();
    done(piece::begin());
    done(insert(1));
    done(piece::savepoint());
    assert_eq!(code(insert(1)), "23505");
    done(piece::roll_back());
    done(insert(2));
    done(piece::commit());
    make_table();
    assert_eq!(numbers(), [""; 0]);
}

#[pg_test]
fn a_transaction_in_pieces_commits_all_of_it_or_nothing() {
    scenario::run(commits);
}

#[pg_test]
fn a_savepoint_is_kept_or_undone_and_a_failure_undoes_the_innermost() {
    scenario::run(savepoints);
}

#[pg_test]
fn an_open_savepoint_is_never_committed_and_an_end_ends_all_levels() {
    scenario::run(many_levels);
}

#[pg_test]
fn without_a_savepoint_a_failure_undoes_the_transaction() {
    scenario::run(no_savepoint);
}

#[pg_test]
fn parameters_and_rows_are_texts_as_they_are() {
    scenario::run(values);
}

#[pg_test]
#[cfg(not(feature = "pg13"))]
fn plans_are_kept_by_their_text_but_not_without_bound() {
    scenario::run(kept_plans);
}

#[pg_test]
fn a_worker_is_the_role_that_it_connects_as_and_nobody_else() {
    scenario::run_as_nobody(make_nobody, nobody);
}

#[pg_test]
fn a_worker_without_a_role_ends_and_is_nobodys() {
    let worker = scenario::start_as(0, make_nobody);
    server::await_end(&worker);
    assert_eq!(server::passed().load(Ordering::SeqCst), 0);
}

#[pg_test]
fn a_session_lock_is_known_until_somebody_gives_it_up() {
    let key = -0x1234_5678_9abc;
    assert!(!lock::holds_session_lock(key));
    table::run(&format!("select pg_advisory_lock({key})"));
    assert!(lock::holds_session_lock(key) && !lock::holds_session_lock(key + 1));
    table::run("select pg_advisory_unlock_all()");
    assert!(!lock::holds_session_lock(key));
    table::run(&format!("select pg_advisory_lock_shared({key})"));
    assert!(!lock::holds_session_lock(key), "a shared one is not ours alone");
    table::run("select pg_advisory_unlock_all()");
}

#[pg_test]
fn a_cancel_where_nothing_runs_is_for_nothing() {
    scenario::run(idle);
}
