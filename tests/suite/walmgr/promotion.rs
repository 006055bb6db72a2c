//! Who asks archive-get for what, and what is answered. A promotion never depends on the
//! repository.
//!
//! The rows are those of the table in docs/walmgr.md.

use std::fs;
use std::path::PathBuf;

use pgq_tests::{Cluster, PATIENCE, Stop, Tree, wait_until};

use crate::walmgr::daemon::Daemon;
use pgq_tests::site::{Site, archiving, said, write_owned};

/// A primary on timeline 2 whose WAL is archived, and a standby of it that streams.
struct Pair {
    primary: Site,
    standby: Site,
    away: PathBuf,
}

fn primary(site: fn(Cluster) -> Site) -> Site {
    let site = site(archiving().start());
    site.ok(&["setup"]);
    site.cluster.psql("postgres", "create table t (n int)");
    site.ok(&["backup"]);
    site
}

/// A standby from the repository that has caught up with a primary.
fn standby_of(primary: &Site) -> Site {
    let mut standby = Site::beside(Cluster::empty(Tree::Ours), primary.repository());
    let conninfo = primary.cluster.conninfo("postgres");
    standby.configure(&format!("standby.primary_conninfo = \"{conninfo}\""));
    standby.ok(&["restore", "--standby"]);
    standby.cluster.write_settings(&[("wal_retrieve_retry_interval".into(), "100ms".into())]);
    standby.cluster.start();
    let streams = "select count(*)::text from pg_stat_replication where state = 'streaming'";
    assert!(wait_until(PATIENCE, || primary.cluster.psql("postgres", streams) == "1"));
    standby
}

fn pair(site: fn(Cluster) -> Site) -> Pair {
    let primary = primary(site);
    let standby = standby_of(&primary);
    let away = primary.cluster.dir().join("away");
    Pair { primary, standby, away }
}

fn history(site: &Site, timeline: u32) -> String {
    let path = site.cluster.data_dir().join(format!("pg_wal/{timeline:08X}.history"));
    fs::read_to_string(path).unwrap_or_default()
}

/// Promote without asking whether it went well, and wait until the server is a primary or gone.
fn promote(site: &mut Site) {
    let promoted = site.cluster.connect("postgres").execute("select pg_promote(false)", &[]);
    promoted.expect("ask for a promotion");
    let cluster = &mut site.cluster;
    let done = wait_until(PATIENCE, || {
        !cluster.is_running()
            || cluster.try_connect("postgres", "postgres").is_ok_and(|mut client| {
                client.query_one("select not pg_is_in_recovery()", &[]).is_ok_and(|row| row.get(0))
            })
    });
    assert!(done && cluster.is_running(), "{}", cluster.log());
}

fn timeline(site: &Site) -> String {
    site.cluster.psql("postgres", "select left(pg_walfile_name(pg_current_wal_lsn()), 8)")
}

#[test]
fn a_standby_is_promoted_while_the_repository_is_away_and_again_from_its_new_timeline() {
    let Pair { mut primary, mut standby, away } = pair(Site::new);
    primary.cluster.psql("postgres", "insert into t values (1)");
    let one = "select count(*) from t";
    assert!(wait_until(PATIENCE, || standby.cluster.psql("postgres", one) == "1"));
    primary.cluster.stop(Stop::Immediate);
    fs::rename(primary.repository(), &away).unwrap();
    // The real patience of archive-get: nothing here may wait for it.
    let text = fs::read_to_string(standby.config()).unwrap();
    let text = text.replace("archive.get_timeout = '300ms'", "archive.get_timeout = '600s'");
    write_owned(&standby.config(), text.as_bytes());
    promote(&mut standby);
    assert_eq!(timeline(&standby), "00000002");
    assert!(
        !standby.cluster.log().contains("FATAL:  could not restore"),
        "{}",
        standby.cluster.log()
    );
    // Nor does it come up on the old timeline afterwards.
    standby.cluster.stop(Stop::Immediate);
    standby.cluster.start();
    assert_eq!(timeline(&standby), "00000002");
    standby.cluster.psql("postgres", "insert into t values (2)");

    // A standby of that one comes from a timeline that has a history.
    fs::rename(&away, primary.repository()).unwrap();
    standby.ok(&["check"]);
    let mut second = standby_of(&standby);
    assert!(history(&second, 2).contains('1'));
    standby.cluster.stop(Stop::Immediate);
    fs::rename(primary.repository(), &away).unwrap();
    let text = fs::read_to_string(second.config()).unwrap();
    let text = text.replace("archive.get_timeout = '300ms'", "archive.get_timeout = '600s'");
    write_owned(&second.config(), text.as_bytes());
    promote(&mut second);
    assert_eq!(timeline(&second), "00000003");
    let lines: Vec<String> = history(&second, 3)
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    assert_eq!(lines, ["1", "2"], "the new timeline knows all it comes from");
    assert_eq!(second.cluster.psql("postgres", one), "2");
    fs::rename(&away, primary.repository()).unwrap();
    second.archive_all();
    second.ok(&["verify"]);
}

#[test]
fn a_targeted_recovery_is_promoted_only_with_the_repository() {
    let mut primary = primary(Site::new);
    primary.cluster.psql("postgres", "insert into t values (1)");
    primary.archive_all();
    primary.cluster.stop(Stop::Fast);
    let mut copy = Site::beside(Cluster::empty(Tree::Ours), primary.repository());
    copy.ok(&["restore", "--no-archive"]);
    // Away as soon as the first question about a later timeline is asked.
    let away = primary.cluster.dir().join("away");
    let go = format!(
        "[ %f != 00000002.history -o ! -e {1} ] || mv {0} {2}; : > {1}; ",
        primary.repository().display(),
        copy.cluster.dir().join("asked").display(),
        away.display()
    );
    let conf = copy.cluster.data_dir().join("postgresql.auto.conf");
    let restored = fs::read_to_string(&conf).unwrap();
    let with_command = format!("{restored}restore_command = '{go}{}'\n", copy.restore_command());
    write_owned(&conf, with_command.as_bytes());
    copy.cluster.start_without_waiting();
    assert!(wait_until(PATIENCE, || !copy.cluster.is_running()), "{}", copy.cluster.log());
    assert!(copy.cluster.data_dir().join("recovery.signal").exists(), "{}", copy.cluster.log());
    copy.cluster.stop_collected();
    fs::rename(&away, primary.repository()).unwrap();
    write_owned(&conf, restored.as_bytes());
    copy.cluster.start_without_waiting();
    let promoted = wait_until(PATIENCE, || {
        copy.cluster.try_connect("postgres", "postgres").is_ok_and(|mut client| {
            client.query_one("select not pg_is_in_recovery()", &[]).is_ok_and(|row| row.get(0))
        })
    });
    assert!(promoted, "{}", copy.cluster.log());
    assert_eq!(copy.cluster.psql("postgres", "select count(*) from t"), "1");
    assert_eq!(timeline(&copy), "00000002");
}

/// What archive-get answers in a data directory.
fn answer(site: &Site, name: &str) -> i32 {
    let place = "pg_wal/RECOVERYTEST";
    let output = site.command(&["archive-get", name, place]).output().unwrap();
    let code = output.status.code().unwrap_or(-1);
    let there = site.cluster.data_dir().join(place);
    assert_eq!(code == 0, there.exists(), "{}", said(&[name], &output));
    let _ = fs::remove_file(there);
    code
}

/// Every row of the table, with and without a daemon.
#[test]
fn everybody_gets_the_answer_of_the_table() {
    // Which is that of one repository.
    let Pair { mut primary, mut standby, away } = pair(Site::single);
    primary.archive_all();
    primary.cluster.stop(Stop::Immediate);
    promote(&mut standby);
    standby.ok(&["setup"]);
    standby.archive_all();
    // The one that a promotion asks for would write the control file at a time of its own.
    standby.cluster.psql("postgres", "checkpoint");
    let stored = standby.repository().join("main/wal/00000002.history");
    assert!(wait_until(PATIENCE, || stored.exists()));
    let there = standby.segments("00000002")[0].clone();
    let (absent, free) = ("0000000200000000000000F0", "00000003.history");
    let (own, first) = ("00000002.history", "00000001.history");
    let data = standby.cluster.data_dir();
    let own_copy = data.join("pg_wal").join(own);
    let kept = fs::read(&own_copy).unwrap();
    let control = data.join("global/pg_control");
    let signal = |name: &str| {
        for other in ["standby.signal", "recovery.signal"] {
            let _ = fs::remove_file(data.join(other));
        }
        // What the control file says of the server: that it recovers from an archive, or that it is
        // in production.
        let mut bytes = fs::read(&control).unwrap();
        bytes[16] = if name == "promoting" { 5 } else { 6 };
        write_owned(&control, &bytes);
        if name.ends_with(".signal") {
            write_owned(&data.join(name), b"");
        }
    };
    let repository = standby.repository().to_owned();
    let reach = |is_reached: bool| {
        match is_reached {
            true => fs::rename(&away, &repository),
            false => fs::rename(&repository, &away),
        }
        .unwrap();
    };
    // Signal file or state, is the server's copy of its history there; with the repository, without
    // it: own history, first timeline's, next one's, a segment that is there, one that is not.
    type Row = (&'static str, bool, [i32; 5], [i32; 5]);
    let rows: [Row; 5] = [
        ("recovery.signal", true, [0, 1, 1, 0, 1], [200, 1, 200, 200, 200]),
        ("standby.signal", true, [0, 1, 1, 0, 1], [1, 1, 1, 1, 1]),
        // It is being promoted; and it is a primary long since, so somebody else asks.
        ("promoting", true, [0, 1, 1, 0, 1], [0, 1, 4, 4, 4]),
        ("promoting", false, [0, 1, 1, 0, 1], [4, 1, 4, 4, 4]),
        ("", true, [0, 1, 1, 0, 1], [200, 1, 200, 200, 200]),
    ];
    let ask = |with_daemon: bool| {
        for (name, has_copy, reached, unreached) in rows {
            signal(name);
            match has_copy {
                true => write_owned(&own_copy, &kept),
                false => fs::remove_file(&own_copy).unwrap(),
            }
            for (is_reached, expected) in [(true, reached), (false, unreached)] {
                if !is_reached {
                    reach(false);
                }
                for (asked, expected) in [own, first, free, &there, absent].iter().zip(expected) {
                    let code = answer(&standby, asked);
                    let row = format!("\"{name}\", {has_copy}, {is_reached}, {with_daemon}");
                    assert_eq!(code, expected, "{row}: {asked}");
                }
                if !is_reached {
                    reach(true);
                }
            }
        }
        signal("");
        write_owned(&own_copy, &kept);
    };
    ask(false);
    let daemon = Daemon::start(&standby, "");
    ask(true);
    drop(daemon);

    // Nobody's data directory: whoever asks may be in recovery.
    standby.cluster.stop(Stop::Fast);
    reach(false);
    assert_eq!(answer(&standby, own), 200);
    assert_eq!(answer(&standby, first), 1);
    assert_eq!(answer(&standby, absent), 200);
    // Not even a configuration is needed for what cannot be there.
    write_owned(&standby.config(), b"nonsense = [");
    assert_eq!(answer(&standby, first), 1);
    assert_eq!(answer(&standby, own), 200);
}
