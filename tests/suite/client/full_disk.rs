//! The disk is full where the client writes: it says so once, loses nothing, and goes on when there
//! is space again.
//!
//! The table's file is replaced by a link to /dev/full: the server's own write fails with "No space
//! left on device" (53100), as on a full file system, and no mount or right is needed for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use pgq_client::postgres::types::Type;
use pgq_client::{Consumer, OnFailure};
use pgq_tests::{PATIENCE, Scratch, Tree, wait_until};
use postgres::Client;

use pgq_tests::programs::{
    create_queue, database_on, dsn, insert_and_tick, pgq, run, stderr, target, tick, value,
};

const EVENT: &str = "select pgq.insert_event('q', 'probe', 'probe')";

/// An empty table on a disk without space. There is space again when it is freed.
struct FullDisk {
    table: String,
    file: PathBuf,
}

impl FullDisk {
    /// `probe` inserts into the table, which must fail.
    fn under(scratch: &Scratch, client: &mut Client, table: &str, probe: &str) -> Self {
        let path = value(client, &format!("select pg_relation_filepath('{table}')"));
        let file = scratch.cluster().data_dir().join(path);
        // The next checkpoint would flush the new file, which /dev/full does not know how to.
        client.batch_execute("checkpoint").unwrap();
        fs::remove_file(&file).unwrap();
        symlink("/dev/full", &file).unwrap();
        let disk = Self { table: table.to_owned(), file };
        let error = client.batch_execute(probe).unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("53100"), "{error}");
        disk
    }

    /// Space again: the table gets a file of its own, as the sessions that use it learn.
    fn free(self, client: &mut Client) {
        fs::remove_file(&self.file).unwrap();
        fs::write(&self.file, "").unwrap();
        // The server runs as another user than a test that is root.
        fs::set_permissions(&self.file, std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .unwrap();
        client.batch_execute(&format!("truncate {}", self.table)).unwrap();
    }
}

/// `pgq` in the background, its standard error in a file.
struct Running {
    child: Child,
    words: tempfile::NamedTempFile,
}

impl Running {
    fn start(source: &Scratch, arguments: &[&str]) -> Self {
        let words = tempfile::NamedTempFile::new().unwrap();
        let child = pgq(arguments)
            .env("PGQ_DSN", dsn(source))
            .stdout(Stdio::null())
            .stderr(words.reopen().unwrap())
            .spawn()
            .unwrap();
        Self { child, words }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.words.path()).unwrap()
    }

    /// Wait until it has failed some times; it must have said so once.
    fn has_met_the_full_disk(&self, client: &mut Client, table: &str) {
        let says = || self.said().contains("No space left on device");
        assert!(wait_until(PATIENCE, says), "{}", self.said());
        // Attempts are transactions that roll back, so wait for some more of them.
        let sql = "select xact_rollback from pg_stat_database where datname = current_database()";
        let count = |client: &mut Client| value(client, sql).parse::<i64>().unwrap();
        let before = count(client);
        assert!(wait_until(PATIENCE, || count(client) >= before + 2), "it does not try again");
        assert_eq!(value(client, &format!("select count(*) from {table}")), "0");
        assert_eq!(self.said().lines().count(), 1, "{}", self.said());
        assert!(self.said().contains("53100"), "{}", self.said());
    }

    fn ends_well(mut self) {
        assert!(wait_until(PATIENCE, || self.child.try_wait().unwrap().is_some()));
        assert!(self.child.wait().unwrap().success(), "{}", self.said());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn load_waits_for_space_in_the_target() {
    let source = database_on(Tree::Ours);
    let mut here = source.connect();
    create_queue(&mut here, "q", "loader");
    let table = "create table t (id int, name text)";
    let (there, mut far) = target(table);
    here.batch_execute(table).unwrap();
    here.batch_execute(
        "create trigger capture after insert on t for each row execute function pgq.logutriga('q');
         insert into t select n, 'name ' || n from generate_series(1, 100) n",
    )
    .unwrap();
    tick(&mut here, "q");
    let disk = FullDisk::under(&there, &mut far, "t", "insert into t values (0, 'probe')");
    let running = Running::start(&source, &["load", "q", "loader", "--once", "--to", &dsn(&there)]);
    running.has_met_the_full_disk(&mut far, "t");
    // Nothing is acknowledged meanwhile.
    let open = "select current_batch is not null from pgq.get_consumer_info('q', 'loader')";
    assert_eq!(value(&mut here, open), "t");
    disk.free(&mut far);
    running.ends_well();
    let sum = "select count(*) || ' ' || md5(string_agg(t::text, ' ' order by id)) from t";
    assert_eq!(value(&mut far, sum), value(&mut here, sum));
}

#[test]
fn move_waits_for_space_in_the_targets_queue() {
    let source = database_on(Tree::Ours);
    let mut here = source.connect();
    create_queue(&mut here, "q", "mover");
    insert_and_tick(&mut here, "q", 0, 100);
    let (there, mut far) = target("");
    create_queue(&mut far, "q", "reader");
    let disk = FullDisk::under(&there, &mut far, "pgq.event_1_0", EVENT);
    let running = Running::start(&source, &["move", "q", "mover", "--once", "--to", &dsn(&there)]);
    running.has_met_the_full_disk(&mut far, "pgq.event_1_0");
    disk.free(&mut far);
    running.ends_well();
    let copied = "select count(*) || ' ' || count(distinct ev_data) from pgq.event_1_0";
    assert_eq!(value(&mut far, copied), "100 100");
}

#[test]
fn consumer_repeats_its_batch_until_there_is_space() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    client.batch_execute("create table seen (n int)").unwrap();
    create_queue(&mut client, "q", "c");
    insert_and_tick(&mut client, "q", 0, 20);
    let disk = FullDisk::under(&scratch, &mut client, "seen", "insert into seen values (0)");
    let mut disk = Some(disk);
    let mut attempts = 0;
    let mut consumer = Consumer::builder("q", "c")
        .stop_when_empty(true)
        .on_failure(OnFailure::RepeatBatch)
        .connect(&dsn(&scratch))
        .unwrap();
    let stats = consumer
        .run(|work, event| {
            if event.data.as_deref() == Some("0") {
                attempts += 1;
                if attempts == 3 {
                    disk.take().unwrap().free(&mut client);
                }
            }
            work.transaction()?
                .execute_typed("insert into seen values ($1::int)", &[(&event.data, Type::TEXT)])?;
            Ok(())
        })
        .unwrap();
    assert_eq!((attempts, stats.events), (3, 20));
    assert_eq!(
        value(&mut client, "select count(*) || ' ' || count(distinct n) from seen"),
        "20 20"
    );
}

#[test]
fn send_to_a_full_disk_fails_with_one_line_and_inserts_nothing() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    let disk = FullDisk::under(&scratch, &mut client, "pgq.event_1_0", EVENT);
    let output = run(&scratch, &["send", "q", "payload"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let words = stderr(&output);
    assert_eq!(words.lines().count(), 1, "{words}");
    assert!(words.contains("No space left on device (SQLSTATE 53100)"), "{words}");
    disk.free(&mut client);
    assert!(run(&scratch, &["send", "q", "payload"]).status.success());
    assert_eq!(value(&mut client, "select count(*) from pgq.event_1_0"), "1");
}
