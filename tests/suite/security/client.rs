//! Attacks on the `pgq` command: through connection options, pid and log files, and names that
//! steer a terminal.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command};

use pgq_tests::{Scratch, Tree};
use postgres::Client;

use crate::client::services::Site;
use pgq_tests::programs::{
    create_queue, database_on, dsn, pgq, run, stderr, succeed, target, tick, value,
};

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

    // Who owns the file, and even holds its lock, names a process of another user: as root, that
    // takes a `chown`.
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

/// Insert an event with its type, payload and first extra field.
fn event(client: &mut Client, ev_type: &str, data: &str, extra1: Option<&str>) {
    client
        .execute(
            "select pgq.insert_event('q', $1, $2, $3, null, null, null)",
            &[&ev_type, &data, &extra1],
        )
        .unwrap();
}

/// Tables of a target and what attacks must not change there.
const TABLES: &str = "
    create table hits (id int primary key, who text);
    create table secret_grants (id int primary key, who text);
    insert into secret_grants values (1, 'admin'); insert into hits values (100, 'kept');
    create view roles as select * from pg_authid;
    create view queues as select queue_name, queue_data_pfx from pgq.queue;
    create view views as select * from roles;
    create schema app; create table app.parent (id int primary key, who text);
    create table app.t (id int primary key, who text);
    create rule also as on insert to app.t do also insert into pgq.consumer (co_name)
        values (new.who);
    create table app.partitioned (id int, who text) partition by list (id);
    create table pgq.part partition of app.partitioned for values in (1);
    create table app.heir_of (id int, who text);
    create table pgq_ext.heir () inherits (app.heir_of);
    insert into pgq_ext.heir values (1, 'kept');
    create table app.key (id int primary key);
    create table pgq.carried (id int references app.key on delete cascade);
    insert into app.key values (1); insert into pgq.carried values (1);
    create extension postgres_fdw;
    create server back foreign data wrapper postgres_fdw;
    create foreign table app.far (oid oid, rolname name) server back
        options (schema_name 'pg_catalog', table_name 'pg_authid')";

const STATE: &str = "
    select concat_ws(' ', (select string_agg(t::text, ' ') from secret_grants t),
           (select count(*) from pg_authid where rolname = 'pwned'),
           (select string_agg(co_name, ' ') from pgq.consumer), (select count(*) from pgq.queue),
           (select count(*) from pgq.part), (select count(*) from pgq_ext.heir),
           (select count(*) from pgq.carried), (select count(*) from pgq_ext.completed_event),
           (select string_agg(t::text, ' ') from hits t))";

#[test]
fn load_writes_only_to_tables_that_it_was_told_to() {
    let (scratch, mut here) = queue();
    let (there, mut far) = target(TABLES);
    let to = dsn(&there);
    let before = value(&mut far, STATE);
    let role = "oid=99999&rolname=pwned&rolsuper=t&rolinherit=t&rolcreaterole=t&rolcreatedb=t&rolcanlogin=t\
                &rolreplication=f&rolbypassrls=t&rolconnlimit=-1";
    let json = |op: &str| format!("{{\"op\":\"{op}\",\"pkey\":[\"id\"]}}");
    let (json_insert, json_truncate) = (json("INSERT"), json("TRUNCATE"));
    let only = ["--only", "public.hits", "--only", "app.*"];
    let everything = ["--only", "*.*", "--only", "pg_catalog.pg_authid,pgq.*", "--allow-truncate"];
    let mapped = ["--table", "public.x=pg_catalog.pg_authid", "--only", "*.*"];
    for (ev_type, data, table, options, words) in [
        // By default any table but the server's and PgQ's.
        (
            "I:",
            role,
            "pg_catalog.pg_authid",
            &[][..],
            "system and PgQ schemas are never written to",
        ),
        ("I:", role, "pg_catalog.pg_authid", &everything, "never written to"),
        ("I:", role, "public.x", &mapped, "never written to"),
        ("I:", role, "public.roles", &everything, "reaches \"pg_catalog.pg_authid\""),
        ("I:", role, "public.views", &everything, "reaches \"pg_catalog.pg_authid\""),
        ("I:", role, "app.far", &everything, "reaches \"app.far\""),
        ("D:queue_name", "queue_name=copy", "public.queues", &everything, "reaches \"pgq.queue\""),
        ("I:id", "id=1&who=mallory", "app.t", &everything, "reaches \"pgq.consumer\""),
        ("I:id", "id=1&who=mallory", "app.partitioned", &everything, "reaches \"pgq.part\""),
        ("D:who", "who=kept", "app.heir_of", &everything, "reaches \"pgq_ext.heir\""),
        ("D:id", "id=1", "app.key", &everything, "reaches \"pgq.carried\""),
        ("R", "", "app.heir_of", &everything, "reaches \"pgq_ext.heir\""),
        ("D:co_name", "co_name=job", "pgq.consumer", &everything, "never written to"),
        ("R", "", "pgq_ext.completed_event", &everything, "never written to"),
        ("I:id", "id=1", "information_schema.sql_features", &everything, "never written to"),
        ("I:id", "id=1", "pg_temp.t", &everything, "never written to"),
        // No folding, no quotes, no search path: there is no such table.
        ("I:", role, "PG_CATALOG.pg_authid", &everything, "has no table"),
        ("I:", role, "\"pg_catalog\".pg_authid", &everything, "has no table"),
        ("I:", role, "pg_authid", &everything, "has no table"),
        ("I:", role, "public.pg_catalog.pg_authid", &everything, "has no table"),
        ("I:", role, " pg_catalog.pg_authid", &everything, "has no table"),
        // Only what was named.
        (
            "I:id",
            "id=7&who=mallory",
            "public.secret_grants",
            &only,
            "--only (INI: tables) does not allow",
        ),
        ("D:id", "id=1", "public.secret_grants", &only, "does not allow"),
        (&json_insert, "{\"id\":7,\"who\":\"x\"}", "public.secret_grants", &only, "does not allow"),
        ("I:id", "id=7&who=mallory", "secret_grants", &only, "does not allow"),
        // TRUNCATE takes more.
        ("R", "", "public.hits", &only, "needs --allow-truncate"),
        ("R", "", "public.hits", &[], "needs --allow-truncate"),
        (&json_truncate, "", "public.hits", &[], "needs --allow-truncate"),
    ] {
        if ev_type.starts_with('{') && data.is_empty() {
            event(&mut here, ev_type, "{}", Some(table));
        } else {
            event(&mut here, ev_type, data, Some(table));
        }
        tick(&mut here, "q");
        for more in [None, Some("--row-by-row"), Some("--skip-missing")] {
            // A table that is not there is left out when that is asked for.
            if more == Some("--skip-missing") && words == "has no table" {
                continue;
            }
            let mut command = pgq(&["load", "q", "c", "--to", &to, "--once"]);
            let command = command.args(options).args(more).env("PGQ_DSN", dsn(&scratch));
            let output = command.output().unwrap();
            let said = stderr(&output);
            let code = if words == "has no table" { 4 } else { 5 };
            assert_eq!(output.status.code(), Some(code), "{ev_type} {table} {options:?}: {said}");
            assert!(said.contains(words) && said.contains("event "), "{table}: {said}");
            assert!(said.contains("--dead QUEUE"), "{said}");
            assert_eq!(value(&mut far, STATE), before, "{table}");
        }
        // Nothing is lost: with a place for it, it is set aside and the next comes.
        let mut dead = vec!["load", "q", "c", "--to", &to, "--once", "--dead", "q.dead"];
        dead.extend(options);
        succeed(&scratch, &dead);
        assert_eq!(value(&mut far, STATE), before, "{table}");
        let letters = succeed(&scratch, &["dead", "list", "q.dead"]);
        assert!(letters.contains(words), "{letters}");
        succeed(&scratch, &["dead", "purge", "q.dead", "--all"]);
    }
    // The healthy case.
    event(&mut here, "I:id", "id=1&who=me", Some("public.hits"));
    event(&mut here, "I:id", "id=1&who=me", Some("app.parent"));
    tick(&mut here, "q");
    let mut healthy = vec!["load", "q", "c", "--to", &to, "--once"];
    healthy.extend(only);
    succeed(&scratch, &healthy);
    assert_eq!(value(&mut far, "select who from hits where id = 1"), "me");
    assert_eq!(value(&mut far, "select who from app.parent"), "me");
}

#[test]
fn the_loader_of_an_ini_file_is_bound_as_well() {
    let mut site = Site::new();
    site.far
        .batch_execute(
            "create table told (id int primary key); create table other (id int primary key)",
        )
        .unwrap();
    for (extra1, keys, code) in [
        ("public.other", "tables = told, app.*", 5),
        ("pgq.queue", "", 5),
        ("pgq.queue", "rename_tables = a:pgq.queue\ntables = pgq.*", 5),
        ("public.a", "rename_tables = a:pgq.queue", 5),
    ] {
        event(&mut site.here, "I:id", "id=1", Some(extra1));
        tick(&mut site.here, "q");
        let output = pgq(&["run", &site.ini_once("queue_loader", keys)]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{extra1} {keys}: {}", stderr(&output));
        let with_dead = site.ini_once("queue_loader", &format!("{keys}\ndead_letter_queue = dead"));
        crate::client::services::run_once(&with_dead);
    }
    event(&mut site.here, "I:id", "id=1", Some("public.told"));
    event(&mut site.here, "R", "", Some("public.told"));
    event(&mut site.here, "I:id", "id=2", Some("public.told"));
    tick(&mut site.here, "q");
    let keys = "tables = told\nallow_truncate = 1";
    crate::client::services::run_once(&site.ini_once("queue_loader", keys));
    assert_eq!(value(&mut site.far, "select string_agg(id::text, ' ') from told"), "2");
}

#[test]
fn split_goes_only_to_queues_that_it_was_told_to() {
    let (scratch, mut here) = queue();
    let (there, mut far) = target(
        "select pgq.create_queue('plain'); select pgq.create_queue('other');
         select pgq.create_queue('letters');
         select pgq.register_consumer('letters', 'dead_letters');
         create extension pgq_node;
         select pgq_node.register_location('set', 'root', 'dbname=x', false);
         select pgq_node.create_node('set', 'root', 'root', 'worker', null, null, null)",
    );
    let to = dsn(&there);
    let arrived = "select string_agg(q.queue_name, ' ' order by q.queue_name) from pgq.event_template e, pgq.queue q
                    where e.tableoid::regclass::text like q.queue_data_pfx || '_%'
                        and e.ev_type = 'n'";
    for (queue, options, words) in [
        ("letters", &[][..], "holds dead letters"),
        ("letters", &["--only", "*"], "holds dead letters"),
        ("set", &[], "part of a cascade"),
        ("set", &["--only", "s*"], "part of a cascade"),
        ("other", &["--only", "plain"], "--only (INI: queues) does not allow"),
        ("Plain", &["--only", "plain"], "does not allow"),
    ] {
        event(&mut here, "n", "x", Some(queue));
        tick(&mut here, "q");
        let mut split = vec!["split", "q", "c", "--to", &to, "--once"];
        split.extend(options);
        let output = run(&scratch, &split);
        assert_eq!(output.status.code(), Some(5), "{queue}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
        split.extend(["--dead", "q.dead"]);
        succeed(&scratch, &split);
        assert_eq!(value(&mut far, arrived), "NULL", "{queue}");
    }
    // A queue that is not there ends it; a name in full is as good as an order.
    event(&mut here, "n", "x", Some("nowhere"));
    tick(&mut here, "q");
    let output = run(&scratch, &["split", "q", "c", "--to", &to]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    succeed(&scratch, &["split", "q", "c", "--to", &to, "--once", "--dead", "q.dead"]);
    for queue in ["plain", "letters", "set"] {
        event(&mut here, "n", "x", Some(queue));
    }
    tick(&mut here, "q");
    succeed(&scratch, &["split", "q", "c", "--to", &to, "--once", "--only", "p*,letters,set"]);
    assert_eq!(value(&mut far, arrived), "letters plain set");
    let letters = succeed(&scratch, &["dead", "list", "q.dead", "--json"]);
    assert_eq!(letters.lines().count(), 7, "{letters}");
}

/// Payloads that no trigger wrote.
const POISON: [(&str, &str); 7] = [
    ("I:id", "id=1&v=%00"),
    ("I:id", "id=1&v=%ff%fe"),
    ("I:id", "id=1"),
    ("I:id", "id=1&v=%zz"),
    ("{\"op\":\"INSERT\",\"pkey\":[\"id\"]}", "{\"id\":1,\"v\":\"\\u0000\"}"),
    ("{\"op\":\"INSERT\",\"pkey\":[\"id\"]}", "{\"id\":1,\"v\":"),
    ("I:id", "id=one&v=x"),
];

#[test]
fn poison_is_set_aside_by_simple_consumer() {
    let mut site = Site::new();
    site.far.batch_execute("create table log (id int primary key, v text)").unwrap();
    let keys = "dst_query = insert into log values (%%(id)s, %%(v)s)";
    let stops = site.ini_once("simple_consumer3", keys);
    for (at, (ev_type, data)) in POISON.into_iter().enumerate() {
        event(&mut site.here, ev_type, data, Some("public.t"));
        event(&mut site.here, "I:id", &format!("id={}&v=good", 10 + at), Some("public.t"));
        tick(&mut site.here, "q");
        // Without a place for it everything stops, and says which event and what to do.
        site.ini_once("simple_consumer3", keys);
        let output = pgq(&["run", &stops]).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(7), "{data}: {said}");
        assert!(said.contains("event ") && said.contains("dead_letter_queue"), "{data}: {said}");
        crate::client::services::run_once(
            &site.ini_once("simple_consumer3", &format!("{keys}\ndead_letter_queue = dead")),
        );
        assert_eq!(value(&mut site.far, "select count(*) from log"), (at + 1).to_string());
    }
    let letters = value(
        &mut site.here,
        "select count(*) || ' ' || count(distinct ev_extra1::json->>'ev_id') from pgq.event_template where ev_extra1 like '{%'",
    );
    assert_eq!(letters, format!("{0} {0}", POISON.len()));
}

#[test]
fn poison_is_set_aside_by_load_and_stored_once_through_kills() {
    let (scratch, mut here) = queue();
    let (there, mut far) = target("create table t (id int primary key, v text check (v <> 'bad'))");
    let to = dsn(&there);
    let load = ["load", "q", "c", "--to", &to, "--once", "--dead", "q.dead"];
    let mut good = 0;
    let bad = [("I:id", "id=1&v=bad"), ("U:id", "v=x"), ("I:id", "id=1&nope=2"), ("I", "id=1")];
    for step in ["dead.stored", "target.committed", "finish.committed"] {
        for (ev_type, data) in POISON.into_iter().filter(|(_, data)| *data != "id=1").chain(bad) {
            event(&mut here, ev_type, data, Some("public.t"));
            good += 1;
            event(&mut here, "I:id", &format!("id={}&v=good", 10 + good), Some("public.t"));
        }
        tick(&mut here, "q");
        let killed = pgq(&load)
            .env("PGQ_DSN", dsn(&scratch))
            .env("PGQ_FAILPOINT", format!("{step}=kill"))
            .output()
            .unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&killed.status);
        assert_eq!(signal, Some(9), "{step}: {}", stderr(&killed));
        succeed(&scratch, &load);
        let rows = value(&mut far, "select count(*) from t where v = 'good'");
        assert_eq!(rows, good.to_string(), "{step}");
        let letters = succeed(&scratch, &["dead", "list", "q.dead", "--json"]);
        assert_eq!(letters.lines().count(), good, "{step}: {letters}");
    }
    // A letter that was mended by hand comes again to this consumer.
    far.batch_execute("alter table t drop constraint t_v_check").unwrap();
    let ids = succeed(&scratch, &["dead", "list", "q.dead", "--json"]);
    let letter = ids.lines().find(|line| line.contains("t_v_check")).unwrap();
    let letter: serde_json::Value = serde_json::from_str(letter).unwrap();
    succeed(&scratch, &["dead", "replay", "q.dead", &letter["ev_id"].to_string()]);
    here.batch_execute("select pgq.maint_retry_events()").unwrap();
    tick(&mut here, "q");
    succeed(&scratch, &load);
    assert_eq!(value(&mut far, "select count(*) from t where v = 'bad'"), "1");
}

#[test]
fn garbage_in_a_dead_letter_queue_hides_no_letters() {
    let (scratch, mut here) = queue();
    event(&mut here, "n", "x", None);
    tick(&mut here, "q");
    let dead =
        ["consume", "q", "c", "--once", "--exec", "false", "--max-attempts", "1", "--dead", "d"];
    succeed(&scratch, &dead);
    here.batch_execute("select pgq.insert_event('d', 'garbage', 'x')").unwrap();
    let letters = succeed(&scratch, &["dead", "list", "d", "--json"]);
    assert_eq!(letters.lines().count(), 1, "{letters}");
    assert_eq!(succeed(&scratch, &["dead", "purge", "d", "--all"]), "1 purged\n");
}

/// Who may create in a schema of the target's search path does not get to run what the loader
/// compares keys by.
#[test]
fn load_compares_keys_by_their_types_own_operator() {
    let (scratch, mut here) = queue();
    let (there, mut far) = target(
        "create table t (code varchar primary key, v text);
         create type pair as (a int, b int);
         create table p (k pair, v text);
         create table trapped (x text);
         insert into t values ('a', 'x'), ('b', 'x');
         insert into p values ('(1,2)', 'x'), ('(2,2)', 'x');
         create function trap(l varchar, r varchar) returns boolean language plpgsql as
           $$ begin insert into trapped values (l); return l::text = r::text; end $$;
         create operator = (leftarg = varchar, rightarg = varchar, function = trap);
         create function same(l pair, r pair) returns boolean language sql
             as 'select (l).a = (r).a';
         create operator = (leftarg = pair, rightarg = pair, function = same)",
    );
    let to = dsn(&there);
    for (code, more) in [("a", None), ("b", Some("--row-by-row"))] {
        event(&mut here, "D:code", &format!("code={code}"), Some("public.t"));
        let k = if more.is_none() { "(1,9)" } else { "(2,9)" };
        event(&mut here, "D:k", &format!("k={k}"), Some("public.p"));
        tick(&mut here, "q");
        let mut load = vec!["load", "q", "c", "--to", &to, "--once"];
        load.extend(more);
        succeed(&scratch, &load);
    }
    let left = "select (select count(*) from t) || ' ' || (select count(*) from p) || ' ' || (select count(*) from trapped)";
    assert_eq!(value(&mut far, left), "0 0 0");
}
