//! Servers that are killed, stopped and promoted with workers of replication in them.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgq_tests::query::{outcome, row, rows, run};
use pgq_tests::{Cluster, ClusterBuilder, PATIENCE, Random, Stop, Tree, wait_until};
use postgres::Client;

fn server() -> ClusterBuilder {
    Cluster::builder()
        .set("shared_preload_libraries", "pgq")
        .set("max_worker_processes", 40)
        .set("pgq.ticker_period", "100ms")
        .set("wal_level", "replica")
        .set("restart_after_crash", "on")
}

fn location(cluster: &Cluster, database: &str) -> String {
    cluster.conninfo(database).replace('\'', "")
}

/// A database with the extension and two tables that are empty.
fn database(cluster: &Cluster, name: &str) -> Client {
    run(&mut cluster.connect("postgres"), &format!("create database {name}"));
    let mut client = cluster.connect(name);
    run(
        &mut client,
        "create extension londiste cascade; create table item (id int primary key, value text);
         create table log (id bigserial primary key, note text)",
    );
    client
}

/// Say how a node's worker connects to another one.
fn name_server(client: &mut Client, name: &str, cluster: &Cluster, database: &str) {
    run(
        client,
        &format!(
            "create server {name} foreign data wrapper londiste_fdw
                 options (host '{}', port '{}', dbname '{database}');
             create user mapping for current_user server {name} options (user 'postgres')",
            cluster.dir().display(),
            cluster.port()
        ),
    );
}

/// Make it a node of queue `q`, with its worker.
fn node(client: &mut Client, kind: &str, name: &str, location: &str, provider: Option<&str>) {
    let provider = provider.map(|provider| format!(", '{provider}'")).unwrap_or_default();
    let create = format!(
        "select ret_code from londiste.create_{kind}('q', '{name}', '{location}'{provider})"
    );
    assert_eq!(row(client, &create), "200");
    for table in ["item", "log"] {
        let add = format!("select ret_code from londiste.local_add_table('q', 'public.{table}')");
        assert_eq!(row(client, &add), "200");
    }
    assert_eq!(row(client, "select ret_code from londiste.start_worker('q', 2)"), "200");
}

/// A transaction of a few random changes.
fn change(random: &mut Random) -> String {
    let mut sql = String::from("begin;\n");
    for _ in 0..=random.below(6) {
        let (id, value) = (random.below(40), random.next_u64() % 1_000_000);
        sql += &match random.below(6) {
            0 => format!("delete from item where id = {id};\n"),
            1..4 => format!("insert into log (note) values ('{value}');\n"),
            _ => format!(
                "insert into item values ({id}, '{value}') on conflict (id) do update set value = excluded.value;\n"
            ),
        };
    }
    sql + if random.one_in(8) { "rollback;" } else { "commit;" }
}

/// A session of a server that may have just crashed.
fn again(cluster: &Cluster, database: &str) -> Client {
    let mut client = None;
    let is_there = wait_until(PATIENCE, || {
        client = cluster.try_connect(database, "postgres").ok();
        client.is_some()
    });
    assert!(is_there, "{}", cluster.log());
    client.unwrap()
}

/// Wait until a node has what the root has.
fn await_same(cluster: &Cluster, root: &str, name: &str) {
    let (mut root, mut here) = (again(cluster, root), again(cluster, name));
    let mut differs = String::new();
    let is_same = wait_until(PATIENCE, || {
        differs = ["item", "log"]
            .into_iter()
            .find(|table| {
                let sql = format!("select * from {table} order by id");
                rows(&mut root, &sql) != rows(&mut here, &sql)
            })
            .unwrap_or_default()
            .to_owned();
        differs.is_empty()
    });
    let status = rows(&mut here, "select w from londiste.worker_status() w").join("\n");
    assert!(is_same, "{name}: {differs}; {status}\n{}", cluster.log());
}

/// Send a signal; false where nobody is there any more.
fn signal(name: &str, pid: &str) -> bool {
    std::process::Command::new("kill").args([name, pid]).status().is_ok_and(|it| it.success())
}

/// Killing a process that shares memory lets the whole server begin anew: root, branch and leaf
/// are in it. In the end all nodes have each row once, and the queues the same ticks.
#[test]
fn processes_that_are_killed_lose_and_repeat_nothing() {
    const ROUNDS: u32 = 25;
    let mut random = Random::for_test("killed_in_server");
    let cluster = server().start();
    let mut root = database(&cluster, "root");
    node(&mut root, "root", "root", &location(&cluster, "root"), None);
    for (kind, name, provider) in [("branch", "branch", "root"), ("leaf", "leaf", "branch")] {
        let mut here = database(&cluster, name);
        name_server(&mut here, provider, &cluster, provider);
        node(&mut here, kind, name, &location(&cluster, name), Some(&location(&cluster, provider)));
    }
    drop(root);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = {
            let (cluster, stop, mut random) = (&cluster, &stop, random.fork());
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut root) = cluster.try_connect("root", "postgres") else { continue };
                    while !stop.load(Ordering::Relaxed)
                        && root.batch_execute(&change(&mut random)).is_ok()
                    {
                        // Pace: copies and batches are to be in the middle of something.
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            })
        };
        let (mut workers, mut copies) = (0, 0);
        for round in 0.. {
            if round >= ROUNDS && workers > 0 && copies > 0 {
                break;
            }
            assert!(round < 10 * ROUNDS, "killed: {workers} workers, {copies} copies");
            let name = if random.one_in(2) { "branch" } else { "leaf" };
            if let Ok(mut here) = cluster.try_connect(name, "postgres") {
                let table = if random.one_in(2) { "item" } else { "log" };
                let _ = outcome(
                    &mut here,
                    &format!(
                        "update londiste.table_info set merge_state = null, custom_snapshot = null
                          where table_name = 'public.{table}' and merge_state = 'ok'"
                    ),
                );
            }
            let mut client = again(&cluster, "postgres");
            let victim = if random.one_in(2) { "londiste copy" } else { "londiste worker" };
            let victims = format!(
                "select pid from pg_stat_activity where backend_type = '{victim}'
                  order by random() limit 1"
            );
            // Copies are short.
            let mut pid = String::new();
            wait_until(Duration::from_secs(2), || {
                pid = outcome(&mut client, &victims);
                pid.parse::<u32>().is_ok()
            });
            if pid.parse::<u32>().is_err() {
                continue;
            }
            // Pace: they die in the middle of whatever they are at.
            std::thread::sleep(Duration::from_millis(random.below(60)));
            // One that has stopped and is still there cannot have ended by itself.
            let is_there = format!("select count(*) from pg_stat_activity where pid = {pid}");
            if !signal("-STOP", &pid) || outcome(&mut client, &is_there) != "1" {
                signal("-CONT", &pid);
                continue;
            }
            assert!(signal("-KILL", &pid));
            *if victim == "londiste copy" { &mut copies } else { &mut workers } += 1;
            // The session goes with the server.
            let gone = wait_until(PATIENCE, || client.simple_query("select 1").is_err());
            assert!(gone, "round {round}: the server outlives {pid}\n{}", cluster.log());
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
    for name in ["branch", "leaf"] {
        await_same(&cluster, "root", name);
    }
    let (mut root, mut branch) = (again(&cluster, "root"), again(&cluster, "branch"));
    for (client, name) in [(&mut root, "root"), (&mut branch, "branch")] {
        let copiers =
            "select count(*) from pgq.get_consumer_info('q') where consumer_name like '%.copy.%'";
        let ended = wait_until(PATIENCE, || row(client, copiers) == "0");
        assert!(ended, "{name}: copies are left");
    }
    let top = row(&mut branch, "select max(tick_id) from pgq.tick");
    let ticks =
        format!("select tick_id from pgq.tick where tick_id between 2 and {top} order by 1");
    let least = row(&mut branch, "select min(tick_id) from pgq.tick where tick_id > 1");
    let ticks = format!("select * from ({ticks}) t where tick_id >= {least}");
    assert_eq!(rows(&mut root, &ticks), rows(&mut branch, &ticks));
}

#[test]
fn a_server_stops_though_its_provider_hangs() {
    let mut cluster = server().start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut root = database(&cluster, "root");
    node(&mut root, "root", "root", &location(&cluster, "root"), None);
    let mut leaf = database(&cluster, "leaf");
    let own = location(&cluster, "leaf");
    name_server(&mut leaf, "root", &cluster, "root");
    node(&mut leaf, "leaf", "leaf", &own, Some(&location(&cluster, "root")));
    run(
        &mut leaf,
        &format!(
            "alter server root options (set host '127.0.0.1', set port '{port}',
                                        add sslmode 'disable');
             update londiste.worker set parallel_copies = 3"
        ),
    );
    let mut connections = Vec::new();
    assert!(wait_until(PATIENCE, || {
        connections.extend(silent.accept());
        !connections.is_empty()
    }));
    drop((root, leaf));
    cluster.stop(Stop::Fast);

    // It says so, and does not wait for ever.
    cluster.write_settings(&[("pgq.provider_timeout".to_owned(), "1s".to_owned())]);
    cluster.start();
    let mut leaf = cluster.connect("leaf");
    let told = "select sqlstate, attempts > 1 from londiste.worker_status('q')";
    let mut last = String::new();
    let reached = wait_until(PATIENCE, || {
        connections.extend(silent.accept());
        last = rows(&mut leaf, told).join("\n");
        last == "08001|t"
    });
    assert!(reached, "{last}");
}

/// It is not the same connection that is waited for again and again.
#[test]
fn a_provider_that_takes_longer_than_its_time_gets_more_of_it() {
    let cluster = server().set("pgq.provider_timeout", "1s").start();
    let mut root = database(&cluster, "root");
    node(&mut root, "root", "root", &location(&cluster, "root"), None);
    let mut leaf = database(&cluster, "leaf");
    name_server(&mut leaf, "root", &cluster, "root");
    let provider = location(&cluster, "root");
    node(&mut leaf, "leaf", "leaf", &location(&cluster, "leaf"), Some(&provider));
    let in_sync = "select count(*) from londiste.table_info where merge_state = 'ok'";
    assert!(wait_until(PATIENCE, || row(&mut leaf, in_sync) == "2"), "{}", cluster.log());
    // Each batch takes more than twice its time until the first row.
    run(
        &mut root,
        "alter function pgq.get_batch_events(int8) rename to _at_once;
         create function pgq.get_batch_events(x_batch_id int8, out ev_id int8,
                out ev_time timestamptz, out ev_txid int8, out ev_retry int4, out ev_type text,
                out ev_data text, out ev_extra1 text, out ev_extra2 text, out ev_extra3 text,
                out ev_extra4 text) returns setof record language plpgsql as $$
         begin
             perform pg_sleep(2.5);
             return query select e.* from pgq._at_once(x_batch_id) e;
         end $$;
         insert into log (note) values ('late')",
    );
    let notes = "select string_agg(note, ' ' order by id) from log";
    assert!(wait_until(PATIENCE, || row(&mut leaf, notes) == "late"), "{}", cluster.log());
    assert!(cluster.log().contains("has fallen silent"), "{}", cluster.log());
}

#[test]
fn workers_follow_the_promotion_of_a_standby() {
    let primary = server().start();
    let mut root = database(&primary, "root");
    node(&mut root, "root", "root", &location(&primary, "root"), None);
    let provider = server().start();
    drop(root);
    // The leaf is what fails over; its provider stays.
    let mut there = database(&provider, "up");
    node(&mut there, "root", "up", &location(&provider, "up"), None);
    let mut leaf = database(&primary, "leaf");
    name_server(&mut leaf, "up", &provider, "up");
    node(&mut leaf, "leaf", "leaf", &location(&primary, "leaf"), Some(&location(&provider, "up")));
    run(&mut there, "insert into log (note) values ('before')");
    let notes = "select string_agg(note, ' ' order by id) from log";
    assert!(wait_until(PATIENCE, || row(&mut leaf, notes) == "before"), "{}", primary.log());

    let mut standby = Cluster::empty(Tree::Ours);
    let port = primary.port().to_string();
    let output = standby
        .run_as(Tree::Ours.bin().join("pg_basebackup"))
        .arg("-h")
        .arg(primary.dir())
        .args(["-p", &port, "-U", "postgres", "-R", "-c", "fast", "-X", "stream", "-D"])
        .arg(standby.data_dir())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    standby.start();
    // What the leaf has is on the standby, too, before the provider is told: it may not lose that.
    primary.write_settings(&[("synchronous_standby_names".to_owned(), "*".to_owned())]);
    primary.reload();
    let is_sync = "select count(*) from pg_stat_replication where sync_state = 'sync'";
    assert!(wait_until(PATIENCE, || row(&mut leaf, is_sync) == "1"), "{}", primary.log());
    run(&mut there, "insert into log (note) values ('together')");
    assert!(wait_until(PATIENCE, || row(&mut leaf, notes) == "before together"));
    let mut reader = standby.connect("leaf");
    let processes = "select count(*) from pg_stat_activity where backend_type like 'londiste %'";
    assert_eq!(row(&mut reader, processes), "0");
    let mut primary = primary;
    drop(leaf);
    primary.stop(Stop::Kill);
    run(&mut there, "insert into log (note) values ('meanwhile')");
    standby.promote();
    run(&mut there, "insert into log (note) values ('after')");
    let reached =
        wait_until(PATIENCE, || row(&mut reader, notes) == "before together meanwhile after");
    assert!(reached, "{}", standby.log());
}

#[test]
fn so_many_workers_run_as_are_allowed_and_two_queues_have_two() {
    let mut cluster = server().set("pgq.max_cascade_workers", 1).start();
    let mut client = cluster.connect("postgres");
    run(&mut client, "create extension londiste cascade");
    let own = location(&cluster, "postgres");
    for queue in ["one", "two"] {
        run(&mut client, &format!("select londiste.create_root('{queue}', 'n', '{own}')"));
        run(&mut client, &format!("select londiste.start_worker('{queue}')"));
    }
    let working = "select count(*) from londiste.worker_status() where state = 'working'";
    assert!(wait_until(PATIENCE, || row(&mut client, working) == "1"));
    let told = "select count(*) from pgq._worker_problems()
                 where task = 'replicate' and object in ('one', 'two') and sqlstate = '53400'";
    assert!(wait_until(PATIENCE, || row(&mut client, told) == "1"), "{}", cluster.log());
    cluster.write_settings(&[("pgq.max_cascade_workers".to_owned(), "2".to_owned())]);
    cluster.reload();
    assert!(wait_until(PATIENCE, || row(&mut client, working) == "2"), "{}", cluster.log());
    assert!(wait_until(PATIENCE, || row(&mut client, told) == "0"), "{}", cluster.log());
    drop(client);
    cluster.stop(Stop::Fast);
}
