//! Connections of walmgr's: by TLS, as `sslmode` says, and completed as libpq does.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use pgq_tests::certificates::{certificate, give_certificates};
use pgq_tests::site::{Site, archiving, said, write_owned};
use pgq_tests::{Cluster, Tree, wait_until};

/// Only by TLS, with a certificate or a password; only without TLS; and as ever by socket.
const RULES: &str = "
local all all trust
hostssl all,replication certified all cert
hostssl all,replication secret all scram-sha-256
hostnossl all plain all trust
";

fn server() -> Site {
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
fn dsn(site: &Site, options: &str) -> String {
    let root = certificate(&site.cluster, "ca.crt");
    format!("port={} sslrootcert='{}' {options}", site.cluster.port(), root.display())
}

fn own_certificate(site: &Site) -> String {
    let [certificate, key] =
        ["client.crt", "client.key"].map(|name| certificate(&site.cluster, name));
    format!("user=certified sslcert='{}' sslkey='{}'", certificate.display(), key.display())
}

/// Ask the server by a connection string; exit code and words.
fn ask(site: &Site, dsn: &str, environment: &[(&str, &str)]) -> (i32, String) {
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
    let service = [("PGSERVICEFILE", services.as_str()), ("PGPASSFILE", &passfile)];
    assert_eq!(ask(&site, "service=s", &service).0, 0);
    let uri = format!("postgres://secret@localhost:{port}/?passfile={passfile}&sslmode=require");
    assert_eq!(ask(&site, &uri, &[]).0, 0);
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
    assert!(wait_until(Duration::from_secs(60), streams), "{}", standby.cluster.log());
}
