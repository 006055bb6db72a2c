//! The repository in a store of Google's protocol that others wrote: fake-gcs-server, brought by
//! `tests/env/stores.sh`. It has conditions on the creation of objects, and none on composing them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pgq_tests::object_server::{Dialect, ObjectServer};
use pgq_tests::site::{Site, archiving, write_owned};
use pgq_tests::{Cluster, PATIENCE, Port, Stop, Tree, wait_until};

use crate::walmgr::backup::started;

/// The store, in memory, with a bucket; gone when it is dropped.
struct Store {
    child: Child,
    port: Port,
}

impl Store {
    fn start() -> Self {
        let work = std::env::var_os("PGQ_WORK").map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
            PathBuf::from,
        );
        let program = work.join("stores/fake-gcs-server");
        assert!(program.exists(), "run tests/env/stores.sh; make test does");
        let port = Port::free();
        let number = port.number();
        let mut command = Command::new(program);
        command.args(["-scheme", "http", "-host", "127.0.0.1", "-backend", "memory", "-port"]);
        let child = command.arg(number.to_string()).stderr(Stdio::null()).spawn().unwrap();
        let store = Self { child, port };
        let body = r#"{"name":"bucket"}"#;
        let made = || {
            let Ok(mut stream) = TcpStream::connect(("127.0.0.1", number)) else { return false };
            let length = body.len();
            let head = format!(
                "POST /storage/v1/b?project=p HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                 content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            let mut answer = String::new();
            stream.write_all(head.as_bytes()).is_ok()
                && stream.read_to_string(&mut answer).is_ok()
                && answer.starts_with("HTTP/1.1 200")
        };
        assert!(wait_until(PATIENCE, made), "fake-gcs-server did not start");
        store
    }

    /// A site in it. Its tokens are the double's, which it does not look at.
    fn site(&self, double: &ObjectServer, cluster: Cluster, parts: bool) -> Site {
        let place = double.place(&cluster.dir().join("secret"));
        let place =
            place.replace(&format!(":{}", double.port()), &format!(":{}", self.port.number()));
        let place = format!("{place}\nrepository.gcs.multipart = {parts}");
        Site::at(cluster, Path::new("/no/directory"), place)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_store_by_others_keeps_an_archive_and_is_refused_what_it_cannot() {
    let (store, double) = (Store::start(), ObjectServer::start(Dialect::Gcs));
    let primary = store.site(&double, archiving().start(), true);
    // It composes over what is there.
    let said = primary.fails(2, &["setup"]);
    assert!(said.contains("overwrites") && said.contains("gcs.multipart = false"), "{said}");
    let mut primary = store.site(&double, primary.cluster, false);
    primary.ok(&["setup"]);
    primary.ok(&["setup"]);
    let sql = |text: &str| primary.cluster.psql("postgres", text);
    sql("create table t as select g, md5(g::text) from generate_series(1, 20000) g");
    primary.ok(&["backup"]);
    sql("insert into t select g, 'x' from generate_series(1, 10) g");
    primary.ok(&["backup", "--incremental"]);
    sql("insert into t select g, 'y' from generate_series(1, 10) g");
    let segment = sql("select pg_walfile_name(pg_switch_wal())");
    let archived = || sql("select last_archived_wal from pg_stat_archiver") >= segment;
    assert!(wait_until(PATIENCE, archived), "{}", primary.cluster.log());
    primary.ok(&["verify"]);

    // Write-once, and absent with authority.
    let path = primary.cluster.data_dir().join("pg_wal").join(&segment);
    primary.ok(&["archive-push", path.to_str().unwrap()]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[600_000] ^= 1;
    let other = primary.cluster.dir().join("other");
    write_owned(&other, &bytes);
    primary.fails(5, &["archive-push", other.to_str().unwrap(), &segment]);
    primary.absent(&["archive-get", "0000000100000000000000F0", "../fetched"]);

    primary.ok(&["expire", "--keep", "1"]);
    primary.ok(&["verify"]);
    primary.cluster.stop(Stop::Fast);
    let mut copy = store.site(&double, Cluster::empty(Tree::Ours), false);
    copy.ok(&["restore", "--no-archive"]);
    started(&mut copy);
    assert_eq!(copy.cluster.psql("postgres", "select count(*) from t"), "20020");
}
