//! The functions as callers see them: names, arguments, results, properties, and what they make of
//! NULL.

use pgq_tests::{Tree, scratch_database, scratch_database_on};

use pgq_tests::query::{outcome, row, rows, run};

/// One line per function.
const QUERY: &str = include_str!("signatures.sql");
/// What the query must say. A line that changes breaks callers.
const LEDGER: &str = include_str!("signatures.txt");
/// `function(types): outcome` of a call whose arguments are all NULL, in a database without queues.
const NULL_CALLS: &str = include_str!("null_calls.txt");

#[test]
fn functions_are_those_of_the_ledger() {
    let database = scratch_database();
    let found = rows(&mut database.connect(), QUERY);
    let ledger: Vec<_> = LEDGER.lines().collect();
    assert_eq!(found, ledger, "tests/suite/pgq/signatures.txt does not match pg_proc");
}

#[test]
fn every_function_of_pgq_3_5_is_there_as_it_was() {
    let peer = scratch_database_on(Tree::Peer);
    let mut client = peer.connect();
    run(&mut client, "create extension pgq");
    for line in rows(&mut client, QUERY) {
        // Upstream's calls the long form, which runs as the owner; ours stores the event itself.
        let ours = match line.as_str() {
            "insert_event(queue_name text, ev_type text, ev_data text) returns bigint" => {
                format!("{line} definer")
            }
            _ => line,
        };
        assert!(LEDGER.lines().any(|known| known == ours), "upstream has {ours}");
    }
}

#[test]
fn calls_with_nulls_do_what_the_ledger_says() {
    let database = scratch_database();
    let mut client = database.connect();
    let calls = rows(
        &mut client,
        "select format('%s(%s)', p.proname, (
                    select string_agg('null::' || format_type(t, null), ', ' order by n)
                      from unnest(p.proargtypes::oid[]) with ordinality a (t, n)))
           from pg_proc p
          where p.pronamespace = 'pgq'::regnamespace
            and p.prokind = 'f'
            and p.pronargs > 0
            and (p.proname !~ '^_' or p.proname = '_grant_perms_from')
          order by p.proname collate \"C\",
                   pg_get_function_identity_arguments(p.oid) collate \"C\"",
    );
    let mut found = Vec::new();
    for call in calls {
        run(&mut client, "begin");
        let result = outcome(&mut client, &format!("select * from pgq.{call}"));
        run(&mut client, "rollback");
        found.push(format!("{}: {result}", call.replace("null::", "")));
    }
    let ledger: Vec<_> = NULL_CALLS.lines().collect();
    assert_eq!(found, ledger, "tests/suite/pgq/null_calls.txt is not what calls with NULLs do");
}

#[test]
fn functions_that_run_as_their_owner_fix_the_search_path() {
    let database = scratch_database();
    // C functions resolve nothing by search path.
    let loose = "select string_agg(p.oid::regprocedure::text, ' ') from pg_proc p join pg_language l on l.oid = p.prolang
                  where p.pronamespace = 'pgq'::regnamespace and p.prosecdef and l.lanname <> 'c'
                    and not coalesce(
                            p.proconfig @> array['search_path=pg_catalog, pg_temp'], false)";
    assert_eq!(row(&mut database.connect(), loose), "∅");
}

#[test]
fn everything_has_a_comment() {
    let database = scratch_database();
    let mut client = database.connect();
    let functions = "select string_agg(p.oid::regprocedure::text, ' ') from pg_proc p
                      where p.pronamespace = 'pgq'::regnamespace
                        and obj_description(p.oid, 'pg_proc') is null";
    assert_eq!(row(&mut client, functions), "∅");
    let tables = "select string_agg(c.oid::regclass::text, ' ') from pg_class c
                   where c.relnamespace = 'pgq'::regnamespace and c.relkind = 'r'
                     and obj_description(c.oid, 'pg_class') is null";
    assert_eq!(row(&mut client, tables), "∅");
    let columns = "select string_agg(c.oid::regclass || '.' || a.attname, ' ')
                     from pg_class c join pg_attribute a on a.attrelid = c.oid
                    where c.relnamespace = 'pgq'::regnamespace and c.relkind = 'r'
                      and a.attnum > 0 and not a.attisdropped
                      and col_description(c.oid, a.attnum) is null";
    assert_eq!(row(&mut client, columns), "∅");
    client.batch_execute("load 'pgq'").unwrap();
    let settings = "select count(*) > 10, bool_and(short_desc <> '' and extra_desc <> '')
                      from pg_settings where name like 'pgq.%'";
    assert_eq!(row(&mut client, settings), "t|t");
}
