//! What the catalogs say of the extension, held against upstream and the ledger.

use pgq_tests::Tree;
use postgres::Client;

use crate::londiste::database_on;
use pgq_tests::query::{outcome, row, rows, run};

/// One line per function.
const QUERY: &str = include_str!("signatures.sql");
/// What the query must say. A line that changes breaks callers.
const LEDGER: &str = include_str!("signatures.txt");
/// Functions that upstream does not have.
const OWN: [&str; 19] = [
    "add_sequences",
    "add_tables",
    "change_provider",
    "create_branch",
    "create_leaf",
    "create_root",
    "drop_node",
    "execute",
    "pause",
    "remove_sequences",
    "remove_tables",
    "resume",
    "resync",
    "start_worker",
    "status",
    "stop_worker",
    "table_status",
    "wait_sync",
    "worker_status",
];
/// `function(types): outcome` of a call whose arguments are all NULL, in a database without queues.
const NULL_CALLS: &str = include_str!("null_calls.txt");

#[test]
fn functions_are_those_of_the_ledger_and_of_upstream() {
    let (_database, mut client) = database_on(Tree::Ours);
    let ledger: Vec<_> = LEDGER.lines().collect();
    assert_eq!(rows(&mut client, QUERY), ledger, "signatures.txt does not match pg_proc");
    // Ours, and those of upstream.
    assert_eq!(ledger.len(), OWN.len() + 49);

    let (_peer, mut peer) = database_on(Tree::Peer);
    let theirs = rows(&mut peer, QUERY);
    assert_eq!(theirs.len(), 49);
    let is_own = |line: &&&str| line.split_once('(').is_some_and(|(name, _)| OWN.contains(&name));
    for (theirs, ours) in theirs.iter().zip(ledger.iter().filter(|line| !is_own(line))) {
        // Upstream forgot to say who may call it.
        let theirs = match theirs.split_once('(') {
            Some(("local_change_handler", _)) => {
                theirs.replace("for public", "for londiste_writer")
            }
            _ => theirs.clone(),
        };
        assert_eq!(theirs, *ours);
    }
}

#[test]
fn tables_are_upstreams() {
    let (_database, mut ours) = database_on(Tree::Ours);
    let (_peer, mut theirs) = database_on(Tree::Peer);
    for query in [
        "select c.relname, c.relkind, (select array_agg(x::text order by x::text) from unnest(c.relacl) x), a.attname,
                format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
           from pg_class c
           join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
           left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
          where c.relnamespace = 'londiste'::regnamespace and c.relkind in ('r', 'S')
            and c.relname !~ '^(worker|table_copy|provider_change)'
          order by c.relname, a.attnum",
        "select conrelid::regclass, conname, pg_get_constraintdef(oid) from pg_constraint
          where connamespace = 'londiste'::regnamespace
            and conrelid::regclass::text !~ '^londiste.(worker|table_copy|provider_change)'
          order by 1::text, 2",
        "select tgrelid::regclass, pg_get_triggerdef(oid) from pg_trigger
          where not tgisinternal and tgrelid::regclass::text like 'londiste.%'
            and tgrelid::regclass::text not like 'londiste.worker%'",
        "select nspacl from pg_namespace where nspname = 'londiste'",
        "select rolname, rolcanlogin, rolsuper, rolcreaterole, pg_has_role(rolname, 'pgq_reader', 'usage'),
                pg_has_role(rolname, 'pgq_admin', 'usage')
           from pg_roles where rolname like 'londiste\\_%er' order by 1",
    ] {
        let expected = rows(&mut theirs, query);
        assert!(!expected.is_empty(), "{query}");
        assert_eq!(rows(&mut ours, query), expected);
    }
    // What goes into dumps: upstream leaves out what comes next of the two sequences.
    let dumped = |client: &mut Client| {
        row(
            client,
            "select string_agg(c::regclass::text, ' ' order by c::regclass::text)
               from pg_extension, unnest(extconfig) c where extname = 'londiste'",
        )
    };
    let tables = "londiste.applied_execute londiste.pending_fkeys londiste.seq_info";
    assert_eq!(dumped(&mut theirs), format!("{tables} londiste.table_info"));
    assert_eq!(
        dumped(&mut ours),
        format!("{tables} londiste.seq_info_nr_seq londiste.table_info londiste.table_info_nr_seq")
    );
}

#[test]
fn calls_with_nulls_do_what_the_ledger_says() {
    let (_database, mut client) = database_on(Tree::Ours);
    let calls = rows(
        &mut client,
        "select format('%s(%s)', p.proname, (
                    select string_agg('null::' || format_type(t, null), ', ' order by n)
                      from unnest(p.proargtypes::oid[]) with ordinality a (t, n)))
           from pg_proc p
          where p.pronamespace = 'londiste'::regnamespace
            and p.pronargs > 0
            and p.prokind <> 'p'
            and (p.proname !~ '^_' or p.proname = '_coordinate_copy')
          order by p.proname collate \"C\",
                   pg_get_function_identity_arguments(p.oid) collate \"C\"",
    );
    let mut found = Vec::new();
    for call in calls {
        run(&mut client, "begin");
        let result = outcome(&mut client, &format!("select * from londiste.{call}"));
        run(&mut client, "rollback");
        found.push(format!("{}: {result}", call.replace("null::", "")));
    }
    let ledger: Vec<_> = NULL_CALLS.lines().collect();
    assert_eq!(
        found,
        ledger,
        "null_calls.txt is not what calls with NULLs do:\n{}",
        found.join("\n")
    );
}

#[test]
fn everything_is_commented_and_nothing_can_be_hijacked() {
    let (_database, mut client) = database_on(Tree::Ours);
    for condition in [
        "obj_description(p.oid, 'pg_proc') is null",
        // Every body opens with its contract. Those in C have none, and look nothing up.
        "l.lanname <> 'c' and p.prosrc not like E'\\n-- ----%-- Function: londiste.' || p.proname || '(' || p.pronargs || ')%'",
        // Names in a script are the caller's, and a procedure that has settings cannot commit.
        "l.lanname <> 'c' and p.proname not in ('change_provider', 'execute', 'wait_sync')
         and not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)",
        "l.lanname <> 'c' and p.proname not in ('change_provider', 'execute', 'wait_sync')
         and not coalesce('jit=off' = any (p.proconfig), false)",
    ] {
        let query = format!(
            "select p.oid::regprocedure from pg_proc p join pg_language l on l.oid = p.prolang
              where p.pronamespace = 'londiste'::regnamespace and {condition}"
        );
        assert_eq!(rows(&mut client, &query), Vec::<String>::new(), "{condition}");
    }
    let uncommented = "select c.oid::regclass from pg_class c
                        where c.relnamespace = 'londiste'::regnamespace and c.relkind = 'r'
                          and obj_description(c.oid, 'pg_class') is null";
    assert_eq!(rows(&mut client, uncommented), Vec::<String>::new());
    let columns = "select c.oid::regclass, a.attname
                     from pg_class c join pg_attribute a on a.attrelid = c.oid
                    where c.relnamespace = 'londiste'::regnamespace
                      and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
                      and col_description(c.oid, a.attnum) is null";
    assert_eq!(rows(&mut client, columns), Vec::<String>::new());
    run(&mut client, "drop extension londiste; create extension londiste");
    assert_eq!(row(&mut client, "select londiste.version(), londiste.upgrade_schema()"), "4.0|0");
}
