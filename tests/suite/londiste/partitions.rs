//! Partitions that are made and dropped.

use pgq_tests::race::race;

use crate::londiste::root;
use pgq_tests::query::{outcome, row, rows, run};

#[test]
fn grants_of_a_partition_are_its_parents() {
    let (database, mut client) = root();
    let (owner, reader) =
        (format!("owner_{}", database.name()), format!("reader_{}", database.name()));
    run(
        &mut client,
        &format!(
            "create role {owner}; create role {reader};
             create table t (id integer primary key, \"on public.t\" integer); alter table t
                 owner to {owner};
             grant select on t to {reader} with grant option; grant insert on t to public;
             create function f() returns trigger language plpgsql as 'begin return new; end';
             create trigger \" ON public.t \" before update of \"on public.t\" on t
                 for each row execute function f()"
        ),
    );
    let call = "select londiste.create_partition('t', 'Part.\"of\" t', null, null, null, null)";
    run(&mut client, "create schema \"Part\"");
    assert_eq!(row(&mut client, call), "1");
    assert_eq!(row(&mut client, call), "0");
    assert_eq!(
        row(
            &mut client,
            "select count(*), count(distinct relacl::text), count(distinct relowner) from pg_class
              where relkind = 'r' and relname in ('t', '\"of\" t')"
        ),
        "2|1|1"
    );
    assert_eq!(
        row(
            &mut client,
            "select tgname from pg_trigger where tgrelid = '\"Part\".\"\"\"of\"\" t\"'::regclass"
        ),
        " ON public.t "
    );
    assert!(
        outcome(&mut client, "select londiste.create_partition('t', 'p', null, 'id', null, null)")
            .starts_with("ERROR 22004")
    );
    run(&mut client, &format!("drop owned by {owner}, {reader}; drop role {owner}, {reader}"));
}

#[test]
fn a_period_is_one_or_is_refused_and_what_has_no_name_has_no_time() {
    let (_database, mut client) = root();
    run(&mut client, "set timezone = 'UTC'; create table t (id integer, at timestamptz)");
    let call = |period: &str| {
        format!(
            "select londiste.create_partition('t', 't_{period}', null, 'at', '2020-05-06', '{period}')"
        )
    };
    for period in ["fortnight", "timezone", "3 days", "1", ""] {
        let answer = outcome(&mut client, &call(period));
        assert!(answer.starts_with("ERROR 22023: bad period"), "{period}: {answer}");
    }
    assert_eq!(
        row(&mut client, "select count(*) from pg_inherits where inhparent = 't'::regclass"),
        "0"
    );
    assert_eq!(row(&mut client, &call("quarter")), "1");
    let check = row(
        &mut client,
        "select pg_get_constraintdef(oid) from pg_constraint where conrelid = 't_quarter'::regclass",
    );
    assert!(check.contains("2020-04-01") && check.contains("2020-07-01"), "{check}");

    run(&mut client, "create view v as select 1");
    assert_eq!(
        row(&mut client, "select londiste.create_partition('t', 'v', null, null, null, null)"),
        "0"
    );
    assert_eq!(
        row(&mut client, "select londiste.is_obsolete_partition(null, '1 day', 'day') is null"),
        "t"
    );
}

/// Upstream gives a partition the grants of its parent, and none of the policies that narrow them.
#[test]
fn grants_do_not_open_a_partition_whose_parent_has_policies() {
    let (database, mut client) = root();
    let user = format!("user_{}", database.name());
    run(
        &mut client,
        &format!(
            "create role {user} login; create table t (id integer, owner text);
             alter table t enable row level security; grant select on t to {user};
             create policy own on t using (owner = current_user);
             select londiste.create_partition('t', 'p', null, null, null, null);
             insert into p values (1, '{user}'), (2, 'another')"
        ),
    );
    let mut session = database.connect_as(&user);
    assert_eq!(rows(&mut session, "select id from t"), ["1"]);
    assert_eq!(rows(&mut session, "select id from p"), Vec::<String>::new());
    drop(session);
    run(&mut client, &format!("drop owned by {user}; drop role {user}"));
}

#[test]
fn partitions_come_and_go_by_several_sessions_at_once() {
    let (database, mut client) = root();
    run(&mut client, "create table t (id integer primary key, at timestamptz)");
    let calls: [&str; 2] = [
        "select londiste.create_partition('t', 't_' || y, null, 'at', (y || '-01-01')::timestamptz,
             'year') from generate_series(2001, 2004) y",
        "select londiste.drop_obsolete_partitions('t', '1 year', 'year')",
    ];
    let errors = race(&database, 60, &[], &[&calls, &calls, &[calls[1]]]);
    assert_eq!(errors, Vec::<String>::new());
}
