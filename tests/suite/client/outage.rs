//! The client when servers come and go, and through TLS.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use pgq_client::postgres::types::Type;
use pgq_client::{Connector, Consumer, Error};
use pgq_tests::certificates::{certificate, give_certificates};
use pgq_tests::{Cluster, PATIENCE, Stop, wait_until};
use postgres::Client;

use pgq_tests::programs::{create_queue, insert_and_tick, pgq, stderr, tcp_dsn, value};

/// A cluster with PgQ in database postgres, queue `q`, consumer `c` and table `seen`.
pub(crate) fn cluster_with_queue(cluster: &Cluster) -> Client {
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq; create table seen (n int)").unwrap();
    create_queue(&mut client, "q", "c");
    client
}

/// Start a consumer that writes into `seen`.
pub(crate) fn start_consumer(
    dsn: &str,
) -> (pgq_client::Stop, std::thread::JoinHandle<Result<pgq_client::Stats, Error>>) {
    let mut consumer =
        Consumer::builder("q", "c").poll_interval(Duration::from_millis(20)).connect(dsn).unwrap();
    let stop = consumer.stop_handle();
    let thread = std::thread::spawn(move || {
        consumer.run(|work, event| {
            work.transaction()?
                .execute_typed("insert into seen values ($1::int)", &[(&event.data, Type::TEXT)])?;
            Ok(())
        })
    });
    (stop, thread)
}

pub(crate) fn saw(client: &mut Client, n: u32) -> bool {
    wait_until(PATIENCE, || {
        value(client, "select count(*) || ' ' || count(distinct n) from seen") == format!("{n} {n}")
    })
}

#[test]
fn consumer_outlives_restart_crash_and_promotion() {
    let mut primary = Cluster::builder().set("wal_level", "replica").start();
    let mut client = cluster_with_queue(&primary);

    let mut standby = Cluster::empty(primary.tree());
    let copied = standby
        .run_as(primary.tree().bin().join("pg_basebackup"))
        .args(["-h", &primary.dir().display().to_string(), "-p", &primary.port().to_string()])
        .args(["-U", "postgres", "-X", "stream", "-c", "fast", "-R", "-D"])
        .arg(standby.data_dir())
        .output()
        .unwrap();
    assert!(copied.status.success(), "{}", stderr(&copied));
    standby.start();

    let dsn = format!(
        "host=127.0.0.1,127.0.0.1 port={},{} dbname=postgres user=postgres \
         target_session_attrs=read-write",
        primary.port(),
        standby.port()
    );
    let (stop, thread) = start_consumer(&dsn);
    insert_and_tick(&mut client, "q", 0, 300);
    assert!(saw(&mut client, 300));

    for (how, from) in [(Stop::Fast, 300), (Stop::Kill, 600)] {
        insert_and_tick(&mut client, "q", from, from + 300);
        primary.stop(how);
        primary.start();
        client = primary.connect("postgres");
        assert!(saw(&mut client, from + 300), "after {how:?}");
    }

    insert_and_tick(&mut client, "q", 900, 1000);
    let position = value(&mut client, "select pg_current_wal_insert_lsn()");
    let mut there = standby.connect("postgres");
    let caught_up = format!("select pg_last_wal_replay_lsn() >= '{position}'");
    assert!(wait_until(PATIENCE, || value(&mut there, &caught_up) == "t"));
    primary.stop(Stop::Fast);
    standby.promote();
    let mut client = standby.connect("postgres");
    insert_and_tick(&mut client, "q", 1000, 1300);
    assert!(saw(&mut client, 1300), "after the promotion");
    stop.after_batch();
    assert!(thread.join().unwrap().unwrap().reconnects >= 3);
}

#[test]
fn an_outage_is_said_once_and_so_is_its_end() {
    let mut cluster = Cluster::builder().start();
    let mut client = cluster_with_queue(&cluster);
    let mut child = pgq(&["consume", "q", "c", "--dsn", &tcp_dsn(&cluster, "postgres")])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    insert_and_tick(&mut client, "q", 0, 1);
    let done = "select c.last_tick = q.last_tick_id from pgq.get_consumer_info('q', 'c') c, \
        pgq.get_queue_info('q') q";
    assert!(wait_until(PATIENCE, || value(&mut client, done) == "t"));
    // Broken, refused several times, and the server's own words while it starts.
    cluster.stop(Stop::Kill);
    // Pace: the time without a server is the case.
    std::thread::sleep(Duration::from_millis(500));
    cluster.start();
    let mut client = cluster.connect("postgres");
    insert_and_tick(&mut client, "q", 1, 2);
    assert!(wait_until(PATIENCE, || value(&mut client, done) == "t"));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    let lines: Vec<&str> =
        said.lines().filter(|line| line.starts_with("pgq: warning: c: ")).collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].ends_with("; trying again"), "{said}");
    assert!(lines[1].contains("c: works again after "), "{said}");
}

#[test]
fn wrong_password_and_unreachable_host_are_told_apart() {
    let cluster = Cluster::builder().start();
    let mut client = cluster_with_queue(&cluster);
    client.batch_execute("create role guarded login superuser password 'right'").unwrap();
    let hba = cluster.data_dir().join("pg_hba.conf");
    let rules = fs::read_to_string(&hba).unwrap();
    fs::write(&hba, format!("host all guarded all scram-sha-256\n{rules}")).unwrap();
    cluster.reload();
    let base = format!("host=127.0.0.1 port={} dbname=postgres user=guarded", cluster.port());
    let asks = || Connector::new(&base).unwrap().connect().is_err();
    assert!(wait_until(PATIENCE, asks));

    let code = |dsn: &str| {
        let output = pgq(&["consume", "q", "c", "--once", "--dsn", dsn]).output().unwrap();
        assert!(stderr(&output).lines().count() <= 1, "{}", stderr(&output));
        (output.status.code().unwrap(), stderr(&output))
    };
    assert_eq!(code(&format!("{base} password=right")).0, 0);
    let (status, words) = code(&format!("{base} password=wrong"));
    assert_eq!(status, 3);
    assert!(words.contains("password authentication failed"), "{words}");
    let (status, words) = code(&format!("{base} password=right host=127.0.0.1 port=1"));
    assert_eq!(status, 3);
    assert!(words.contains("refused"), "{words}");
    let error = Connector::new(&format!("{base} password=wrong")).unwrap().connect().err().unwrap();
    assert_eq!(error.sqlstate(), Some("28P01"));

    // The password file: used when it is private.
    let home = tempfile::tempdir().unwrap();
    let passfile = home.path().join("pass");
    fs::write(&passfile, "127.0.0.1:*:*:guarded:right\n").unwrap();
    for (mode, expected) in [(0o600, 0), (0o644, 3)] {
        fs::set_permissions(&passfile, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let output =
            pgq(&["queue", "list", "--dsn", &base]).env("PGPASSFILE", &passfile).output().unwrap();
        assert_eq!(output.status.code(), Some(expected), "{mode:o}: {}", stderr(&output));
    }
}

#[test]
fn tls_is_used_and_verified_as_sslmode_says() {
    let mut cluster = Cluster::builder().create();
    give_certificates(&cluster, "nobody");
    cluster.start();
    let root = certificate(&cluster, "ca.crt");
    let encrypted = |options: &str| -> Result<bool, Error> {
        let mut client =
            Connector::new(&format!("{} {options}", tcp_dsn(&cluster, "postgres")))?.connect()?;
        Ok(value(&mut client, "select ssl from pg_stat_ssl where pid = pg_backend_pid()") == "t")
    };
    let root = format!("sslrootcert='{}'", root.display());
    assert!(!encrypted("sslmode=disable").unwrap());
    assert!(encrypted("").unwrap());
    assert!(encrypted("sslmode=require").unwrap());
    let by_address = format!(
        "hostaddr=127.0.0.1 port={} dbname=postgres user=postgres sslmode=require",
        cluster.port()
    );
    assert!(Connector::new(&by_address).unwrap().connect().is_ok());
    // Beside a socket file as well, which itself is never encrypted, as in libpq.
    for file in ["/nonexistent".to_owned(), cluster.dir().display().to_string()] {
        let mixed = format!("host='{file},127.0.0.1' port={0},{0}", cluster.port());
        assert_eq!(encrypted(&format!("{mixed} sslmode=prefer")).unwrap(), file == "/nonexistent");
    }
    assert!(
        encrypted(&format!(
            "host=/nonexistent,127.0.0.1 port={0},{0} sslmode=require",
            cluster.port()
        ))
        .unwrap()
    );
    assert!(!encrypted(&format!("host='{}' sslmode=require", cluster.dir().display())).unwrap());
    assert!(encrypted(&format!("sslmode=verify-ca {root}")).unwrap());
    // The certificate is for localhost, and we connect to 127.0.0.1.
    let error = encrypted(&format!("sslmode=verify-full {root}")).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    let named = format!("sslmode=verify-full {root} host=localhost");
    assert!(encrypted(&named).unwrap());
    // A stranger's authority is not ours.
    for system in ["", "sslmode=verify-full"] {
        let error = encrypted(&format!("{system} sslrootcert=system")).unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error}");
    }
    let error = encrypted("sslmode=verify-ca sslrootcert=system").unwrap_err();
    assert!(error.to_string().contains("use verify-full"), "{error}");
    // The system's authorities count where they are asked for, and not beside one that is named.
    let by_system = |options: &str, system: &std::path::Path| {
        let dsn = format!("{} {options}", tcp_dsn(&cluster, "postgres"));
        let mut command = pgq(&["install", "--check", "--dsn", &dsn]);
        command.env("SSL_CERT_FILE", system).output().unwrap().status.code()
    };
    let ours = certificate(&cluster, "ca.crt");
    assert_eq!(by_system("sslrootcert=system host=localhost", &ours), Some(8), "no extension");
    let other = certificate(&cluster, "other.crt");
    let pinned = format!("sslmode=verify-ca sslrootcert='{}'", other.display());
    assert_eq!(by_system(&pinned, &ours), Some(3));
    assert!(matches!(
        encrypted("sslmode=verify-full sslrootcert=/nonexistent"),
        Err(Error::Config(_))
    ));
    assert!(matches!(encrypted("sslmode=sometimes"), Err(Error::Config(_))));

    // A stop's cancel request goes the same way: the wait is over long before its half minute.
    let mut client = cluster_with_queue(&cluster);
    let (stop, thread) =
        start_consumer(&format!("{named} port={} dbname=postgres user=postgres", cluster.port()));
    let waits = "select count(*) from pg_stat_activity where query ~ 'call pgq.wait_batch' and \
        state = 'active' and pid <> pg_backend_pid()";
    assert!(wait_until(PATIENCE, || value(&mut client, waits) == "1"));
    stop.after_batch();
    assert!(wait_until(PATIENCE, || thread.is_finished()));
    thread.join().unwrap().unwrap();
}
