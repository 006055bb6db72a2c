//! Definitions that are made again, of tables whose names look like parts of them.

use postgres::Client;

use crate::londiste::root;
use pgq_tests::query::{row, rows, run};

/// A superuser's worker runs what is returned.
#[test]
fn names_of_columns_and_tables_add_nothing_to_a_foreign_key() {
    let (_database, mut client) = root();
    run(
        &mut client,
        r#"create schema ev;
           create table ev.t (id integer primary key);
           create table ev.")references ev.t;create table ev.owned()--" (id integer primary key);
           create table ev.f (
               "a) REFERENCES ev." integer,
               "a) REFERENCES x(" integer constraint k
                   references ev.")references ev.t;create table ev.owned()--")"#,
    );
    for lazy in [false, true] {
        assert_eq!(row(&mut client, "select londiste.drop_table_fkey('ev.f', 'k')"), "1");
        let noted = row(&mut client, "select fkey_def from londiste.pending_fkeys");
        let restore = format!("select londiste.restore_table_fkey('ev.f', 'k', {lazy})");
        let mut statement = row(&mut client, &restore);
        assert_eq!(statement, if lazy { format!("{noted} not valid") } else { String::new() });
        while !statement.is_empty() {
            run(&mut client, &statement);
            statement = row(&mut client, &restore);
        }
        assert_eq!(
            row(
                &mut client,
                "select convalidated, to_regclass('ev.owned'),
                        (select count(*) from londiste.pending_fkeys)
                   from pg_constraint where conname = 'k'"
            ),
            "t|∅|0"
        );
    }
}

/// Upstream noted it without the schema of the table that it refers to.
#[test]
fn what_upstream_noted_of_such_names_gets_its_schema_in_the_right_place() {
    let (_database, mut client) = root();
    for (key, noted, restored) in [
        (r#""a) REFERENCES x(""#, "t(id)", r#"ev."t 1"(id)"#),
        (r#""a) REFERENCES x(", "b"" REFERENCES y(""#, r#""t 1"(id)"#, r#"ev."t 1"(id)"#),
        (
            r#""a) REFERENCES x(""#,
            r#"ev.")references ev.t;x"(id)"#,
            r#"ev.")references ev.t;x"(id)"#,
        ),
        ("id", r#"")references ev.t;x"(id)"#, r#"ev."t 1"(id)"#),
        ("id", r#""a""(".t(id)"#, r#""a""(".t(id)"#),
    ] {
        let beginning = r#"alter table only ev." REFERENCES z(" add constraint x FOREIGN KEY"#;
        run(
            &mut client,
            &format!(
                "delete from londiste.pending_fkeys;
                 insert into londiste.pending_fkeys values
                     ('ev. REFERENCES z(', 'ev.t 1', 'x', '{beginning} ({key}) REFERENCES {noted}')"
            ),
        );
        assert_eq!(
            row(&mut client, "select londiste.restore_table_fkey('ev. REFERENCES z(', 'x', true)"),
            format!("{beginning} ({key}) REFERENCES {restored} not valid")
        );
    }
}

/// The caller runs what the partition gets; it may be a superuser, and the table somebody else's.
#[test]
fn names_in_triggers_and_rules_are_passed_over_where_the_table_is_to_be_named() {
    let (_database, mut client) = root();
    run(
        &mut client,
        r#"create table t (id integer, " ON public.t " integer, "a"" ON public.t b" integer);
           create function f() returns trigger language plpgsql as 'begin return new; end';
           create trigger " ON public.t " before update of " ON public.t ", "a"" ON public.t b" on t
               for each row when (new." ON public.t " > 1) execute function f(' ON public.t ', '"');
           create constraint trigger " TO public.t" after insert on t deferrable
               for each row execute function f();
           create rule " TO public.t" as on delete to t where old." ON public.t " = 1
               do instead nothing;
           alter table t disable trigger " ON public.t ", enable always rule " TO public.t""#,
    );
    assert_eq!(
        row(&mut client, "select londiste.create_partition('t', 'p o', null, null, null, null)"),
        "1"
    );
    let definitions = |client: &mut Client, table: &str| {
        let query = format!(
            "select pg_get_triggerdef(oid), tgenabled from pg_trigger where tgrelid = {table}
             union all
             select pg_get_ruledef(oid), ev_enabled from pg_rewrite where ev_class = {table}
              order by 1"
        );
        rows(client, &query)
    };
    let parents = definitions(&mut client, "'t'::regclass");
    assert_eq!(parents.len(), 3);
    // Where each of them names its table: the first time that it does so without quotes.
    let expected: Vec<_> = parents
        .iter()
        .map(|definition| {
            let bare = |at: &usize| definition[..*at].matches('"').count() % 2 == 0;
            let at = definition.match_indices("public.t").map(|(at, _)| at).find(bare).unwrap();
            format!("{}public.\"p o\"{}", &definition[..at], &definition[at + 8..])
        })
        .collect();
    assert_eq!(definitions(&mut client, "'\"p o\"'::regclass"), expected);
}

/// `a.b.c` is table `b.c` of schema `a`.
#[test]
fn a_foreign_key_of_a_schema_with_a_dot_is_not_taken_for_another_tables() {
    let (_database, mut client) = root();
    run(
        &mut client,
        r#"create schema a; create schema "a.b";
           create table a."b.c" (id integer primary key constraint x check (id > 0));
           create table "a.b".c (id integer constraint x references a."b.c")"#,
    );
    assert_eq!(row(&mut client, "select londiste.drop_table_fkey('a.b.c', 'x')"), "0");
    assert_eq!(row(&mut client, "select count(*) from pg_constraint where conname = 'x'"), "2");
}
