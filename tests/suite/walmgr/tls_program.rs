//! `walmgr-tls`: which programs load OpenSSL, which verbs go there, and what becomes of them where
//! it is not.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use pgq_tests::site::{Site, said, write_program};

use super::tls::{ask, dsn, own_certificate, server};

/// What the loader brings for a program.
fn libraries(site: &Site, program: &str) -> String {
    let mut command = Command::new(site.cluster.dir().join(program));
    let output = command.env("LD_TRACE_LOADED_OBJECTS", "1").output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn only_the_program_with_tls_loads_openssl() {
    let site = server();
    let (plain, tls) = (libraries(&site, "walmgr"), libraries(&site, "walmgr-tls"));
    assert!(plain.contains("libc.so"), "{plain}");
    assert!(!plain.contains("libssl") && !plain.contains("libcrypto"), "{plain}");
    assert!(tls.contains("libssl") && tls.contains("libcrypto"), "{tls}");
}

/// The server takes nothing that is not encrypted, and no option asks for it: a verb that is not
/// known to connect would try without.
#[test]
fn every_verb_that_connects_does_it_by_tls_where_the_server_offers_it() {
    let site = server();
    let by_tls = dsn(&site, &format!("host=localhost {}", own_certificate(&site)));
    let text = fs::read_to_string(site.config()).unwrap();
    let text = text.replace(&site.cluster.conninfo("postgres"), &by_tls);
    let spool = site.cluster.dir().join("spool").display().to_string();
    fs::write(site.config(), format!("sync.directory = '{spool}'\n{text}")).unwrap();
    site.cluster.psql("postgres", "alter system set log_connections = on");
    site.cluster.reload();
    let repository = site.cluster.dir().join("repository").display().to_string();
    let output = site.cluster.dir().join("metrics").display().to_string();
    for (code, verb) in [
        (0, &["init", "--dry-run", "--repository", &repository, "--connect", &by_tls][..]),
        (0, &["setup"]),
        (0, &["backup"]),
        (0, &["check"]),
        (0, &["info", "--prometheus", "--output", &output]),
        (0, &["sync"]),
        (0, &["synch-standby", "--dry-run", ""]),
        (0, &["stanza-upgrade"]),
        // No standby.
        (2, &["boot"]),
        (2, &["pause"]),
        (2, &["continue"]),
        // The server still archives.
        (3, &["cleanup", "--yes"]),
        (0, &["stop"]),
    ] {
        let before = encrypted(&site);
        let output = site.command(verb).output().unwrap();
        let text = said(verb, &output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(!text.contains("pg_hba"), "{text}");
        assert!(encrypted(&site) > before, "{verb:?} was not seen by the server: {text}");
    }
    let metrics = fs::read_to_string(&output).unwrap();
    assert!(
        metrics.lines().any(|line| line.starts_with("walmgr_server_up{") && line.ends_with(" 1"))
    );
    // What the server calls is the small one.
    let log = site.cluster.log();
    assert!(!log.contains("walmgr-tls"), "{log}");
}

/// How many connections of the role with the certificate the server has let in.
fn encrypted(site: &Site) -> usize {
    let is_one = |line: &&str| line.contains("authorized: user=certified") && line.contains("SSL");
    site.cluster.log().lines().filter(is_one).count()
}

#[test]
fn without_it_nothing_is_less_than_what_was_asked_for() {
    let site = server();
    fs::remove_file(site.cluster.dir().join("walmgr-tls")).unwrap();
    let ours = own_certificate(&site);
    let socket = site.cluster.dir().display().to_string();
    for (code, words, options) in [
        (2, "walmgr-tls", format!("host=localhost {ours} sslmode=require")),
        (2, "walmgr-tls", format!("host=localhost {ours} sslmode=verify-full")),
        (2, "walmgr-tls", format!("host='{socket},localhost' {ours} sslmode=verify-ca")),
        (2, "walmgr-tls", "host=localhost user=plain channel_binding=require".to_owned()),
        (
            2,
            "walmgr-tls",
            "host=localhost user=plain sslnegotiation=direct sslmode=require".to_owned(),
        ),
        (2, "weak", "host=localhost user=plain sslnegotiation=direct".to_owned()),
        // As a libpq without TLS.
        (0, "", "host=localhost user=plain".to_owned()),
        (0, "", "host=localhost user=plain sslmode=allow".to_owned()),
        (0, "", "host=localhost user=plain sslmode=disable".to_owned()),
        (7, "no encryption", format!("host=localhost {ours}")),
        (0, "", format!("host='{socket}' user=plain sslmode=verify-full")),
    ] {
        let (exit, text) = ask(&site, &dsn(&site, &options), &[]);
        assert_eq!(exit, code, "{options}: {text}");
        assert!(text.contains(words), "{options}: {text}");
        assert!(code != 2 || words != "walmgr-tls" || text.contains("sslmode=disable"), "{text}");
    }
    assert_eq!(
        ask(&site, &dsn(&site, "host=localhost user=plain"), &[("PGSSLMODE", "require")]).0,
        2
    );
    // Before anything is done: not even the stanza is looked for.
    let demanded = dsn(&site, &format!("host=localhost {ours} sslmode=require"));
    let text = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), text.replace(&site.cluster.conninfo("postgres"), &demanded)).unwrap();
    for verb in [&["setup"][..], &["backup"], &["cleanup", "--yes"], &["createslave"]] {
        let said = site.fails(2, verb);
        assert!(said.contains("walmgr-tls"), "{verb:?}: {said}");
    }
    assert!(!site.repository().exists());
    // What can be read once only is not handed on.
    let script = "exec \"$0\" --config <(cat \"$1\") check";
    let mut shell = site.cluster.run_as("bash");
    shell.args(["-c", script]).arg(site.cluster.dir().join("walmgr")).arg(site.config());
    let output = shell.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("is not a file"), "{said}");
    // Who does not connect, does not need it.
    let said = site.fails(4, &["listbackups"]);
    assert!(!said.contains("walmgr-tls"), "{said}");
}

#[test]
fn a_stranger_that_lies_there_is_not_run() {
    let site = server();
    let program = site.cluster.dir().join("walmgr-tls");
    let built = fs::read(&program).unwrap();
    let mode = |mode: u32| fs::set_permissions(&program, Permissions::from_mode(mode)).unwrap();
    let asked = |options: &str| ask(&site, &dsn(&site, options), &[]);
    let refused = |words: &str| {
        for options in ["host=localhost user=plain", "host=localhost user=plain sslmode=require"] {
            let (exit, text) = asked(options);
            assert!(exit == 2 && text.contains(words), "{options}: {text}");
            assert!(!text.contains("RAN"), "{text}");
        }
        assert_eq!(asked("host=localhost user=plain sslmode=disable").0, 0);
    };
    let replace = |bytes: &[u8]| {
        fs::remove_file(&program).unwrap();
        write_program(&program, bytes);
    };
    // walmgr itself under its name would begin again and again.
    replace(&fs::read(site.cluster.dir().join("walmgr")).unwrap());
    refused("walmgr without TLS");
    let script = b"#!/bin/sh\necho RAN\n";
    replace(script);
    mode(0o777);
    refused("others may write");
    mode(0o644);
    refused("Permission denied");
    fs::remove_file(&program).unwrap();
    std::os::unix::fs::symlink("/bin/echo", &program).unwrap();
    refused("not a file");
    // Only root can give files away.
    let owner = fs::metadata(site.cluster.data_dir()).unwrap();
    replace(script);
    if owner.uid() != fs::metadata(site.cluster.dir().join("walmgr")).unwrap().uid() {
        chown(&program, Some(owner.uid()), None).unwrap();
        refused("belongs neither");
    }
    replace(&built);
    assert_eq!(asked(&format!("host=localhost {} sslmode=require", own_certificate(&site))).0, 0);
}
