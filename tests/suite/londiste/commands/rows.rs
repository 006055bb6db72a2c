//! Rows of tables are compared while they are written.

use std::sync::atomic::{AtomicBool, Ordering};

use pgq_tests::query::{row, run};

use super::{refused, server, set_of};

#[test]
fn tables_are_compared_while_rows_are_written() {
    let cluster = server();
    let mut nodes = set_of(&cluster, &[("branch", "branch"), ("leaf", "leaf")]);
    nodes[2].londiste(&["change-provider", "--provider", "branch"]);
    for node in &nodes {
        run(
            &mut node.connect(),
            "create table t (id int primary key, v text, f float8, at timestamptz default now());
             create table \"U u\" (id int primary key, raw bytea)",
        );
        node.londiste(&["add-table", "t", "U u"]);
    }
    run(
        &mut nodes[0].connect(),
        "insert into t select i, i, i / 3.0 from generate_series(1, 500) i;
         insert into \"U u\" select i, decode(md5(i::text), 'hex') from generate_series(1, 9) i",
    );
    for node in &nodes[1..] {
        node.wait_until_in_sync();
    }
    let mut other = nodes[1].connect();
    run(&mut other, "set session_replication_role = replica");
    run(&mut other, "alter database branch set timezone = 'Asia/Tokyo'");
    run(&mut other, "alter database branch set datestyle = 'german'");

    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (root, over) = (nodes[0].connect(), &over);
        let writes = scope.spawn(move || {
            let (mut root, mut n) = (root, 0);
            while !over.load(Ordering::Relaxed) {
                n += 1;
                run(
                    &mut root,
                    &format!(
                        "update t set v = '{n}' where id = {n} % 500; delete from t where id = {n} % 7;
                         insert into t select {n} % 7, 'new', 0.1 on conflict do nothing"
                    ),
                );
            }
            n
        });
        let outcomes: Vec<_> = (0..4)
            .map(|look| {
                let output = nodes[1 + look % 2].output(&["compare"]);
                (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        assert!(writes.join().unwrap() > 100);
        for (code, said) in outcomes {
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(said.matches("checksum=").count(), 4, "{said}");
        }
    });

    // What differs is counted, and named, when no more is on its way.
    for node in &nodes[1..] {
        node.wait_for_rows_of(&nodes[0], "(select id, v, f from t)");
    }
    run(&mut other, "update t set f = f + 1e-9 where id = 100");
    let output = nodes[1].output(&["compare"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("public.t: the rows differ") && !said.contains("u: the rows"), "{said}");
    run(&mut other, "update \"U u\" set raw = null where id = 3");
    assert_eq!(nodes[1].output(&["compare"]).status.code(), Some(2));
    assert_eq!(nodes[1].output(&["compare", "U u"]).status.code(), Some(1));
    let said = nodes[1].londiste(&["compare", "--count-only", "U u"]);
    assert_eq!(said, "public.U u: root: 9 rows\npublic.U u: branch: 9 rows\n");
    // The leaf's provider no longer has what the root has.
    assert_eq!(nodes[2].output(&["compare"]).status.code(), Some(2));
    run(&mut other, "delete from \"U u\" where id = 3");
    assert_eq!(nodes[1].output(&["compare", "--count-only"]).status.code(), Some(1));

    // An own question, a node that lags, and words for what cannot be.
    let text = std::fs::read_to_string(nodes[1].ini()).unwrap();
    let own = text.replace("lock_timeout = 150", "lock_timeout = 1")
        + "compare_sql = select min(id) as least from _TABLE_\n";
    std::fs::write(nodes[1].ini(), own).unwrap();
    let said = nodes[1].londiste(&["compare", "t"]);
    assert!(said.contains("public.t: root: {\"least\":"), "{said}");
    nodes[1].kill_worker();
    let (code, said) = refused(&nodes[1], &["compare", "t"]);
    assert!(said.contains("\"public.t\": node \"branch\" lags too much behind"), "{said}");
    assert_eq!(code, Some(1));
    for (node, table, words) in
        [(0, "t", "\"root\" is the root"), (1, "x", "\"public.x\" is not attached")]
    {
        let (_, said) = refused(&nodes[node], &["compare", table]);
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(
        row(&mut nodes[0].connect(), "select count(*) from pg_locks where mode = 'ShareLock'"),
        "0"
    );
}
