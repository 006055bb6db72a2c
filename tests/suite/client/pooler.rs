//! The client through pgbouncer in transaction mode, of the version that Debian has.

use std::fs;
use std::process::{Child, Command, Stdio};

use pgq_client::{Connector, NewEvent, Producer};
use pgq_tests::{Cluster, PATIENCE, Port, wait_until};

use crate::client::outage::{cluster_with_queue, saw, start_consumer};
use crate::client::services::signal;
use pgq_tests::programs::{create_queue, insert_and_tick, pgq, programs_of_others, stderr, value};

/// pgbouncer in front of a cluster; ended with the value.
pub(super) struct Pgbouncer {
    process: Child,
    directory: String,
    port: Port,
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Pgbouncer {
    fn start(cluster: &Cluster, pool_size: u32) -> Self {
        Self::start_in("transaction", cluster, pool_size)
    }

    pub(super) fn start_in(pool_mode: &str, cluster: &Cluster, pool_size: u32) -> Self {
        let port = Port::free();
        let config = cluster.dir().join("pgbouncer.ini");
        fs::write(
            &config,
            format!(
                "[databases]\npostgres = host=127.0.0.1 port={} \
                 user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {}\nunix_socket_dir = {dir}\nauth_type = any\npool_mode = \
                 {pool_mode}\n\
                 default_pool_size = {pool_size}\nlogfile = {dir}/pgbouncer.log\npidfile = \
                 {dir}/pgbouncer.pid\n\
                 ignore_startup_parameters = extra_float_digits,options\n",
                cluster.port(),
                port.number(),
                dir = cluster.dir().display()
            ),
        )
        .unwrap();
        let programs = programs_of_others();
        let libraries: Vec<_> = fs::read_dir(programs.join("usr/lib"))
            .unwrap()
            .map(|entry| entry.unwrap().path().display().to_string())
            .collect();
        let mut command: Command = cluster.run_as("env");
        command
            .arg(format!("LD_LIBRARY_PATH={}", libraries.join(":")))
            .arg(programs.join("usr/sbin/pgbouncer"))
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let directory = cluster.dir().display().to_string();
        let bouncer = Self { process, directory, port };
        let answers = || Connector::new(&bouncer.dsn()).unwrap().connect().is_ok();
        assert!(wait_until(PATIENCE, answers), "pgbouncer does not answer");
        bouncer
    }

    /// By its socket file.
    fn local_dsn(&self) -> String {
        format!("host={} port={} dbname=postgres user=postgres", self.directory, self.port.number())
    }

    fn log(&self) -> String {
        fs::read_to_string(format!("{}/pgbouncer.log", self.directory)).unwrap_or_default()
    }

    fn lives(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    pub(super) fn dsn(&self) -> String {
        let port = self.port.number();
        format!("host=127.0.0.1 port={port} dbname=postgres user=postgres sslmode=disable")
    }
}

#[test]
fn everything_works_through_pgbouncer_in_transaction_mode() {
    let cluster = Cluster::builder().start();
    let mut client = cluster_with_queue(&cluster);
    client.batch_execute("select pgq.create_queue('q2')").unwrap();
    create_queue(&mut client, "q2", "c2");
    let bouncer = Pgbouncer::start(&cluster, 3);

    // More clients than server connections, so that every transaction may be on another one.
    let producers: Vec<_> = (0..6_u32)
        .map(|worker| {
            let dsn = bouncer.dsn();
            std::thread::spawn(move || {
                let mut client = Connector::new(&dsn).unwrap().connect().unwrap();
                let mut producer = Producer::new("q");
                for round in 0..20 {
                    let n = worker * 1000 + round * 10;
                    let events: Vec<_> =
                        (n..n + 9).map(|n| NewEvent::new("n", n.to_string())).collect();
                    producer.insert_events(&mut client, &events).unwrap();
                    producer
                        .insert_event(&mut client, &NewEvent::new("n", (n + 9).to_string()))
                        .unwrap();
                }
            })
        })
        .collect();
    let (stop, thread) = start_consumer(&bouncer.dsn());
    for producer in producers {
        let ticking = wait_until(PATIENCE, || {
            client.query_one("select pgq.ticker('q')", &[]).unwrap();
            producer.is_finished()
        });
        assert!(ticking);
        producer.join().unwrap();
    }
    client.query_one("select pgq.ticker('q')", &[]).unwrap();
    assert!(saw(&mut client, 1200), "{}", value(&mut client, "select count(*) from seen"));
    stop.after_batch();
    thread.join().unwrap().unwrap();

    insert_and_tick(&mut client, "q2", 0, 1234);
    let consumed =
        pgq(&["consume", "q2", "c2", "--once", "--dsn", &bouncer.dsn()]).output().unwrap();
    assert!(consumed.status.success(), "{}", stderr(&consumed));
    assert_eq!(String::from_utf8_lossy(&consumed.stdout).lines().count(), 1234);
    let status = pgq(&["queue", "list", "--dsn", &bouncer.dsn()]).output().unwrap();
    assert!(status.status.success(), "{}", stderr(&status));
}

const WAITING: &str = "select count(*) from pg_stat_activity
    where query ~ 'call pgq.wait_batch' and state = 'active' and pid <> pg_backend_pid()";

#[test]
fn pgbouncer_outlives_fifty_stops_of_idle_consumers() {
    let cluster = Cluster::builder().set("shared_preload_libraries", "pgq").start();
    let mut client = cluster_with_queue(&cluster);
    let mut bouncer = Pgbouncer::start(&cluster, 3);
    let by_socket_file = bouncer.local_dsn();
    for round in 0..50 {
        let dsn = if round % 10 >= 8 { by_socket_file.clone() } else { bouncer.dsn() };
        let name = if round % 2 == 0 { "INT" } else { "TERM" };
        let mut consumer = pgq(&["consume", "q", "c", "--dsn", &dsn])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        assert!(
            wait_until(PATIENCE, || value(&mut client, WAITING) == "1"),
            "round {round}: {}",
            bouncer.log()
        );
        signal(&consumer, name);
        assert!(wait_until(PATIENCE, || consumer.try_wait().unwrap().is_some()));
        let output = consumer.wait_with_output().unwrap();
        assert!(output.status.success(), "round {round}, SIG{name}: {}", stderr(&output));
        assert!(
            wait_until(PATIENCE, || { !bouncer.lives() || value(&mut client, WAITING) == "0" }),
            "round {round}: the wait goes on"
        );
        assert!(bouncer.lives(), "round {round}, SIG{name}: {}", bouncer.log());
    }
}

#[test]
fn a_bounded_wait_leaves_the_pool_to_others() {
    let cluster = Cluster::builder().set("shared_preload_libraries", "pgq").start();
    let mut client = cluster_with_queue(&cluster);
    let bouncer = Pgbouncer::start(&cluster, 1);
    // One connection for two consumers, and others besides: with waits of half a minute each would
    // have to wait for both.
    for wait in ["0", "0.2"] {
        let mut consumers: Vec<_> = (0..2)
            .map(|n| {
                let name = format!("c{n}");
                let consume =
                    ["consume", "q", &name, "--register", "--wait", wait, "--poll", "0.05"];
                pgq(&consume).args(["--dsn", &bouncer.dsn()]).stdout(Stdio::null()).spawn().unwrap()
            })
            .collect();
        let registered = "select count(*) from pgq.consumer where co_name in ('c0', 'c1')";
        assert!(wait_until(PATIENCE, || value(&mut client, registered) == "2"));
        for n in 0..5 {
            let sent =
                pgq(&["send", "q", &n.to_string(), "--dsn", &bouncer.dsn()]).output().unwrap();
            assert!(sent.status.success(), "{}", stderr(&sent));
        }
        if wait == "0" {
            let never = "select count(*) from pg_stat_activity where query ~ 'call \
                pgq.wait_batch' and pid <> pg_backend_pid()";
            assert_eq!(value(&mut client, never), "0");
        }
        for consumer in &mut consumers {
            signal(consumer, "INT");
            assert!(consumer.wait().unwrap().success());
        }
    }
}
