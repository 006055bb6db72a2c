//! Who may do what.

use pgq_tests::{Scratch, scratch_database};

use pgq_tests::query::{outcome, row, rows, run};

const GENERIC: &str = "seq_getval get_queue_info get_consumer_info quote_fqname version";
const READ: &str = "batch_event_sql batch_event_tables find_tick_helper register_consumer register_consumer_at \
    unregister_consumer next_batch_info next_batch next_batch_custom get_batch_events \
    get_batch_info get_batch_cursor \
    event_retry batch_retry force_tick finish_batch \
    subscribe unsubscribe seek receive ack nack dead_letters dead_replay dead_purge \
    _page_open _page_end _page_events _page_give _pass_ticks _headers _receive_all \
    _window_has_events _last_empty_tick _take_batch \
    set_slots slots _slot_next _slot_window _slot_pause _key_slot _newest_tick _receive_slots \
    _wait_tick";
const WRITE: &str = "insert_event insert_events send cancel send_batch _send_batch current_event_table jsontriga sqltriga logutriga";
const ADMIN: &str = "ticker maint_retry_events maint_rotate_tables_step1 maint_rotate_tables_step2 maint_tables_to_vacuum \
    maint_operations upgrade_schema grant_perms _grant_perms_from tune_storage seq_setval \
    create_queue drop_queue \
    set_queue_config _rotation_period insert_event_raw event_retry_raw rebase _tick_on_demand \
    _due_queues maint_delayed maint_empty_buckets _next_delayed _old_buckets _next_scheduled \
    maint_schedules schedule unschedule";

/// A database with one queue, and roles of its own: `PREFIX_reader`, `_writer`, `_admin`,
/// `_nobody`.
fn database() -> (Scratch, String) {
    let database = scratch_database();
    let prefix = database.name().to_owned();
    run(
        &mut database.connect(),
        &format!(
            "select pgq.create_queue('q');
             create role {prefix}_reader login in role pgq_reader;
             create role {prefix}_writer login in role pgq_writer;
             create role {prefix}_admin login in role pgq_admin; create role {prefix}_nobody login"
        ),
    );
    (database, prefix)
}

fn drop_roles(database: Scratch, prefix: &str) {
    let cluster = database.cluster();
    drop(database);
    run(
        &mut cluster.connect("postgres"),
        &format!("drop role {prefix}_reader, {prefix}_writer, {prefix}_admin, {prefix}_nobody"),
    );
}

#[test]
fn functions_belong_to_their_roles() {
    let database = scratch_database();
    let mut client = database.connect();
    for (role, may) in [
        ("public", vec![GENERIC]),
        ("pgq_reader", vec![GENERIC, READ]),
        ("pgq_writer", vec![GENERIC, WRITE]),
        ("pgq_admin", vec![GENERIC, READ, WRITE, ADMIN]),
    ] {
        let may: Vec<_> = may.iter().flat_map(|group| group.split_whitespace()).collect();
        for group in [GENERIC, READ, WRITE, ADMIN] {
            for name in group.split_whitespace() {
                let found = row(
                    &mut client,
                    &format!(
                        "select bool_and(has_function_privilege('{role}', oid, 'execute')), bool_or(has_function_privilege('{role}', oid, 'execute'))
                           from pg_proc
                          where pronamespace = 'pgq'::regnamespace and proname = '{name}'"
                    ),
                );
                let expected = if may.contains(&name) { "t|t" } else { "f|f" };
                assert_eq!(found, expected, "{role} and pgq.{name}");
            }
        }
    }
    // What is not in a list is the owner's, or the worker's.
    let known: Vec<_> =
        [GENERIC, READ, WRITE, ADMIN].iter().flat_map(|group| group.split_whitespace()).collect();
    let open = rows(
        &mut client,
        "select distinct proname from pg_proc where pronamespace = 'pgq'::regnamespace and has_function_privilege('public', oid, 'execute')",
    );
    for name in open {
        let is_view_of_the_worker =
            ["worker_status", "queue_health", "metrics", "wait_batch", "wait_receive"]
                .contains(&name.as_str());
        assert!(
            known.contains(&name.as_str()) || is_view_of_the_worker,
            "everybody may call pgq.{name}"
        );
    }
}

#[test]
fn tables_belong_to_their_roles() {
    let database = scratch_database();
    let mut client = database.connect();
    run(&mut client, "select pgq.create_queue('q')");
    let all = ["select", "insert", "update", "delete", "truncate"];
    let read = vec!["select"];
    let edit = vec!["select", "insert", "update", "delete"];
    let fill = vec!["select", "insert", "truncate"];
    for (tables, public, reader, writer, admin) in [
        (
            vec!["consumer", "tick", "subscription"],
            read.clone(),
            read.clone(),
            read.clone(),
            edit.clone(),
        ),
        // Most columns of pgq.queue may be updated: security::names.
        (vec!["queue"], read.clone(), read.clone(), read.clone(), vec!["select", "delete"]),
        (
            vec!["event_template", "event_1", "event_1_0", "event_1_2"],
            vec![],
            read.clone(),
            vec![],
            fill,
        ),
        (vec!["retry_queue"], vec![], vec![], vec![], edit.clone()),
        (vec!["page", "queue_option"], read.clone(), read.clone(), read.clone(), edit.clone()),
        (vec!["dead_letter"], vec![], read.clone(), vec![], edit),
    ] {
        for table in tables {
            for (role, may) in [
                ("public", &public),
                ("pgq_reader", &reader),
                ("pgq_writer", &writer),
                ("pgq_admin", &admin),
            ] {
                let found: Vec<_> = all
                    .into_iter()
                    .filter(|right| {
                        row(
                            &mut client,
                            &format!(
                                "select has_table_privilege('{role}', 'pgq.{table}', '{right}')"
                            ),
                        ) == "t"
                    })
                    .collect();
                assert_eq!(&found, may, "{role} and pgq.{table}");
            }
        }
    }
    for (sequence, public, admin) in [
        ("batch_id_seq", "f|f", "f|f"),
        ("queue_queue_id_seq", "f|f", "f|f"),
        ("event_1_tick_seq", "t|f", "t|f"),
        ("event_1_id_seq", "t|f", "t|t"),
    ] {
        for (role, may) in [("public", public), ("pgq_admin", admin)] {
            let found = row(
                &mut client,
                &format!(
                    "select has_sequence_privilege('{role}', 'pgq.{sequence}', 'select'), has_sequence_privilege('{role}', 'pgq.{sequence}', 'usage')"
                ),
            );
            assert_eq!(found, may, "{role} and pgq.{sequence}");
        }
    }
}

#[test]
fn roles_can_do_their_work_and_no_other() {
    let (database, prefix) = database();
    let denied = |function: &str| format!("ERROR 42501: permission denied for function {function}");

    let mut admin = database.connect_as(&format!("{prefix}_admin"));
    assert_eq!(row(&mut admin, "select pgq.create_queue('other')"), "1");
    let mut writer = database.connect_as(&format!("{prefix}_writer"));
    assert_eq!(outcome(&mut writer, "select pgq.create_queue('x')"), denied("create_queue"));
    assert_eq!(
        outcome(&mut writer, "select pgq.register_consumer('q', 'c')"),
        denied("register_consumer")
    );
    let mut reader = database.connect_as(&format!("{prefix}_reader"));
    assert_eq!(
        outcome(&mut reader, "select pgq.insert_event('q', 't', 'd')"),
        denied("insert_event")
    );
    let mut nobody = database.connect_as(&format!("{prefix}_nobody"));
    assert_eq!(outcome(&mut nobody, "select pgq.next_batch('q', 'c')"), denied("next_batch"));
    assert_eq!(row(&mut nobody, "select queue_name from pgq.get_queue_info('q')"), "q");
    assert_eq!(
        outcome(&mut nobody, "select * from pgq.event_template"),
        "ERROR 42501: permission denied for table event_template"
    );

    assert_eq!(row(&mut reader, "select pgq.register_consumer('q', 'c')"), "1");
    assert_eq!(row(&mut reader, "select pgq.next_batch('q', 'c')"), "∅");
    assert_eq!(row(&mut writer, "select pgq.insert_event('q', 't', 'd')"), "1");
    assert_eq!(
        row(&mut writer, "select pgq.insert_event('q', 't', 'd', 'x', null, null, null)"),
        "2"
    );
    assert_eq!(row(&mut writer, "select pgq.insert_events('q', array['t'], array['d'])"), "1");
    assert_eq!(
        outcome(&mut writer, "insert into pgq.event_1_0 (ev_time) values (now())"),
        "ERROR 42501: permission denied for table event_1_0"
    );
    run(&mut admin, "select pgq.force_tick('q')");
    assert_eq!(row(&mut admin, "select pgq.ticker('q')"), "2");
    assert_eq!(row(&mut reader, "select pgq.next_batch('q', 'c')"), "1");
    assert_eq!(row(&mut reader, "select count(*) from pgq.get_batch_events(1)"), "3");
    assert_eq!(row(&mut reader, "select count(*) from pgq.get_batch_cursor(1, 'x', 2)"), "2");
    assert_eq!(row(&mut reader, "select pgq.event_retry(1, 1, 0), pgq.batch_retry(1, 0)"), "1|2");
    assert_eq!(row(&mut reader, "select pgq.finish_batch(1)"), "1");

    assert_eq!(row(&mut admin, "select pgq.maint_retry_events()"), "3");
    assert_eq!(row(&mut admin, "select pgq.ticker()"), "1");
    run(
        &mut admin,
        "update pgq.queue set queue_switch_time = now() - interval '1 day' where queue_name = 'other'",
    );
    run(&mut admin, "select pgq.ticker('other')");
    assert_eq!(row(&mut admin, "select pgq.maint_rotate_tables_step1('other')"), "0");
    assert_eq!(row(&mut admin, "select pgq.maint_rotate_tables_step2()"), "0");
    assert_eq!(
        row(&mut admin, "select queue_cur_table from pgq.queue where queue_name = 'other'"),
        "1"
    );
    assert_eq!(row(&mut admin, "select pgq.drop_queue('other')"), "1");
    assert_eq!(row(&mut admin, "select pgq.rebase()"), "0");
    assert!(
        outcome(&mut admin, "select pgq.tune_storage('q')")
            .starts_with("ERROR 42501: must be owner of table")
    );
    drop((admin, writer, reader, nobody));
    drop_roles(database, &prefix);
}

#[test]
fn event_tables_get_what_the_template_grants() {
    let (database, prefix) = database();
    let mut client = database.connect();
    run(
        &mut client,
        &format!(
            "grant select, insert on pgq.event_template to {prefix}_nobody with grant option;
             grant references on pgq.event_template to public; select pgq.create_queue('granted')"
        ),
    );
    let privileges = "select c.relacl = t.relacl or array(select a::text from unnest(c.relacl) a where a::text !~ '^postgres=')
                             = array(select a::text from unnest(t.relacl) a
                                 where a::text !~ '^postgres=')
                        from pg_class c, pg_class t
                       where c.oid = 'pgq.event_2_1'::regclass
                         and t.oid = 'pgq.event_template'::regclass";
    assert_eq!(row(&mut client, privileges), "t");
    assert_eq!(
        outcome(&mut client, "select pgq._grant_perms_from('pgq', 'nothing', 'pgq', 'tick')"),
        "ERROR 42P01: relation \"pgq.nothing\" does not exist"
    );
    run(&mut client, "drop extension pgq cascade; drop schema if exists pgq cascade");
    drop(client);
    drop_roles(database, &prefix);
}

#[test]
fn operators_cannot_have_the_owner_grant_or_drop_what_is_not_theirs() {
    let (database, prefix) = database();
    let mut owner = database.connect();
    run(
        &mut owner,
        "create table secret (n int); create table secret_0 (n int); create sequence counter",
    );
    let mut admin = database.connect_as(&format!("{prefix}_admin"));
    run(&mut owner, "update pgq.queue set queue_data_pfx = 'public.secret', queue_ntables = 1");
    let refused = "ERROR XX001: relation \"public.secret\" is not an event table";
    assert_eq!(outcome(&mut admin, "select pgq.grant_perms('q')"), refused);
    let refused = "ERROR XX001: relation \"public.secret_0\" is not an event table";
    assert_eq!(outcome(&mut admin, "select pgq.drop_queue('q')"), refused);
    run(
        &mut owner,
        "update pgq.queue set queue_data_pfx = 'pgq.event_1', queue_ntables = 3, queue_tick_seq = 'public.counter'",
    );
    let refused = "ERROR XX001: relation \"public.counter\" is not a sequence of a queue";
    assert_eq!(outcome(&mut admin, "select pgq.grant_perms('q')"), refused);
    assert_eq!(outcome(&mut admin, "select pgq.drop_queue('q')"), refused);
    run(&mut owner, "update pgq.queue set queue_data_pfx = 'pgq.event_template'");
    assert!(outcome(&mut admin, "select pgq.drop_queue('q')").starts_with("ERROR XX001"));
    run(
        &mut owner,
        "update pgq.queue set queue_data_pfx = 'pgq.event_1', queue_tick_seq = 'pgq.event_1_tick_seq'",
    );
    assert_eq!(row(&mut admin, "select pgq.drop_queue('q')"), "1");
    drop((admin, owner));
    drop_roles(database, &prefix);
}

/// `pgq.insert_event` runs with the rights of the extension's owner, and without a setting of its
/// own for `search_path`.
#[test]
fn a_writer_cannot_have_his_own_operators_run_by_the_owner() {
    let (database, prefix) = database();
    run(
        &mut database.connect(),
        &format!(
            "create schema mine authorization {prefix}_writer; create schema authorization {prefix}_writer;
             create table {prefix}_writer.t (id int primary key);
             alter table {prefix}_writer.t owner to {prefix}_writer;
             create trigger t after insert on {prefix}_writer.t for each row
                 execute function pgq.logutriga('q');
             select pgq.create_queue('slow');
             create function public.nothing() returns trigger language plpgsql
                 as 'begin return new; end';
             create trigger slow before insert on pgq.event_2_0 for each row
                 execute function public.nothing();
             grant usage on schema public to public"
        ),
    );
    let mut writer = database.connect_as(&format!("{prefix}_writer"));
    run(
        &mut writer,
        "create function mine.trap(text, text) returns text language plpgsql as
             $$ begin raise exception 'trap run by %', current_user; end $$;
         create function mine.test(text, text) returns boolean language plpgsql as
             $$ begin raise exception 'trap run by %', current_user; end $$;
         create operator mine.|| (function = mine.trap, leftarg = text, rightarg = text);
         create operator mine.= (function = mine.test, leftarg = text, rightarg = text);
         create function mine.to_regclass(text) returns regclass language plpgsql as
             $$ begin raise exception 'trap run by %', current_user; end $$;
         create function mine.concat(text, text, integer) returns text language plpgsql as
             $$ begin raise exception 'trap run by %', current_user; end $$;
         set search_path = mine, pg_catalog",
    );
    assert_eq!(
        outcome(&mut writer, "select 'a' || 'b'::text"),
        format!("ERROR P0001: trap run by {prefix}_writer"),
        "the trap works"
    );
    for (insert, result) in [
        ("select pgq.insert_event('q', 't', 'd') > 0", "t"),
        ("select pgq.insert_event('slow', 't', 'd', 'a', 'b', 'c', 'd') > 0", "t"),
        ("select pgq.insert_events('q', '{t}', '{d}')", "1"),
        ("select pgq.insert_events('slow', '{t}', '{d}')", "1"),
    ] {
        assert_eq!(outcome(&mut writer, insert), result, "{insert}");
        // What the cache knows is read anew.
        run(&mut database.connect(), "update pgq.queue set queue_id = queue_id");
    }
    assert_eq!(
        outcome(&mut writer, &format!("insert into {prefix}_writer.t values (1) returning id")),
        "1"
    );
    drop(writer);
    drop_roles(database, &prefix);
}
