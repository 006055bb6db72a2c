//! The triggers that londiste makes, where upstream's go wrong.

use postgres::Client;

use crate::londiste::{add_node, root};
use pgq_tests::query::{outcome, row, rows, run};

fn triggers(client: &mut Client) -> Vec<String> {
    rows(
        client,
        "select tgrelid::regclass, tgname, tgenabled from pg_trigger
          where not tgisinternal and tgrelid::regclass::text = 't' order by 2",
    )
}

/// Types and tables of the events that the tests' statements led to.
fn captured(client: &mut Client) -> Vec<String> {
    rows(
        client,
        "select ev_type, ev_extra1 from pgq.event_template
          where ev_type not like 'londiste.%' order by ev_id",
    )
}

#[test]
fn a_trigger_of_others_that_fires_earlier_is_named() {
    let (_database, mut client) = root();
    run(
        &mut client,
        "create table t (id integer primary key);
         create function f() returns trigger language plpgsql as 'begin return new; end';
         create trigger a_later after insert on t for each row execute function f();
         create trigger \"A_statement\" after insert on t for each statement execute function f();
         create trigger \"A_before\" before insert on t for each row execute function f();
         create trigger \"A_mine\" after insert on t for each row execute function f();
         create trigger \"B_mine\" after delete on t for each row execute function f()",
    );
    assert_eq!(
        row(&mut client, "select * from londiste.local_add_table('q', 't')"),
        "301|Table added: public.t, but londiste trigger is not first: A_mine, B_mine"
    );
    assert_eq!(row(&mut client, "select local from londiste.table_info"), "t");
    assert_eq!(
        row(
            &mut client,
            "select * from londiste.create_trigger('q', 'public.t', null, 'public.t', 'root')"
        ),
        "200|OK|_londiste_q"
    );
}

#[test]
fn a_trigger_that_is_right_is_left_alone_and_another_stays_enabled_as_it_was() {
    let (_database, mut client) = root();
    run(&mut client, "create table t (id integer primary key)");
    run(&mut client, "select londiste.local_add_table('q', 't', array['when=true'])");
    let oids = "select array_agg(oid order by oid) from pg_trigger where tgrelid = 't'::regclass";
    let before = row(&mut client, oids);
    let change = |option: &str| {
        format!("select londiste.local_change_handler('q', 'public.t', array['{option}'], null)")
    };
    run(&mut client, &change("when=true"));
    assert_eq!(row(&mut client, oids), before);

    // One that looks the same, but fires for changes of one column, or in the end, is another.
    for kind in [
        "trigger _londiste_q after insert or delete or update of id on t",
        "constraint trigger _londiste_q after insert or delete or update on t deferrable",
    ] {
        run(
            &mut client,
            &format!(
                "drop trigger _londiste_q on t;
                 create {kind} for each row execute function pgq.logutriga('q', 'when=true')"
            ),
        );
        run(&mut client, &change("when=true"));
        assert_eq!(
            row(
                &mut client,
                "select tgattr::text, tgdeferrable from pg_trigger where tgname = '_londiste_q'"
            ),
            "|f"
        );
    }
    let before = row(&mut client, oids);

    run(
        &mut client,
        "alter table t enable always trigger _londiste_q;
         alter table t disable trigger _londiste_q_truncate",
    );
    run(&mut client, &change("tgflags=Q"));
    assert_ne!(row(&mut client, oids), before);
    assert_eq!(triggers(&mut client), ["t|_londiste_q|A", "t|_londiste_q_truncate|D"]);
}

#[test]
fn a_trigger_that_gets_another_name_stays_enabled_as_it_was() {
    let (_database, mut client) = root();
    run(
        &mut client,
        "create table t (id integer primary key);
         select londiste.local_add_table('q', 't', array['tgflags=BI', 'SKIP'], 'handler=qtable');
         alter table t enable always trigger zzz__londiste_q;
         select londiste.local_change_handler('q', 't', array['tgflags=BI'], null)",
    );
    assert_eq!(triggers(&mut client), ["t|_londiste_q|A", "t|_londiste_q_truncate|O"]);
    run(
        &mut client,
        "alter table t disable trigger _londiste_q;
         select londiste.local_change_handler('q', 't', array['tgflags=BI', 'SKIP'],
                                              'handler=qtable')",
    );
    assert_eq!(triggers(&mut client), ["t|_londiste_q_truncate|O", "t|zzz__londiste_q|D"]);
}

#[test]
fn a_queue_table_whose_handler_changes_captures_each_row_once() {
    let (_database, mut client) = root();
    run(&mut client, "create table t (id integer primary key)");
    run(
        &mut client,
        "select londiste.local_add_table('q', 't', array['tgflags=BI', 'SKIP'], 'handler=qtable');
         select londiste.local_change_handler('q', 't', array['tgflags=BIU', 'SKIP'],
             'handler=qtable')",
    );
    run(&mut client, "insert into t values (1)");
    assert_eq!(captured(&mut client), ["I:id|public.t"]);
    assert_eq!(row(&mut client, "select count(*) from t"), "0");
    // And back to a table like others.
    run(&mut client, "select londiste.local_change_handler('q', 't', null, null)");
    assert_eq!(triggers(&mut client), ["t|_londiste_q|O", "t|_londiste_q_truncate|O"]);
    run(&mut client, "insert into t values (2)");
    assert_eq!(captured(&mut client), ["I:id|public.t", "I:id|public.t"]);
    assert_eq!(row(&mut client, "select count(*) from t"), "1");
}

/// PgQ refuses to skip after the row is stored: each write to the table would fail.
#[test]
fn a_trigger_that_cannot_skip_is_refused() {
    let (_database, mut client) = root();
    run(&mut client, "create table t (id integer primary key)");
    for option in ["skip", "tgflags=S", "tgflags=AS"] {
        assert_eq!(
            row(
                &mut client,
                &format!("select * from londiste.local_add_table('q', 't', array['{option}'])")
            ),
            "403|Trigger creation failed for table public.t: AFTER trigger cannot work with SKIP trigger(s)"
        );
    }
    // What is refused has changed nothing.
    assert_eq!(triggers(&mut client), Vec::<String>::new());
    assert_eq!(row(&mut client, "select count(*) from londiste.table_info"), "0");
    assert_eq!(row(&mut client, "select count(*) from pgq.event_template"), "0");
    run(&mut client, "insert into t values (1)");
}

#[test]
fn a_table_without_triggers_has_none_afterwards() {
    let (_database, mut client) = root();
    run(&mut client, "create table t (id integer primary key)");
    run(&mut client, "select londiste.local_add_table('q', 't')");
    assert_eq!(
        row(
            &mut client,
            "select * from londiste.local_change_handler('q', 'public.t', array['virtual_table'], 'handler=vtable')"
        ),
        "200|Table handler updated with no triggers: public.t"
    );
    assert_eq!(triggers(&mut client), Vec::<String>::new());
}

/// Names are cut to 63 bytes, and those of the two triggers would be the same.
#[test]
fn queues_with_long_names_have_triggers_of_their_own() {
    let (_database, mut client) = root();
    run(&mut client, "create table t (id integer primary key)");
    let long = "ö".repeat(30);
    for queue in [format!("{long}1"), format!("{long}2"), "x".repeat(50)] {
        run(
            &mut client,
            &format!(
                "select londiste.create_trigger('{queue}', 'public.t', null, 'public.t', 'root')"
            ),
        );
    }
    let names = triggers(&mut client);
    assert_eq!(names.len(), 6, "{names:?}");
    // One that upstream could make keeps its name.
    assert!(names.contains(&format!("t|_londiste_{}|O", "x".repeat(50))), "{names:?}");
    run(&mut client, &format!("select londiste.drop_table_triggers('{long}1', 't')"));
    assert_eq!(triggers(&mut client).len(), 4);
}

/// Upstream cut the name of this one when it made it.
#[test]
fn triggers_that_upstream_made_are_replaced_under_whatever_name() {
    let (_database, mut client) = root();
    let queue = "x".repeat(50);
    run(
        &mut client,
        &format!(
            "create table t (id integer primary key);
             create trigger _londiste_{queue}_truncate after truncate on t
                 for each statement execute function pgq.sqltriga('{queue}');
             create trigger mine after truncate on t
                 for each statement execute function pgq.sqltriga('{queue}');
             select londiste.create_trigger('{queue}', 'public.t', null, 'public.t', 'root')"
        ),
    );
    let names = triggers(&mut client);
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.contains(&"t|mine|O".to_owned()), "{names:?}");
}

#[test]
fn events_of_a_renamed_table_have_its_name_on_the_queue() {
    let (_database, mut client) = root();
    run(
        &mut client,
        "create schema \"o'dd\"; create table \"o'dd\".\"t\\x\" (id integer primary key);
         select londiste.local_add_table('q', 'o''dd.n\\ame', null, null, 'o''dd.t\\x');
         insert into \"o'dd\".\"t\\x\" values (1); truncate \"o'dd\".\"t\\x\"",
    );
    assert_eq!(captured(&mut client), ["I:id|o'dd.n\\ame", "R|o'dd.t\\x"]);
}

#[test]
fn a_table_goes_with_its_node_and_can_be_written_to() {
    let (_database, mut client) = root();
    run(
        &mut client,
        "create table t (id integer primary key);
         select londiste.local_add_table('q', 'public.name', null, null, 't')",
    );
    run(&mut client, "set role pgq_admin");
    assert_eq!(row(&mut client, "select ret_code from pgq_node.drop_node('q', 'me')"), "200");
    run(&mut client, "reset role");
    assert_eq!(triggers(&mut client), Vec::<String>::new());
    assert_eq!(row(&mut client, "select count(*) from londiste.table_info"), "0");
    assert_eq!(outcome(&mut client, "insert into t values (1)"), "");
}

/// The row trigger of the one would be called like the TRUNCATE trigger of the other.
#[test]
fn queues_one_of_which_is_called_like_a_trigger_of_the_other_share_a_table() {
    for order in [["q", "q_truncate"], ["q_truncate", "q"]] {
        let (_database, mut client) = root();
        add_node(&mut client, "q_truncate", "root", None);
        run(&mut client, "create table t (id integer primary key)");
        for queue in order {
            assert_eq!(
                row(
                    &mut client,
                    &format!("select * from londiste.local_add_table('{queue}', 't')")
                ),
                "200|Table added: public.t"
            );
        }
        assert_eq!(triggers(&mut client).len(), 4);
        run(&mut client, "insert into t values (1); truncate t");
        let events = rows(
            &mut client,
            "select q.queue_name, e.ev_type
               from pgq.queue q, pgq.event_template e
              where e.tableoid = pgq.current_event_table(q.queue_name)::regclass
                and e.ev_type !~ '^(londiste|pgq)'
              order by 1, 2",
        );
        assert_eq!(events, ["q|I:id", "q|R", "q_truncate|I:id", "q_truncate|R"], "{order:?}");
    }
}

/// Upstream gave the row trigger of the one the name that the TRUNCATE trigger of the other has.
#[test]
fn a_trigger_of_another_queue_is_not_replaced() {
    let (_database, mut client) = root();
    run(
        &mut client,
        "create table t (id integer primary key);
         create trigger _londiste_q_truncate after insert on t
             for each row execute function pgq.logutriga('q_truncate')",
    );
    let before = triggers(&mut client);
    assert_eq!(
        outcome(&mut client, "select londiste.local_add_table('q', 't')"),
        "ERROR 42710: trigger \"_londiste_q_truncate\" of relation \"public.t\" is of another queue than \"q\""
    );
    assert_eq!(triggers(&mut client), before);
    run(&mut client, "alter trigger _londiste_q_truncate on t rename to other");
    assert_eq!(
        row(&mut client, "select * from londiste.local_add_table('q', 't')"),
        "200|Table added: public.t"
    );
    assert_eq!(triggers(&mut client).len(), 3);
}
