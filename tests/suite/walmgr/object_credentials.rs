//! What opens an object store: from files, the environment and services, got anew before it ends,
//! and never shown.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use pgq_tests::object_server::{Dialect, IdentityServer, ObjectServer};
use pgq_tests::site::{Site, archiving, said, write_owned};
use pgq_tests::{Cluster, PATIENCE, wait_until};

/// Where credentials come from, and what the environment of such a host has.
struct Host {
    dialect: Dialect,
    settings: &'static str,
    variables: &'static [(&'static str, &'static str)],
    /// What is asked for them.
    asks: &'static str,
}

const HOSTS: [Host; 7] = [
    Host {
        dialect: Dialect::S3,
        settings: "",
        variables: &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://PLACE")],
        asks: "/latest/api/token",
    },
    Host {
        dialect: Dialect::S3,
        settings: "credentials = 'container'",
        variables: &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://PLACE/container"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of the container"),
        ],
        asks: "/container",
    },
    Host {
        dialect: Dialect::S3,
        settings: "",
        variables: &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "DIR/pod-token"),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/the-role"),
            ("AWS_ENDPOINT_URL_STS", "http://PLACE"),
        ],
        asks: "/",
    },
    Host {
        dialect: Dialect::S3,
        settings: "profile = 'pod'",
        variables: &[
            ("AWS_CONFIG_FILE", "DIR/aws-config"),
            ("AWS_ENDPOINT_URL_STS", "http://PLACE"),
        ],
        asks: "/",
    },
    Host {
        dialect: Dialect::Gcs,
        settings: "",
        variables: &[("GCE_METADATA_HOST", "PLACE")],
        asks: "/computeMetadata/v1/instance/service-accounts/default/token",
    },
    Host {
        dialect: Dialect::Azure,
        settings: "client_id = 'the-client'",
        variables: &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://PLACE")],
        asks: "/metadata/identity/oauth2/token",
    },
    Host {
        dialect: Dialect::Azure,
        settings: "",
        variables: &[
            ("AZURE_FEDERATED_TOKEN_FILE", "DIR/pod-token"),
            ("AZURE_TENANT_ID", "the-tenant"),
            ("AZURE_CLIENT_ID", "the-client"),
            ("AZURE_AUTHORITY_HOST", "http://PLACE"),
        ],
        asks: "/the-tenant/oauth2/v2.0/token",
    },
];

impl Host {
    /// A server on such a host, its store, and the service that gives keys of this lifetime.
    fn site(&self, cluster: Cluster, lifetime: u64) -> (Site, ObjectServer, IdentityServer) {
        let server = ObjectServer::start(self.dialect);
        let identity = IdentityServer::start(lifetime);
        let config = "[profile pod]\nrole_arn = arn:aws:iam::1:role/the-role\n\
            web_identity_token_file = DIR/pod-token\n";
        let directory = cluster.dir().display().to_string();
        write_owned(&cluster.dir().join("pod-token"), b"of-the-pod\n");
        let config = config.replace("DIR", &directory);
        write_owned(&cluster.dir().join("aws-config"), config.as_bytes());
        let site = Site::at(cluster, Path::new("/no"), server.place_with(self.settings));
        (site, server, identity)
    }

    fn command(&self, site: &Site, identity: &IdentityServer, args: &[&str]) -> Command {
        let mut command = site.command(args);
        let directory = site.cluster.dir().display().to_string();
        command.env("HOME", &directory);
        for (name, value) in self.variables {
            command.env(name, value.replace("PLACE", &identity.place()).replace("DIR", &directory));
        }
        command
    }
}

fn ok(mut command: Command, args: &[&str]) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(args, &output));
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn services_give_what_opens_a_store_once_for_as_long_as_it_is_good() {
    let mut cluster = Some(archiving().set("archive_command", "false").start());
    for host in &HOSTS {
        let (site, server, identity) = host.site(cluster.take().unwrap(), 3600);
        let setup = ["setup", "--repository-only", "--verbose"];
        let text = ok(host.command(&site, &identity, &setup), &setup);
        let variables = host.variables;
        assert_eq!(identity.given(), 1, "{variables:?}");
        assert!(identity.asked().contains(&host.asks.to_owned()), "{:?}", identity.asked());
        assert_eq!(server.callers(), ["given-1"], "{variables:?}");
        for secret in ["given-1", "token of", "of-the-pod", "of the container"] {
            assert!(!text.contains(secret), "{variables:?}: {text}");
        }
        // What the store does not take any more is got anew, in the middle of a command.
        let check = ["listbackups"];
        server.refuse("given-2");
        ok(host.command(&site, &identity, &check), &check);
        assert_eq!(server.callers(), ["given-2", "given-3"], "{variables:?}");
        // Without the service nothing is said about the store.
        identity.go_down();
        let output = host.command(&site, &identity, &check).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{}", said(&check, &output));
        cluster = Some(site.cluster);
    }
}

#[test]
fn what_has_ended_opens_nothing() {
    let mut cluster = Some(archiving().set("archive_command", "false").start());
    for host in [&HOSTS[0], &HOSTS[2], &HOSTS[4], &HOSTS[5]] {
        // Each is over at once, so that each request needs another.
        let (site, server, identity) = host.site(cluster.take().unwrap(), 0);
        let setup = ["setup", "--repository-only"];
        ok(host.command(&site, &identity, &setup), &setup);
        assert!(u64::from(identity.given()) >= server.requests(), "{:?}", host.variables);
        cluster = Some(site.cluster);
    }
}

#[test]
fn a_daemon_goes_on_when_its_keys_are_taken_away() {
    let host = &HOSTS[1];
    let cluster = archiving().set("archive_command", "false").start();
    let (site, server, identity) = host.site(cluster, 3600);
    let setup = ["setup", "--repository-only"];
    ok(host.command(&site, &identity, &setup), &setup);
    let mut daemon = host.command(&site, &identity, &["daemon"]).spawn().unwrap();
    let socket = site.cluster.data_dir().join("walmgr.sock");
    assert!(wait_until(PATIENCE, || UnixStream::connect(&socket).is_ok()));
    let push = || {
        let path = segment(&site);
        // Without the variables: the daemon alone can open the store.
        site.ok(&["archive-push", &path]);
        let name = path.strip_prefix("pg_wal/").unwrap();
        assert!(server.names().iter().any(|key| key.ends_with(name)), "{:?}", server.names());
    };
    server.callers();
    push();
    let before = server.callers();
    for key in &before {
        server.refuse(key);
    }
    push();
    let after = server.callers();
    assert!(after.iter().any(|key| !before.contains(key)), "{before:?} {after:?}");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

/// Finish a segment; where it is.
fn segment(site: &Site) -> String {
    let name = site.cluster.psql("postgres", "select pg_walfile_name(pg_current_wal_lsn())");
    site.cluster.psql("postgres", "select pg_logical_emit_message(true, 'a', 'b')");
    site.cluster.psql("postgres", "select pg_switch_wal()");
    format!("pg_wal/{name}")
}

#[test]
fn a_daemon_asks_once_however_many_files_it_stores_at_once() {
    let mut cluster = Some(archiving().set("archive_command", "false").start());
    for host in [&HOSTS[0], &HOSTS[2], &HOSTS[3], &HOSTS[4], &HOSTS[6]] {
        let variables = host.variables;
        let (site, server, identity) = host.site(cluster.take().unwrap(), 3600);
        let setup = ["setup", "--repository-only"];
        ok(host.command(&site, &identity, &setup), &setup);
        let before = identity.given();
        let socket = site.cluster.data_dir().join("walmgr.sock");
        let mut daemon = host.command(&site, &identity, &["daemon"]).spawn().unwrap();
        assert!(wait_until(PATIENCE, || UnixStream::connect(&socket).is_ok()));
        let push = |segments: &[String]| {
            // Without the variables: the daemon alone can open the store.
            let push = |segment: &String| site.command(&["archive-push", segment]).spawn().unwrap();
            let pushed: Vec<_> = segments.iter().map(push).collect();
            for mut one in pushed {
                assert!(one.wait().unwrap().success(), "{variables:?}");
            }
        };
        for _ in 0..3 {
            let segments: Vec<_> = (0..4).map(|_| segment(&site)).collect();
            push(&segments);
        }
        assert_eq!(identity.given() - before, 1, "{variables:?}");
        // All find at once that the store refuses what they have.
        for key in server.callers() {
            server.refuse(&key);
        }
        let segments: Vec<_> = (0..4).map(|_| segment(&site)).collect();
        push(&segments);
        assert_eq!(identity.given() - before, 2, "{variables:?}");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        fs::remove_file(&socket).unwrap();
        cluster = Some(site.cluster);
    }
}

#[test]
fn keys_of_files_and_of_the_environment_open_a_store() {
    let cluster = archiving().set("archive_command", "false").start();
    let server = ObjectServer::start(Dialect::S3);
    let directory = cluster.dir().to_owned();
    fs::create_dir(directory.join(".aws")).unwrap();
    let file = directory.join(".aws/credentials");
    let text = "[default]\naws_access_key_id = of-default\naws_secret_access_key = x\n\
        [archive]\naws_access_key_id = of-archive\naws_secret_access_key = x\n";
    fs::write(&file, text).unwrap();
    let mut site = Some(Site::at(cluster, Path::new("/no"), server.place_with("")));
    let run = |site: &Site, variables: &[(&str, &str)], code: i32| {
        let setup = ["setup", "--repository-only"];
        let mut command = site.command(&setup);
        command.env("HOME", &directory).envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", said(&setup, &output));
        (server.callers(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let default = site.take().unwrap();
    let (callers, warning) = run(&default, &[], 0);
    assert_eq!(callers, ["of-default"]);
    assert!(warning.contains("chmod"), "a file that is open to everybody: {warning}");
    assert_eq!(run(&default, &[("AWS_PROFILE", "archive")], 0).0, ["of-archive"]);
    let keys = [("AWS_ACCESS_KEY_ID", "of-env"), ("AWS_SECRET_ACCESS_KEY", "x")];
    assert_eq!(run(&default, &keys, 0).0, ["of-env"]);
    let named = Site::at(default.cluster, Path::new("/no"), server.place_with("profile = 'none'"));
    let (callers, why) = run(&named, &[], 2);
    assert!(callers.is_empty() && why.contains("profile none"), "{why}");
    // A token is sent in the clear to this host alone.
    let place = server.place_with("credentials = 'container'");
    let container = Site::at(named.cluster, Path::new("/no"), place);
    let elsewhere = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/keys")];
    let (_, why) = run(&container, &elsewhere, 2);
    assert!(why.contains("without TLS"), "{why}");
}
