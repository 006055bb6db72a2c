//! Servers that recover through archive-get: they replay everything that was archived, or stop.
//! They never open early.

use std::fs;

use pgq_tests::{Cluster, PATIENCE, Stop, wait_until};

use pgq_tests::site::{Site, archiving, clone_of, write_owned};

/// A primary with an archive, and a copy of it from before anything was archived.
struct Pair {
    primary: Site,
    copy: Cluster,
    rows: i64,
}

/// Rows 1 to `rows` are committed, one segment or more each, and archived; then the primary dies.
fn pair(rows: i64) -> Pair {
    let mut cluster = archiving().start();
    cluster.psql("postgres", "create table t (n int primary key)");
    cluster.stop(Stop::Fast);
    let copy = clone_of(&cluster);
    cluster.start();
    // Another repository would answer while the one is away, or damaged.
    let primary = Site::single(cluster);
    primary.ok(&["setup"]);
    for n in 1..=rows {
        primary.cluster.psql("postgres", &format!("insert into t values ({n})"));
        primary.archive_all();
    }
    let mut pair = Pair { primary, copy, rows };
    pair.primary.cluster.stop(Stop::Kill);
    pair
}

impl Pair {
    /// Prepare the copy to recover with a shell script in front of the restore command.
    fn recover(&mut self, signal: &str, before: &str) {
        write_owned(&self.copy.data_dir().join(signal), b"");
        self.copy.write_settings(&[
            ("restore_command".into(), format!("{before} {}", self.primary.restore_command())),
            ("hot_standby".into(), "on".into()),
        ]);
    }

    fn finished(&mut self) -> bool {
        let copy = &mut self.copy;
        wait_until(PATIENCE, || {
            !copy.is_running()
                || copy.try_connect("postgres", "postgres").is_ok_and(|mut client| {
                    client
                        .query_one("select not pg_is_in_recovery()", &[])
                        .is_ok_and(|row| row.get(0))
                })
        })
    }

    /// The copy becomes a primary that has every row.
    fn assert_all_there(&mut self) {
        assert!(self.finished(), "{}", self.copy.log());
        assert!(self.copy.is_running(), "{}", self.copy.log());
        let count = self.copy.psql("postgres", "select count(*) from t");
        assert_eq!(count, self.rows.to_string(), "{}", self.copy.log());
    }

    /// The copy stops in recovery, without having opened for writing.
    fn assert_stops_unpromoted(&mut self) {
        let copy = &mut self.copy;
        let stopped = wait_until(PATIENCE, || !copy.is_running());
        assert!(stopped, "the server did not stop:\n{}", self.copy.log());
        assert!(self.copy.data_dir().join("recovery.signal").exists(), "recovery had ended");
        assert!(!self.copy.log().contains("selected new timeline"), "{}", self.copy.log());
        self.copy.stop_collected();
    }
}

#[test]
fn every_archived_transaction_is_replayed() {
    let mut pair = pair(4);
    pair.recover("recovery.signal", "");
    pair.copy.start_without_waiting();
    pair.assert_all_there();
}

#[test]
fn a_repository_that_goes_away_in_mid_recovery_does_not_promote() {
    let mut pair = pair(5);
    let segments = pair.primary.segments("00000001");
    let at = &segments[segments.len() - 2];
    let (here, away) = (pair.primary.repository().to_owned(), pair.copy.dir().join("away"));
    // The archive vanishes just before the last but one segment is asked for.
    pair.recover(
        "recovery.signal",
        &format!("[ %f != {at} ] || mv {} {}; ", here.display(), away.display()),
    );
    pair.copy.start_without_waiting();
    pair.assert_stops_unpromoted();

    fs::rename(&away, &here).unwrap();
    pair.copy.write_settings(&[("restore_command".into(), pair.primary.restore_command())]);
    pair.copy.start_without_waiting();
    pair.assert_all_there();
}

#[test]
fn a_hole_or_a_damaged_object_does_not_end_recovery() {
    let mut pair = pair(5);
    let segments = pair.primary.segments("00000001");
    let object = pair.primary.object(&segments[segments.len() - 3]);
    let whole = fs::read(&object).unwrap();
    pair.recover("recovery.signal", "");

    write_owned(&object, &whole[..whole.len() / 2]);
    pair.copy.start_without_waiting();
    pair.assert_stops_unpromoted();

    fs::remove_file(&object).unwrap();
    pair.copy.start_without_waiting();
    pair.assert_stops_unpromoted();

    write_owned(&object, &whole);
    pair.copy.start_without_waiting();
    pair.assert_all_there();
}

#[test]
fn a_standby_waits_for_the_archive_and_promotes_when_told() {
    let mut pair = pair(4);
    let (here, away) = (pair.primary.repository().to_owned(), pair.copy.dir().join("away"));
    pair.recover("standby.signal", "");
    pair.copy.write_settings(&[("wal_retrieve_retry_interval".into(), "50ms".into())]);
    fs::rename(&here, &away).unwrap();
    pair.copy.start_without_waiting();
    let complained =
        wait_until(PATIENCE, || pair.copy.log().matches("ERROR: repository").count() > 2);
    assert!(complained && pair.copy.is_running(), "{}", pair.copy.log());

    fs::rename(&away, &here).unwrap();
    let all = pair.rows.to_string();
    let caught_up = wait_until(PATIENCE, || {
        pair.copy.try_connect("postgres", "postgres").is_ok_and(|mut client| {
            client
                .query_one("select count(*)::text from t", &[])
                .is_ok_and(|row| row.get::<_, String>(0) == all)
        })
    });
    assert!(caught_up, "{}", pair.copy.log());
    assert_eq!(pair.copy.psql("postgres", "select pg_is_in_recovery()"), "t");

    // The promoted server archives its own timeline into the same stanza.
    pair.copy.promote();
    let Pair { primary, copy, .. } = pair;
    let copy = Site::beside(copy, primary.repository());
    copy.ok(&["setup"]);
    assert!(!copy.segments("00000002").is_empty());
    let history = copy.repository().join("main/wal/00000002.history");
    assert!(wait_until(PATIENCE, || history.exists()), "{}", copy.cluster.log());
}
