//! Logical dump and restore.

use std::io::Write as _;
use std::process::Stdio;

use pgq_tests::{Tree, scratch_database_on};
use postgres::Client;

use crate::londiste::root;
use pgq_tests::query::{row, rows, run};

fn state(client: &mut Client) -> Vec<String> {
    ["table_info", "seq_info", "applied_execute", "pending_fkeys"]
        .into_iter()
        .flat_map(|table| {
            rows(client, &format!("select '{table}', t.* from londiste.{table} t order by t::text"))
        })
        .collect()
}

#[test]
fn dump_and_restore_keep_what_is_replicated_and_it_goes_on() {
    let (database, mut client) = root();
    run(
        &mut client,
        "create table t (id serial primary key, d text); create table u (id integer primary key);
         create table f (id integer primary key, t integer references t);
         select londiste.local_add_table('q', 't'), londiste.local_add_seq('q', 't_id_seq');
         select londiste.local_add_table('q', 'public.name', array['backup'], 'handler=x',
             'public.u');
         select londiste.drop_table_fkey('public.f', 'f_t_fkey');
         select londiste.execute_start('q', 'f.sql', 'select 1', true, 'local-table=t');
         insert into t (d) values ('before')",
    );
    let before = state(&mut client);
    assert_eq!(before.len(), 5);

    let restored = scratch_database_on(Tree::Ours);
    let cluster = database.cluster();
    let dump = cluster.command("pg_dump").arg(database.name()).output().unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let mut psql = cluster.command("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", restored.name()]);
    let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    psql.stdin.take().unwrap().write_all(&dump.stdout).unwrap();
    assert!(psql.wait().unwrap().success());

    let mut client = restored.connect();
    assert_eq!(state(&mut client), before);
    // Nothing was captured while it was restored; new rows are.
    let events =
        "select ev_data, ev_extra1 from pgq.event_template where ev_type like 'I%' order by ev_id";
    run(&mut client, "insert into t (d) values ('after')");
    assert_eq!(rows(&mut client, events), ["id=1&d=before|public.t", "id=2&d=after|public.t"]);
    // A new table is listed after the others.
    run(&mut client, "create table v (id integer primary key)");
    assert_eq!(
        row(&mut client, "select * from londiste.local_add_table('q', 'v')"),
        "200|Table added: public.v"
    );
    assert_eq!(
        rows(&mut client, "select table_name from londiste.get_table_list('q')"),
        ["public.t", "public.name", "public.v"]
    );
    assert_eq!(row(&mut client, "select londiste.restore_table_fkey('f', 'f_t_fkey')"), "");
}
