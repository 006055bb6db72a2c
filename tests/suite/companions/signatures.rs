//! What the catalogs say of the companions, held against upstream and the specification.

use pgq_tests::{Tree, scratch_database_on};
use postgres::Client;

use crate::companions::{COMPANIONS, full};
use pgq_tests::query::{outcome, row, rows, run};

/// Signatures, properties and grants of a schema's functions that are not internal.
fn signatures(client: &mut Client, schema: &str) -> Vec<String> {
    let sql = format!(
        "select p.proname || '(' || pg_get_function_arguments(p.oid) || ') -> ' || \
         pg_get_function_result(p.oid)
                || case when p.prosecdef then ' definer' else '' end
                || case when p.proisstrict then ' strict' else '' end
                || ' ' || p.provolatile::text || ' for ' || (
                    select string_agg(r.name, ', ' order by r.name)
                      from (select case a.grantee when 0 then 'public' else \
                      pg_get_userbyid(a.grantee)::text end as name
                              from aclexplode(p.proacl) a) r
                     where r.name <> 'postgres')
           from pg_proc p
          where p.pronamespace = '{schema}'::regnamespace
            and p.proname not like '\\_%'
          order by p.proname collate \"C\", pg_get_function_arguments(p.oid) collate \"C\""
    );
    rows(client, &sql)
}

#[test]
fn signatures_of_pgq_node_are_upstreams() {
    let (_database, mut ours) = full();
    let peer = scratch_database_on(Tree::Peer);
    let mut theirs = peer.connect();
    run(&mut theirs, "create extension pgq; create extension pgq_node");
    let additions = ["cancel_demote(", "node_health("];
    let functions: Vec<_> = signatures(&mut ours, "pgq_node")
        .into_iter()
        .filter(|line| !additions.iter().any(|name| line.starts_with(name)))
        .collect();
    assert_eq!(functions, signatures(&mut theirs, "pgq_node"));
    assert_eq!(functions.len(), 30);

    let tables = "select c.relname, (select array_agg(x::text order by x::text) from \
        unnest(c.relacl) x), a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                         pg_get_expr(d.adbin, d.adrelid)
                    from pg_class c
                    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
                    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
                   where c.relnamespace = 'pgq_node'::regnamespace and c.relkind = 'r' and \
                   c.relname <> 'consumer_seen'
                   order by c.relname, a.attnum";
    assert_eq!(rows(&mut ours, tables), rows(&mut theirs, tables));
    let constraints = "select conrelid::regclass, conname, pg_get_constraintdef(oid)
                         from pg_constraint
                        where connamespace = 'pgq_node'::regnamespace and \
                        conrelid::regclass::text not like '%consumer_seen'
                        order by 1::text, 2";
    assert_eq!(rows(&mut ours, constraints), rows(&mut theirs, constraints));
}

#[test]
fn signatures_of_pgq_coop_and_pgq_ext_are_the_specifications() {
    let (_database, mut client) = full();
    let member = "i_queue_name text, i_consumer_name text, i_subconsumer_name text";
    let custom = "i_min_lag interval, i_min_count integer, i_min_interval interval";
    assert_eq!(
        signatures(&mut client, "pgq_coop"),
        [
            "finish_batch(i_batch_id bigint) -> integer definer v for pgq_reader".to_owned(),
            format!("next_batch({member}) -> bigint v for pgq_reader"),
            format!("next_batch({member}, i_dead_interval interval) -> bigint v for pgq_reader"),
            format!("next_batch_custom({member}, {custom}) -> bigint v for pgq_reader"),
            format!(
                "next_batch_custom({member}, {custom}, i_dead_interval interval) -> bigint \
                 definer v for pgq_reader"
            ),
            format!("register_subconsumer({member}) -> integer definer v for pgq_reader"),
            format!(
                "unregister_subconsumer({member}, i_batch_handling integer) -> integer definer v \
                 for pgq_reader"
            ),
            "version() -> text v for public".to_owned(),
        ]
    );
    assert_eq!(
        signatures(&mut client, "pgq_ext"),
        [
            "get_last_tick(a_consumer text) -> bigint v for pgq_writer",
            "get_last_tick(a_consumer text, a_subconsumer text) -> bigint definer v for pgq_writer",
            "is_batch_done(a_consumer text, a_batch_id bigint) -> boolean v for pgq_writer",
            "is_batch_done(a_consumer text, a_subconsumer text, a_batch_id bigint) -> boolean \
             definer v for pgq_writer",
            "is_event_done(a_consumer text, a_batch_id bigint, a_event_id bigint) -> boolean v \
             for pgq_writer",
            "is_event_done(a_consumer text, a_subconsumer text, a_batch_id bigint, a_event_id \
             bigint) -> boolean \
             definer v for pgq_writer",
            "set_batch_done(a_consumer text, a_batch_id bigint) -> boolean v for pgq_writer",
            "set_batch_done(a_consumer text, a_subconsumer text, a_batch_id bigint) -> boolean \
             definer v for pgq_writer",
            "set_event_done(a_consumer text, a_batch_id bigint, a_event_id bigint) -> boolean v \
             for pgq_writer",
            "set_event_done(a_consumer text, a_subconsumer text, a_batch_id bigint, a_event_id \
             bigint) -> boolean \
             definer v for pgq_writer",
            "set_last_tick(a_consumer text, a_subconsumer text, a_tick_id bigint) -> integer \
             definer v for pgq_writer",
            "set_last_tick(a_consumer text, a_tick_id bigint) -> integer v for pgq_writer",
            "upgrade_schema() -> integer v for pgq_writer",
            "version() -> text v for public",
        ]
    );
}

#[test]
fn everything_is_commented_and_nothing_can_be_hijacked_or_called_by_everybody() {
    let (_database, mut client) = full();
    let functions = |condition: &str| {
        format!(
            "select p.oid::regprocedure from pg_proc p
              where p.pronamespace::regnamespace::text in ('pgq_coop', 'pgq_ext', 'pgq_node') and \
              {condition}"
        )
    };
    for condition in [
        "obj_description(p.oid, 'pg_proc') is null",
        // Every body opens with its contract.
        "p.prosrc not like E'\\n-- ----%-- Function: ' || p.pronamespace::regnamespace || '.' || \
         p.proname || '(' || p.pronargs || ')%'",
        "p.proname <> 'version' and not coalesce('search_path=pg_catalog, pg_temp' = any \
         (p.proconfig), false)",
        "p.proname like '\\_%' and (p.proacl is null or exists (
            select 1 from aclexplode(p.proacl) a where a.grantee::regrole::text <> 'postgres'))",
    ] {
        assert_eq!(rows(&mut client, &functions(condition)), Vec::<String>::new(), "{condition}");
    }
    let uncommented = "select c.oid::regclass from pg_class c
                        where c.relnamespace::regnamespace::text in ('pgq_ext', 'pgq_node') and \
                        c.relkind = 'r'
                          and obj_description(c.oid, 'pg_class') is null";
    assert_eq!(rows(&mut client, uncommented), Vec::<String>::new());
    let columns = "select c.oid::regclass, a.attname
                     from pg_class c join pg_attribute a on a.attrelid = c.oid
                    where c.relnamespace::regnamespace::text in ('pgq_ext', 'pgq_node')
                      and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
                      and col_description(c.oid, a.attnum) is null";
    assert_eq!(rows(&mut client, columns), Vec::<String>::new());
}

#[test]
fn null_arguments_lead_to_answers_and_proper_errors() {
    let (_database, mut client) = full();
    let calls = rows(
        &mut client,
        "select format('select * from %s.%s(%s)', p.pronamespace::regnamespace, p.proname,
                       (select string_agg('null::' || format_type(t, null), ', ' order by n)
                          from unnest(p.proargtypes::oid[]) with ordinality as a (t, n)))
           from pg_proc p
          where p.pronamespace::regnamespace::text in ('pgq_coop', 'pgq_ext', 'pgq_node')
            and p.proname not like '\\_%'",
    );
    assert_eq!(calls.len(), 8 + 14 + 32);
    for call in calls {
        let answer = outcome(&mut client, &call);
        assert!(
            !answer.starts_with("ERROR XX") && !answer.starts_with("ERROR P0001"),
            "{call}: {answer}"
        );
    }
}

#[test]
fn versions_and_dumped_tables_are_as_announced() {
    let (_database, mut client) = full();
    assert_eq!(
        rows(
            &mut client,
            "select extname, extversion, extnamespace::regnamespace, \
             coalesce(cardinality(extconfig), 0)
               from pg_extension where extname like 'pgq\\__%' order by 1"
        ),
        ["pgq_coop|4.0|pg_catalog|0", "pgq_ext|4.0|pg_catalog|4", "pgq_node|4.0|pg_catalog|4"]
    );
    for extension in COMPANIONS {
        assert_eq!(row(&mut client, &format!("select {extension}.version()")), "4.0");
        run(&mut client, &format!("drop extension {extension}; create extension {extension}"));
    }
    let paths = rows(
        &mut client,
        "select e || ' ' || source
           from unnest(array['pgq_coop', 'pgq_ext', 'pgq_node']) e, pg_extension_update_paths(e)
          where target = '4.0' and path = source || '--4.0' order by 1",
    );
    for version in [
        "pgq_coop 3.1",
        "pgq_coop 3.1.1",
        "pgq_coop 3.3",
        "pgq_coop 3.3.1",
        "pgq_coop 3.4",
        "pgq_ext 3.1",
        "pgq_ext 3.1.1",
        "pgq_ext 3.1.2",
        "pgq_ext 3.2",
        "pgq_ext 3.3",
        "pgq_node 3.2",
        "pgq_node 3.2.5",
        "pgq_node 3.3.1",
        "pgq_node 3.4",
        "pgq_node 3.5",
    ] {
        assert!(paths.contains(&version.to_owned()), "no update from {version}");
    }
}
