//! Connections of walmgr's: by TLS, as `sslmode` says, and completed as libpq does.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use pgq_tests::certificates::{certificate, give_certificates, sign_itself};
use pgq_tests::site::{Site, archiving, said, write_owned};
use pgq_tests::{Cluster, PATIENCE, Tree, wait_until};

/// Only by TLS, with a certificate or a password; only without TLS; and as ever by socket.
const RULES: &str = "
local all all trust
hostssl all,replication certified all cert
hostssl all,replication secret all scram-sha-256
hostnossl all plain all trust
";

/// A server that speaks TLS, and a walmgr beside it.
pub(super) fn server() -> Site {
    let mut cluster = archiving().create();
    give_certificates(&cluster, "certified");
    write_owned(&cluster.data_dir().join("pg_hba.conf"), RULES.as_bytes());
    cluster.start();
    cluster.psql(
        "postgres",
        "create role certified superuser login; create role plain superuser login;
         create role secret superuser login password 'it''s a \"s3cr3t&'",
    );
    Site::new(cluster)
}

/// How a password is written in a connection string.
const PASSWORD: &str = r#"password='it\'s a "s3cr3t&'"#;

/// By TCP, with files of the server's authority where an option has none.
pub(super) fn dsn(site: &Site, options: &str) -> String {
    let root = certificate(&site.cluster, "ca.crt");
    format!("port={} sslrootcert='{}' {options}", site.cluster.port(), root.display())
}

/// Role and certificate that the server asks for.
pub(super) fn own_certificate(site: &Site) -> String {
    let [certificate, key] =
        ["client.crt", "client.key"].map(|name| certificate(&site.cluster, name));
    format!("user=certified sslcert='{}' sslkey='{}'", certificate.display(), key.display())
}

/// Ask the server by a connection string; exit code and words.
pub(super) fn ask(site: &Site, dsn: &str, environment: &[(&str, &str)]) -> (i32, String) {
    let args = ["--dry-run", "init", "--repository", "/nowhere", "--connect", dsn];
    let mut command = site.command(&args);
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let text = said(&args, &output);
    let shown =
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert!(!shown.contains("s3cr3t"), "{shown}");
    (output.status.code().unwrap(), text)
}

#[test]
fn sslmode_and_certificates_mean_what_they_mean_to_libpq() {
    let site = server();
    let ours = own_certificate(&site);
    let other = certificate(&site.cluster, "other.crt").display().to_string();
    for (code, words, options) in [
        (0, "", format!("host=localhost {ours} sslmode=verify-full")),
        // The name is another, and whoever leaves the name out is content.
        (7, "", format!("host=127.0.0.1 {ours} sslmode=verify-full")),
        (0, "", format!("host=127.0.0.1 {ours} sslmode=verify-ca")),
        (0, "", format!("host=127.0.0.1 {ours} sslmode=require")),
        (0, "", format!("host=127.0.0.1 {ours}")),
        (7, "", format!("host=localhost {ours} sslmode=verify-ca sslrootcert='{other}'")),
        (7, "", format!("host=localhost {ours} sslmode=disable")),
        (7, "", "host=localhost user=certified sslmode=verify-full".to_owned()),
        (
            2,
            "root certificate",
            format!("host=localhost {ours} sslmode=verify-full sslrootcert=''"),
        ),
        (
            2,
            "/nonexistent",
            format!("host=localhost {ours} sslmode=verify-ca sslrootcert=/nonexistent"),
        ),
        (0, "", "host=localhost user=plain sslmode=disable".to_owned()),
        (7, "", "host=localhost user=plain sslmode=require".to_owned()),
        (0, "", format!("host=localhost user=secret {PASSWORD} channel_binding=require")),
        (7, "28P01", "host=localhost user=secret password=s3cr3t".to_owned()),
        (2, "sslmode", "host=localhost sslmode=sometimes".to_owned()),
        (2, "sslcrl", "host=localhost sslcrl=/x".to_owned()),
        (2, "hots", "hots=localhost".to_owned()),
        (2, "unterminated", "host=localhost password='s3cr3t".to_owned()),
        // A socket is never encrypted.
        (0, "", format!("host='{}' user=plain sslmode=require", site.cluster.dir().display())),
    ] {
        let (exit, text) = ask(&site, &dsn(&site, &options), &[]);
        assert_eq!(exit, code, "{options}: {text}");
        assert!(text.contains(words), "{options}: {text}");
    }
    let key = certificate(&site.cluster, "client.key");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let (exit, text) = ask(&site, &dsn(&site, &format!("host=localhost {ours}")), &[]);
    assert!(exit == 2 && text.contains("open to others"), "{text}");
}

#[test]
fn a_connection_is_completed_from_the_environment_a_service_and_the_password_file() {
    let site = server();
    let port = site.cluster.port().to_string();
    let home = site.cluster.dir();
    let (passfile, services) = (home.join("passfile"), home.join("services"));
    write_owned(&passfile, b"localhost:*:postgres:secret:it's a \"s3cr3t&\n");
    fs::set_permissions(&passfile, Permissions::from_mode(0o600)).unwrap();
    write_owned(&services, format!("[s]\nhost=localhost\nport={port}\nuser=secret\n").as_bytes());
    let (passfile, services) = (passfile.display().to_string(), services.display().to_string());
    let base = format!("host=localhost port={port}");
    let password = ("PGPASSWORD", "it's a \"s3cr3t&");
    assert_eq!(ask(&site, &base, &[("PGUSER", "secret"), password]).0, 0);
    assert_eq!(ask(&site, &base, &[("PGUSER", "secret")]).0, 7);
    assert_eq!(ask(&site, &format!("{base} user=secret passfile='{passfile}'"), &[]).0, 0);
    // To each host what is its own.
    let apart = format!(
        "nowhere:*:*:*:wrong\nlocalhost:1:*:*:wrong\nlocalhost:{port}:*:*:it's a \"s3cr3t&\n"
    );
    let (files, hosts) = (home.join("apart"), format!("host=localhost,localhost port=1,{port}"));
    write_owned(&files, apart.as_bytes());
    fs::set_permissions(&files, Permissions::from_mode(0o600)).unwrap();
    let files = files.display();
    assert_eq!(ask(&site, &format!("{hosts} user=secret passfile='{files}'"), &[]).0, 0);
    let service = [("PGSERVICEFILE", services.as_str()), ("PGPASSFILE", &passfile)];
    assert_eq!(ask(&site, "service=s", &service).0, 0);
    let uri = format!("postgres://secret@localhost:{port}/?passfile={passfile}&sslmode=require");
    assert_eq!(ask(&site, &uri, &[]).0, 0);
}

/// The strings of a site's own, and where what they leave out comes from: a mode that is asked for
/// anywhere is kept to, and for each host.
#[test]
fn a_mode_is_kept_to_wherever_it_comes_from() {
    let site = server();
    let port = site.cluster.port().to_string();
    let home = site.cluster.dir();
    let root = certificate(&site.cluster, "ca.crt").display().to_string();
    let other = certificate(&site.cluster, "other.crt").display().to_string();
    let services = home.join("services");
    let text = format!(
        "[full]\nhost=localhost\nport={port}\nsslmode=verify-full\nsslrootcert={root}\n\
         [wrong]\nhost=localhost\nport={port}\nsslmode=verify-full\nsslrootcert={other}\n\
         [plain]\nhost=localhost\nport={port}\nsslmode=disable\n"
    );
    write_owned(&services, text.as_bytes());
    let services = services.display().to_string();
    let (file, service) = (("PGSERVICEFILE", services.as_str()), |name| ("PGSERVICE", name));
    let ours = own_certificate(&site);
    let here = format!("host=localhost port={port}");
    let trusted = ("PGSSLROOTCERT", root.as_str());
    for (code, dsn, environment) in [
        (0, ours.clone(), vec![file, service("full")]),
        (7, ours.clone(), vec![file, service("wrong")]),
        (7, "user=plain".to_owned(), vec![file, service("full")]),
        (0, "user=plain".to_owned(), vec![file, service("plain")]),
        (0, format!("{here} user=plain"), vec![("PGSSLMODE", "disable")]),
        (7, format!("{here} user=plain"), vec![("PGSSLMODE", "require")]),
        (7, format!("{here} user=plain"), vec![("PGREQUIRESSL", "1")]),
        (2, format!("{here} user=plain"), vec![("PGSSLMODE", "sometimes")]),
        (0, format!("{here} {ours}"), vec![("PGSSLMODE", "verify-full"), trusted]),
        (2, format!("{here} {ours}"), vec![("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", "/x")]),
        (2, format!("{here} {ours}"), vec![("PGSSLCRL", "/x")]),
        // What the string says comes first.
        (0, format!("{here} user=plain sslmode=disable"), vec![("PGSSLMODE", "verify-full")]),
        // The name is checked, whatever address leads there.
        (0, format!("{here} hostaddr=127.0.0.1 {ours} sslmode=verify-full"), vec![trusted]),
        (
            7,
            format!("host=elsewhere hostaddr=127.0.0.1 port={port} {ours} sslmode=verify-full"),
            vec![trusted],
        ),
        (7, format!("hostaddr=127.0.0.1 port={port} {ours} sslmode=verify-full"), vec![trusted]),
        (0, format!("hostaddr=127.0.0.1 port={port} {ours} sslmode=verify-ca"), vec![trusted]),
        // Nobody listens there first; the second must be no less than what was asked for.
        (
            0,
            format!("host=localhost,localhost port=1,{port} {ours} sslmode=verify-full"),
            vec![trusted],
        ),
        (
            7,
            format!("host=localhost,127.0.0.1 port=1,{port} {ours} sslmode=verify-full"),
            vec![trusted],
        ),
        (7, format!("host=localhost,localhost port=1,{port} user=plain sslmode=require"), vec![]),
        (
            7,
            format!("host='{},localhost' port=1,{port} user=plain sslmode=require", home.display()),
            vec![],
        ),
        // Without any host there is the socket of the default directory, where nobody listens.
        (7, format!("port={port} {ours} sslmode=verify-full"), vec![trusted]),
        (0, format!("port={port} user=plain"), vec![("PGHOST", home.to_str().unwrap())]),
        (0, format!("port={port} {ours}"), vec![("PGHOST", "localhost")]),
        (
            7,
            format!("port={port} user=plain"),
            vec![("PGHOST", "localhost"), ("PGSSLMODE", "require")],
        ),
    ] {
        let (exit, text) = ask(&site, &dsn, &environment);
        assert_eq!(exit, code, "{dsn} {environment:?}: {text}");
    }
}

#[test]
fn a_server_may_have_signed_its_certificate_itself() {
    let site = server();
    sign_itself(&site.cluster);
    site.cluster.reload();
    let root = certificate(&site.cluster, "self.crt").display().to_string();
    let by = |root: &str| {
        let ours = own_certificate(&site);
        let options = format!("host=localhost {ours} sslmode=verify-full sslrootcert='{root}'");
        ask(&site, &dsn(&site, &options), &[])
    };
    assert!(wait_until(PATIENCE, || by(&root).0 == 0), "{}", by(&root).1);
    let (exit, text) = by(&certificate(&site.cluster, "ca.crt").display().to_string());
    assert_eq!(exit, 7, "{text}");
}

#[test]
fn everything_works_through_tls_alone() {
    let site = server();
    // Nothing comes by another way.
    let rules = RULES.replace("local all all trust", "local all postgres trust");
    write_owned(&site.cluster.data_dir().join("pg_hba.conf"), rules.as_bytes());
    site.cluster.reload();
    let by_socket = site.cluster.conninfo("postgres");
    let by_tls =
        dsn(&site, &format!("host=localhost {} sslmode=verify-full", own_certificate(&site)));
    let text = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), text.replace(&by_socket, &by_tls)).unwrap();
    site.ok(&["setup"]);
    site.ok(&["backup"]);
    site.ok(&["check"]);

    let standby = Site::beside(Cluster::empty(Tree::Ours), site.repository());
    let given = dsn(
        &site,
        &format!(
            "host=localhost user=secret {PASSWORD} sslmode=verify-full application_name=second"
        ),
    );
    for verb in
        [&["createslave", "--no-start"][..], &["createslave", "--no-start", "--from-primary"]]
    {
        let _ = fs::remove_dir_all(standby.cluster.data_dir());
        let value = given.replace('\\', "\\\\").replace('"', "\\\"");
        standby.configure(&format!("standby.primary_conninfo = \"{value}\""));
        // libpq looks for certificates at home, which here need not be the server's user's.
        let output = standby.command(verb).env("HOME", standby.cluster.dir()).output().unwrap();
        assert!(output.status.success(), "{}", said(verb, &output));
        let settings = fs::read_to_string(standby.cluster.data_dir().join("postgresql.auto.conf"));
        let quoted = given.replace('\\', "\\\\").replace('\'', "''");
        let line = format!("primary_conninfo = '{quoted}'\n");
        assert!(settings.as_ref().unwrap().contains(&line), "{settings:?}");
    }
    let mut standby = standby;
    let home = standby.cluster.dir().display().to_string();
    standby.cluster.set_env("HOME", home);
    standby.cluster.start();
    let encrypted = "select coalesce(bool_and(s.ssl), false) from pg_stat_replication r
                       join pg_stat_ssl s using (pid) where r.application_name = 'second'";
    let streams = || site.cluster.psql("postgres", encrypted) == "t";
    assert!(wait_until(PATIENCE, streams), "{}", standby.cluster.log());
}
