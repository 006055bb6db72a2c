//! What walmgr says to people: what is wrong, where, and what to do next.

use std::fs;

use pgq_tests::{Cluster, Stop, Tree};

use pgq_tests::site::{Site, archiving, write_owned};

fn primary() -> Site {
    primary_in(Site::new)
}

fn primary_in(site: fn(Cluster) -> Site) -> Site {
    let site = site(archiving().start());
    site.ok(&["setup"]);
    site
}

fn said(site: &Site, args: &[&str]) -> String {
    let output = site.command(args).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn a_pending_restart_is_said_and_not_a_setup_that_was_done() {
    let mut site = Site::new(Cluster::builder().initdb_arg("--wal-segsize=1").start());
    let text = said(&site, &["setup"]);
    assert!(text.contains("a restart is pending for archive_mode"), "{text}");
    let text = site.fails(2, &["check"]);
    assert!(text.contains("a restart is pending for archive_mode: restart the server"), "{text}");
    assert!(!text.contains("walmgr setup"), "{text}");
    let text = site.fails(2, &["backup"]);
    assert!(text.contains("a restart is pending: restart the server"), "{text}");
    site.cluster.restart();
    site.ok(&["check"]);
    site.ok(&["backup"]);
}

#[test]
fn a_server_that_is_not_there_is_named_with_the_cause() {
    let mut site = primary();
    site.cluster.stop(Stop::Fast);
    let text = site.fails(7, &["check"]);
    let place = format!("host {} port {}", site.cluster.dir().display(), site.cluster.port());
    assert!(text.contains(&place), "{text}");
    assert!(text.contains("No such file") || text.contains("refused"), "{text}");
    fs::remove_file(site.config()).unwrap();
    let text = site.fails(2, &["info"]);
    assert!(text.contains("walmgr init"), "{text}");
}

#[test]
fn check_tells_what_is_too_old_from_what_did_not_arrive() {
    let site = primary_in(Site::plain);
    site.ok(&["backup"]);
    site.ok(&["check", "--max-backup-age", "26h"]);
    // Three days pass.
    let directory = site.repository().join("main/backup");
    let path = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "json"))
        .unwrap();
    let mut info: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let now = "select to_char(now() at time zone 'utc' - interval '3 days 1 hour', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    info["stop_time"] = site.cluster.psql("postgres", now).into();
    write_owned(&path, info.to_string().as_bytes());
    let text = site.fails(9, &["check", "--max-backup-age", "26h"]);
    assert!(text.contains("is 3 d 1 h old"), "{text}");
    assert!(text.contains("the limit is 1 d 2 h"), "{text}");

    site.cluster.psql("postgres", "alter system set archive_command = 'false # archive-push'");
    site.cluster.reload();
    let shown = || site.cluster.psql("postgres", "show archive_command");
    assert!(
        pgq_tests::wait_until(std::time::Duration::from_secs(180), || shown().starts_with("false"))
    );
    let text = site.fails(10, &["check", "--timeout", "1"]);
    assert!(text.contains("did not arrive"), "{text}");
}

#[test]
fn no_output_has_a_password() {
    let site = Site::new(Cluster::empty(Tree::Ours));
    for argument in ["postgres://me:s3/cr et@host/db", "host=a pass%77ord=s3cr", "password='s3 cr'"]
    {
        let text = site.fails(2, &["info", argument]);
        assert!(text.contains("***") && !text.contains("cr"), "{text}");
    }
    let command = "PGPASSWORD='s3 cr' psql -c checkpoint";
    site.configure(&format!("commands.periodic = \"{command}\""));
    let text = said(&site, &["--dry-run", "periodic"]);
    assert!(text.contains("PGPASSWORD=*** psql") && !text.contains("cr'"), "{text}");
    // Of a file that cannot be read the place of the mistake is said, and none of its text.
    site.configure("standby.primary_conninfo = \"password='s3 cr'");
    let text = site.fails(2, &["info"]);
    assert!(text.contains("column 45: ") && !text.contains("s3") && !text.contains("cr"), "{text}");
}

#[test]
fn lists_have_sizes_and_zones_for_people_and_a_restore_says_what_is_next() {
    let site = primary();
    site.ok(&["backup"]);
    let list = site.ok(&["listbackups"]);
    let line = list.lines().nth(1).unwrap();
    assert!(line.contains(" MiB"), "{list}");
    let zoned = |text: &str| {
        text.split_whitespace().any(|word| {
            word.len() == 9
                && word.ends_with('Z')
                && word.bytes().filter(|byte| *byte == b':').count() == 2
        })
    };
    assert!(zoned(line), "{list}");
    let info = site.ok(&["info"]);
    assert!(info.contains("1 backup; newest"), "{info}");
    let copy = Site::beside(Cluster::empty(Tree::Ours), site.repository());
    let text = said(&copy, &["restore"]);
    assert!(text.contains("now start the server"), "{text}");
}
