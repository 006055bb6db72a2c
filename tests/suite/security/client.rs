//! Attacks on the `pgq` command: through connection options, pid and log files, and names that steer a terminal.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command};

use pgq_tests::{Scratch, Tree};
use postgres::Client;

use crate::client_program::{create_queue, database_on, dsn, pgq, run, stderr, succeed};
use crate::client_services::Site;

/// A process that has nothing to do with us; killed with the value.
struct Victim(Child);

impl Victim {
    fn start() -> Self {
        Self(Command::new("sleep").arg("3600").spawn().unwrap())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn queue() -> (Scratch, Client) {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    (scratch, client)
}

#[test]
fn options_that_make_a_connection_safer_are_honoured_or_refused() {
    let (scratch, _client) = queue();
    let plain = dsn(&scratch);
    let tcp = format!(
        "host=127.0.0.1 port={} dbname={} user=postgres",
        scratch.cluster().port(),
        scratch.name()
    );
    // What libpq refuses against this server, which has no TLS, or what cannot be proved here.
    for (base, option) in [
        (&plain, "requirepeer=nobody"),
        (&plain, "requirepeer=postgres"),
        (&tcp, "gssencmode=require"),
        (&tcp, "sslrootcert=system"),
        (&tcp, "sslrootcert=system sslmode=prefer"),
        (&tcp, "sslmode=verify-full"),
        (&tcp, "sslmode=require"),
        (&tcp, "sslnegotiation=direct"),
        (&tcp, "channel_binding=require"),
        (&tcp, "require_auth=scram-sha-256"),
        (&tcp, "sslcrl=/nonexistent"),
        (&tcp, "min_protocol_version=3.2"),
    ] {
        let output =
            pgq(&["queue", "list", "--dsn", &format!("{base} {option}")]).output().unwrap();
        let code = output.status.code();
        assert!(matches!(code, Some(2 | 3)), "{option}: {code:?} {}", stderr(&output));
    }
    for (variable, value) in [
        ("PGREQUIREPEER", "nobody"),
        ("PGGSSENCMODE", "require"),
        ("PGREQUIREAUTH", "scram-sha-256"),
        ("PGSSLROOTCERT", "system"),
        ("PGREQUIRESSL", "1"),
        ("PGSSLCRL", "/nonexistent"),
        ("PGCHANNELBINDING", "require"),
    ] {
        let base = if variable == "PGREQUIREPEER" { &plain } else { &tcp };
        let output = pgq(&["queue", "list", "--dsn", base]).env(variable, value).output().unwrap();
        assert!(!output.status.success(), "{variable}: {}", stderr(&output));
    }
    let dir = tempfile::tempdir().unwrap();
    let services = dir.path().join("services");
    fs::write(&services, format!("[s]\nhost={}\nrequirepeer=nobody\n", tree_host(&plain))).unwrap();
    let output = pgq(&["queue", "list", "--dsn", &format!("service=s dbname={}", scratch.name())])
        .env("PGSERVICEFILE", &services)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("requirepeer"), "{}", stderr(&output));
    // What asks for nothing, or is meant for others, is no obstacle.
    for option in
        ["gssencmode=prefer", "sslmode=prefer", "requirepeer=nobody", "keepalives_count=3"]
    {
        let output = pgq(&["queue", "list", "--dsn", &format!("{tcp} {option}")]).output().unwrap();
        assert!(output.status.success(), "{option}: {}", stderr(&output));
    }
}

fn tree_host(dsn: &str) -> String {
    let host = dsn.split_once("host='").and_then(|(_, rest)| rest.split_once('\''));
    host.unwrap().0.to_owned()
}

/// A registry of one mover job, and what `pgq services` says to an order.
fn order(site: &Site, order: &str) -> (Option<i32>, String) {
    site.ini_once("queue_mover3", "dst_queue_name = copy");
    let registry = site.path("skytools.ini");
    let text = format!("[scriptmgr]\nconfig_list = {}/job.ini\n", site.dir.path().display());
    fs::write(&registry, text).unwrap();
    let output =
        pgq(&["services", &registry.display().to_string(), order, "job"]).output().unwrap();
    (output.status.code(), stderr(&output))
}

#[test]
fn a_pid_file_does_not_aim_signals_at_other_processes() {
    let site = Site::new();
    let mut victim = Victim::start();
    let pidfile = site.path("job.pid");
    let write = |path: &Path| fs::write(path, victim.0.id().to_string()).unwrap();
    write(&pidfile);
    let refused = |words: &str| {
        for signal in ["stop", "reload", "restart"] {
            let (code, said) = order(&site, signal);
            assert_eq!(code, Some(1), "{signal}: {said}");
            assert!(said.contains(words), "{signal}: {said}");
        }
        let ini = site.path("job.ini").display().to_string();
        for switch in ["-s", "-k", "-r"] {
            let output = pgq(&["run", &ini, switch]).output().unwrap();
            assert!(!output.status.success(), "{switch}");
        }
    };
    refused("does not hold the file; not signalled");
    fs::set_permissions(&pidfile, fs::Permissions::from_mode(0o666)).unwrap();
    refused("others than its owner can write to it");
    fs::remove_file(&pidfile).unwrap();
    let elsewhere = site.path("elsewhere");
    write(&elsewhere);
    symlink(&elsewhere, &pidfile).unwrap();
    refused("symbolic link");
    fs::remove_file(&pidfile).unwrap();
    fs::hard_link(&elsewhere, &pidfile).unwrap();
    refused("no plain file of its own");
    fs::remove_file(&pidfile).unwrap();

    // Who owns the file, and even holds its lock, names a process of another user: as root, that takes a `chown`.
    write(&pidfile);
    let held = fs::File::open(&pidfile).unwrap();
    held.lock().unwrap();
    if std::os::unix::fs::chown(&pidfile, Some(65534), Some(65534)).is_ok() {
        refused("is of another user than the file");
    }
    assert!(victim.lives());
}

#[test]
fn pid_and_log_files_are_written_through_no_link() {
    let site = Site::new();
    let ini = site.ini_once("queue_mover3", "dst_queue_name = copy");
    let victim = site.path("victim");
    fs::write(&victim, "precious").unwrap();
    let untouched = || assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");

    symlink(&victim, site.path("job.pid.new")).unwrap();
    let output = pgq(&["run", &ini]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    untouched();
    let mode = fs::metadata(site.path("job.log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o027, 0, "{mode:o}");

    for link in [symlink::<_, _>, fs::hard_link] {
        fs::remove_file(site.path("job.log")).unwrap();
        link(&victim, site.path("job.log")).unwrap();
        let output = pgq(&["run", &ini]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains("job.log"), "{}", stderr(&output));
        untouched();
    }
}

#[test]
fn an_ini_file_with_a_password_that_everybody_can_read_is_warned_about() {
    let site = Site::new();
    let ini = site.ini_once("queue_mover3", "dst_queue_name = copy");
    let text = fs::read_to_string(&ini).unwrap().replace("user=", "password=secret user=");
    assert!(text.contains("password=secret"), "{text}");
    fs::write(&ini, text).unwrap();
    for (mode, warned) in [(0o644, true), (0o640, false)] {
        fs::set_permissions(&ini, fs::Permissions::from_mode(mode)).unwrap();
        let output = pgq(&["run", &ini]).output().unwrap();
        let said = stderr(&output);
        assert_eq!(said.contains("everybody can read it"), warned, "{mode:o}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn names_and_messages_do_not_steer_the_terminal() {
    let (scratch, mut client) = queue();
    let name = "x\u{1b}[2J\u{1b}]0;own\u{7}\u{9b}31m\u{202e}\r\n2026-01-01 ERROR fake";
    client.execute("select pgq.register_consumer('q', $1)", &[&name]).unwrap();
    client.execute("select pgq.create_queue($1)", &[&name]).unwrap();
    client.execute("select pgq.insert_event('q', $1, $1, $1, $1, $1, $1)", &[&name]).unwrap();
    let is_bad =
        |char: char| (char.is_control() && char != '\n') || matches!(char, '\u{202a}'..='\u{202e}');
    let missing = format!("{name} missing");
    for arguments in [
        &["status"][..],
        &["consumer", "list"],
        &["queue", "list"],
        &["queue", "show", name],
        &["queue", "show", &missing],
        &["tail", "q", "--no-follow"],
        &["consumer", "add", "q", &missing],
        &["consume", name, "none", "--once"],
        &["queue", "drop", name],
        &["status", "--json"],
        &["consumer", "list", "--json"],
    ] {
        let output = run(&scratch, arguments);
        let out = String::from_utf8(output.stdout.clone()).unwrap();
        for text in [&out, &stderr(&output)] {
            assert!(!text.contains(is_bad), "{arguments:?}: {text:?}");
            assert!(
                !text.lines().any(|line| line.starts_with("2026-01-01 ERROR fake")),
                "{arguments:?}: {text}"
            );
        }
        if arguments.contains(&"--json") {
            assert!(
                out.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
            );
            let escaped = out.contains("own\\u0007\\u009b31m\\u202e");
            assert!(escaped || arguments[0] == "status", "{out}");
        }
    }
    let out = succeed(&scratch, &["tail", "q", "--no-follow"]);
    let event: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(event["ev_data"], name, "it means the same");
}
