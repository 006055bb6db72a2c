//! Encrypted repositories: nothing in them can be read without a key, everything with one; a wrong
//! key is said to be that; and keys change while WAL comes in.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use pgq_tests::object_server::{Dialect, ObjectServer};
use pgq_tests::site::{Site, alone, archiving, said, snapshot, write_owned};
use pgq_tests::{Cluster, Tree};

use crate::walmgr::backup::started;

const WORD: &str = "neither-this-word";
const TABLE: &str = "nor_the_name_of_this_table";

/// What of a backup or of WAL would be readable: content, a name, what is said of a backup and of
/// the cluster.
const WORDS: [&str; 4] = [WORD, TABLE, "manifest_hash", "system_identifier"];

/// Lines of configuration.
fn place(repository: &Path, opened_by: &str) -> String {
    format!(
        "repository.path = '{}'\nrepository.compression = 'none'\n\
         repository.encryption.{opened_by}",
        repository.display()
    )
}

fn file(path: &Path) -> String {
    format!("key_file = '{}'", path.display())
}

/// A site beside a repository, that opens it by this.
fn beside(repository: &Path, opened_by: &str) -> Site {
    Site::at(Cluster::empty(Tree::Ours), repository, place(repository, opened_by))
}

/// A primary whose repository is encrypted with its key file.
fn primary() -> (Site, PathBuf) {
    let cluster = archiving().start();
    let (repository, key) = (cluster.dir().join("repository"), cluster.dir().join("key"));
    let place = place(&repository, &file(&key));
    let site = Site::at(cluster, &repository, place);
    site.ok(&["key", "generate", key.to_str().unwrap()]);
    site.ok(&["setup"]);
    (site, key)
}

fn ids(site: &Site) -> Vec<String> {
    let list = site.ok(&["key", "list"]);
    list.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

#[test]
fn all_comes_back_from_a_repository_in_which_nothing_can_be_read() {
    let cluster = archiving().start();
    let (sealed, plain) = (cluster.dir().join("repository"), cluster.dir().join("plain"));
    let key = cluster.dir().join("key");
    let tables = format!(
        "[[repository]]\nname = 'sealed'\npath = '{}'\ncompression = 'none'\n\
         encryption = {{ {} }}\n\
         [[repository]]\nname = 'plain'\npath = '{}'\ncompression = 'none'\n",
        sealed.display(),
        file(&key),
        plain.display()
    );
    let primary = Site::at(cluster, &sealed, "# encryption is in tables".to_owned());
    primary.configure(&tables);
    primary.ok(&["key", "generate", key.to_str().unwrap()]);
    primary.ok(&["setup"]);
    let sql = |text: &str| primary.cluster.psql("postgres", text);
    sql(&format!("create table {TABLE} as select '{WORD}'::text as word, 1 as n"));
    primary.ok(&["backup"]);
    sql(&format!("insert into {TABLE} values ('{WORD}', 2)"));
    primary.ok(&["backup", "--incremental"]);
    primary.ok(&["--repo", "plain", "backup"]);
    sql(&format!("insert into {TABLE} values ('{WORD}', 3)"));
    sql("select pg_create_restore_point('here')");
    sql(&format!("insert into {TABLE} values ('{WORD}', 4)"));
    primary.archive_all();
    primary.ok(&["verify"]);
    primary.ok(&["check"]);
    // The check of the other repository does not wait for this one.
    primary.archive_all();
    let segment = primary.segments("00000001").pop().unwrap();
    let own = primary.cluster.data_dir().join("pg_wal").join(&segment);
    let before = snapshot(primary.repository());
    primary.ok(&["archive-push", own.to_str().unwrap()]);
    assert!(before == snapshot(primary.repository()), "the same WAL again changed something");

    let mut sealed = 0;
    for (path, bytes) in snapshot(primary.repository()) {
        let shown = path.strip_prefix(primary.repository()).unwrap().display().to_string();
        for word in WORDS {
            assert!(!contains(&bytes, word), "{word} is readable in {shown}");
            assert!(!shown.contains(word), "{shown}");
        }
        let is_plain = shown.starts_with("walmgr.") || shown.contains("locks/");
        if path.is_file() && !is_plain {
            assert!(bytes.starts_with(b"WALMGRE1"), "{shown} is not encrypted");
            sealed += 1;
        }
    }
    assert!(sealed > 5, "{sealed} objects");
    // The same search finds all of it where nothing is encrypted.
    let readable = snapshot(&plain);
    for word in WORDS {
        let found = readable.iter().filter(|(_, bytes)| contains(bytes, word)).count();
        assert!(found > 0, "{word} is nowhere to be found, encrypted or not");
    }

    for (target, expected) in [(None, "4"), (Some("here"), "3")] {
        let mut copy = beside(primary.repository(), &file(&key));
        match target {
            None => copy.ok(&["restore"]),
            Some(name) => copy.ok(&["restore", "--to-name", name]),
        };
        started(&mut copy);
        let count = format!("select count(*) from {TABLE} where word = '{WORD}'");
        assert_eq!(copy.cluster.psql("postgres", &count), expected);
    }
}

#[test]
fn a_missing_or_another_key_is_said_and_nothing_is_written() {
    let (primary, key) = primary();
    primary.ok(&["backup"]);
    // Also the backup's history file, for which it does not wait.
    primary.archive_all();
    let own = ids(&primary).pop().unwrap();
    let place = primary.repository().display().to_string();
    let segment = primary.segments("00000001").pop().unwrap();
    let wal = primary.cluster.data_dir().join("pg_wal").join(&segment);
    let before = snapshot(primary.repository());

    let other = primary.cluster.dir().join("other");
    primary.ok(&["key", "generate", other.to_str().unwrap()]);
    let stranger = beside(primary.repository(), &file(&other));
    for args in [
        vec!["archive-push", wal.to_str().unwrap()],
        vec!["restore"],
        vec!["verify"],
        vec!["info"],
        vec!["expire", "--keep", "1"],
        vec!["key", "rotate"],
    ] {
        let why = stranger.fails(11, &args);
        for word in [&own, &place, "nothing is damaged", "walmgr key add"] {
            assert!(why.contains(word), "{word} is missing in: {why}");
        }
    }
    // A restore_command must not say that there is no such file.
    let why = stranger.command(&alone(&["archive-get", &segment, "x"])).output().unwrap();
    assert!(why.status.code().unwrap() > 125, "{}", said(&["archive-get"], &why));

    // Who knows nothing of encryption, also at making a repository.
    let plain = format!("repository.path = '{place}'\n# no encryption");
    let ignorant = Site::at(archiving().start(), primary.repository(), plain);
    for args in [vec!["setup"], vec!["info"], vec!["archive-push", "x/000000010000000000000001"]] {
        let why = ignorant.fails(11, &args);
        assert!(why.contains("is encrypted") && why.contains(&place), "{why}");
    }
    assert!(before == snapshot(primary.repository()), "somebody without the key wrote");

    // No key is left at all.
    let keys = primary.repository().join("walmgr.keys");
    let copy = fs::read(keys.join(format!("{own}.json"))).unwrap();
    fs::remove_file(keys.join(format!("{own}.json"))).unwrap();
    assert!(primary.fails(11, &["info"]).contains("no key of it is left"));
    // A damaged one is no wrong one.
    let mut damaged = copy.clone();
    let at = damaged.windows(9).position(|window| window == b"\"wrapped\"").unwrap() + 14;
    damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
    write_owned(&keys.join(format!("{own}.json")), &damaged);
    assert!(primary.fails(6, &["info"]).contains("is damaged"));
    write_owned(&keys.join(format!("{own}.json")), &copy);
    primary.ok(&["verify"]);

    // A file that others can read, one that is gone.
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    assert!(primary.fails(11, &["info"]).contains("0640"));
    fs::remove_file(&key).unwrap();
    assert!(primary.fails(11, &["info"]).contains(key.to_str().unwrap()));
}

#[test]
fn a_repository_that_is_not_encrypted_stays_so() {
    let cluster = archiving().start();
    let (repository, key) = (cluster.dir().join("repository"), cluster.dir().join("key"));
    let plain = format!("repository.path = '{}'\n# no encryption", repository.display());
    let site = Site::at(cluster, &repository, plain);
    site.ok(&["setup"]);
    site.ok(&["key", "generate", key.to_str().unwrap()]);
    site.cluster.psql("postgres", "alter system set archive_command = 'false'");
    site.cluster.psql("postgres", "select pg_reload_conf()");
    let before = snapshot(&repository);
    let lines = format!("repository.encryption.{}", file(&key));
    site.configure(&lines);
    for verb in ["setup", "backup", "info"] {
        let why = site.fails(11, &[verb]);
        assert!(why.contains("is not encrypted"), "{why}");
    }
    assert!(before == snapshot(&repository), "something was written");
}

#[test]
fn an_object_in_another_s_place_is_damage() {
    let (primary, _) = primary();
    primary.archive_all();
    primary.archive_all();
    let segments = primary.segments("00000001");
    let [.., one, other] = segments.as_slice() else { panic!("{segments:?}") };
    let bytes = fs::read(primary.object(one)).unwrap();
    write_owned(&primary.object(other), &bytes);
    assert!(primary.fails(6, &["verify"]).contains(other.as_str()));
}

#[test]
fn a_rotation_killed_anywhere_leaves_a_key_and_is_completed_by_the_next() {
    let (primary, key) = primary();
    primary.ok(&["backup"]);
    let objects = || snapshot(&primary.repository().join("main/pack"));
    let before = objects();
    for step in ["key.kept", "key.generated", "key.added", "key.renamed", "key.removed"] {
        let old = fs::read(&key).unwrap();
        let output = primary.at_failpoint(&format!("{step}=kill"), &["key", "rotate"]);
        assert_eq!(output.status.signal(), Some(9), "{step}: {}", said(&["key rotate"], &output));
        // The server goes on by itself with what the settings name.
        primary.archive_all();
        primary.ok(&["verify"]);
        // The old one is nowhere else, if something else needs it.
        let kept = key.with_extension("old");
        assert!(fs::read(&kept).unwrap() == old, "{step}");
        if step == "key.removed" {
            let why = primary.fails(2, &["key", "rotate"]);
            assert!(why.contains(kept.to_str().unwrap()), "{why}");
            assert!(fs::read(&kept).unwrap() == old, "{step}");
        } else {
            primary.ok(&["key", "rotate"]);
            assert!(fs::read(&kept).unwrap() == old, "{step}");
        }
        fs::remove_file(&kept).unwrap();
        primary.ok(&["verify"]);
        assert_eq!(ids(&primary).len(), 1, "{step}");
        assert!(!key.with_extension("new").exists(), "{step}");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        // What was the key is none.
        let lost = primary.cluster.dir().join(format!("old-{step}"));
        write_owned(&lost, &old);
        fs::set_permissions(&lost, Permissions::from_mode(0o600)).unwrap();
        beside(primary.repository(), &file(&lost)).fails(11, &["info"]);
    }
    assert!(before == objects(), "a rotation wrote objects again");
}

#[test]
fn a_damaged_key_shuts_nobody_out_and_can_be_removed() {
    let (primary, _) = primary();
    let words = primary.cluster.dir().join("words");
    write_owned(&words, b"correct horse battery staple\n");
    fs::set_permissions(&words, Permissions::from_mode(0o600)).unwrap();
    primary.ok(&["key", "add", "--passphrase-file", words.to_str().unwrap()]);
    let all = ids(&primary);
    let keys = primary.repository().join("walmgr.keys");
    let safe = format!("passphrase_file = '{}'", words.display());
    let safe = beside(primary.repository(), &safe);
    // Whichever is looked at first: cut off, of a newer walmgr, with what a terminal obeys.
    let whole = fs::read_to_string(keys.join(format!("{}.json", all[0]))).unwrap();
    let newer = whole.replace("\"format\": 1", "\"format\": 2");
    let label = whole.replace("made with the repository", "\\u001b[2J");
    let odd = "zz\u{1b}[2Jzz";
    let damaged = [("00", &whole[..90]), ("0123", ""), ("ff", &newer), ("fff", &label), (odd, "x")];
    for (id, text) in damaged {
        write_owned(&keys.join(format!("{id}.json")), text.as_bytes());
    }
    for site in [&primary, &safe] {
        site.ok(&["info"]);
        let list = site.ok(&["key", "list"]);
        assert!(!list.contains('\u{1b}'), "{list}");
        for (id, _) in damaged {
            let line = list.lines().find(|line| line.starts_with(&id.replace('\u{1b}', "?")));
            assert!(line.is_some_and(|line| line.contains("useless")), "{id}: {list}");
        }
        assert!(site.fails(6, &["verify"]).contains("0123"));
    }
    // The wrong words: perhaps they were for what is damaged.
    let wrong = beside(primary.repository(), "passphrase_command = 'echo staple'");
    assert!(wrong.fails(6, &["info"]).contains("00.json"));
    primary.fails(2, &["key", "remove", "repository"]);
    for (id, _) in damaged {
        safe.ok(&["key", "remove", id]);
    }
    assert_eq!(ids(&primary), all);
    primary.ok(&["verify"]);
    wrong.fails(11, &["info"]);
    // More than anybody has.
    for number in 0..80 {
        write_owned(&keys.join(format!("x{number:02}.json")), b"");
    }
    safe.ok(&["info"]);
    assert_eq!(primary.ok(&["key", "list"]).lines().count(), 82);
}

#[test]
fn a_key_file_of_two_repositories_is_not_rotated_for_one() {
    let cluster = archiving().set("archive_command", "false").start();
    let (key, link) = (cluster.dir().join("key"), cluster.dir().join("link"));
    let top = cluster.dir().to_owned();
    let site = Site::at(cluster, &top.join("main"), "# two repositories".to_owned());
    let configure = |of_other: &str| {
        let one = |name: &str, opened_by: &str| {
            let place = top.join(name);
            format!(
                "[[repository]]\nname = '{name}'\npath = '{}'\nencryption.{opened_by}\n",
                place.display()
            )
        };
        site.configure(&(one("main", &file(&key)) + &one("other", of_other)));
    };
    symlink(&key, &link).unwrap();
    configure(&file(&link));
    site.ok(&["key", "generate", key.to_str().unwrap()]);
    site.ok(&["setup", "--repository-only"]);
    let before = (fs::read(&key).unwrap(), snapshot(&top.join("main/walmgr.keys")));
    for name in ["main", "other"] {
        let why = site.fails(2, &["--repo", name, "key", "rotate"]);
        let others = if name == "main" { "\"other\"" } else { "\"main\"" };
        assert!(why.contains(others) && why.contains("key add"), "{why}");
    }
    assert!(before == (fs::read(&key).unwrap(), snapshot(&top.join("main/walmgr.keys"))));

    // As the message says.
    let own = top.join("own");
    site.ok(&["key", "generate", own.to_str().unwrap()]);
    site.ok(&["--repo", "other", "key", "add", "--key-file", own.to_str().unwrap()]);
    configure(&file(&own));
    site.ok(&["--repo", "main", "key", "rotate"]);
    site.ok(&["verify"]);
    // What names it elsewhere is not lost either.
    configure(&file(&key.with_extension("old")));
    site.ok(&["verify"]);
}

#[test]
fn keys_are_those_of_all_repositories_or_of_the_one_that_is_named() {
    let cluster = archiving().set("archive_command", "false").start();
    let top = cluster.dir().to_owned();
    let key = |name: &str| top.join(format!("{name}.key"));
    let site = Site::at(cluster, &top.join("one"), "# with encryption".to_owned());
    let table = |name: &str, opened_by: &str| {
        let place = top.join(name);
        format!("[[repository]]\nname = '{name}'\npath = '{}'\n{opened_by}\n", place.display())
    };
    let sealed = |name: &str| table(name, &format!("encryption.{}", file(&key(name))));
    site.configure(&(sealed("one") + &sealed("two") + &table("plain", "")));
    for name in ["one", "two", "safe"] {
        site.ok(&["key", "generate", key(name).to_str().unwrap()]);
    }
    site.ok(&["setup", "--repository-only"]);
    let count = |name: &str| site.ok(&["--repo", name, "key", "list"]).lines().count();
    site.ok(&["key", "add", "--key-file", key("safe").to_str().unwrap(), "--label", "the safe"]);
    assert_eq!([count("one"), count("two")], [2, 2]);
    let all = site.ok(&["key", "list"]);
    assert_eq!(all.matches("the safe").count(), 2, "{all}");
    assert!(all.contains("not encrypted"), "{all}");
    let safe = all.lines().find(|line| line.contains("the safe")).unwrap();
    let safe = safe.split(' ').next().unwrap();
    site.ok(&["--repo", "two", "key", "remove", safe]);
    assert_eq!([count("one"), count("two")], [2, 1]);
    site.ok(&["key", "remove", safe]);
    assert_eq!([count("one"), count("two")], [1, 1]);
    site.ok(&["key", "rotate"]);
    site.ok(&["verify"]);
    assert_eq!([count("one"), count("two")], [1, 1]);
    site.fails(2, &["--repo", "plain", "key", "rotate"]);
    site.configure(&(sealed("one") + &table("two", &format!("encryption.{}", file(&key("one"))))));
    assert!(site.fails(2, &["key", "rotate"]).contains("opens repository"));
}

#[test]
fn stores_whose_buckets_are_called_the_same_have_keys_of_their_own() {
    let cluster = archiving().set("archive_command", "false").start();
    let top = cluster.dir().to_owned();
    let site = Site::at(cluster, &top.join("none"), "# two repositories".to_owned());
    let stores = [ObjectServer::start(Dialect::S3), ObjectServer::start(Dialect::S3)];
    let mut text = String::new();
    for (name, store) in ["main", "other"].into_iter().zip(&stores) {
        let key = top.join(format!("key of {name}"));
        site.ok(&["key", "generate", key.to_str().unwrap()]);
        let place = store.place(&top.join("secret"));
        let lines: Vec<_> = place.lines().map(|line| &line["repository.".len()..]).collect();
        text.push_str(&format!(
            "[[repository]]\nname = '{name}'\n{}\nencryption.{}\n",
            lines.join("\n"),
            file(&key)
        ));
    }
    site.configure(&text);
    site.ok(&["setup", "--repository-only"]);
    // One process works on both.
    site.ok(&["verify"]);
    let segment = site.cluster.psql("postgres", "select pg_walfile_name(pg_switch_wal())");
    site.ok(&["archive-push", &format!("pg_wal/{segment}")]);
    site.ok(&["repository", "copy"]);
    for name in ["main", "other"] {
        site.ok(&["--repo", name, "archive-get", &segment, "../fetched"]);
    }
}

#[test]
fn parts_that_a_dead_process_left_keep_nobody_from_a_set_up() {
    let cluster = archiving().set("archive_command", "false").start();
    let top = cluster.dir().to_owned();
    let (secret, key) = (top.join("secret"), top.join("key"));
    let sealed = format!("repository.encryption.{}", file(&key));
    let mut cluster = Some(cluster);
    for encryption in [sealed.as_str(), "# no encryption"] {
        let server = ObjectServer::start(Dialect::Gcs);
        server.put("some/where/walmgr.parts/dead/0-00002", b"x".to_vec());
        let place = format!("{}\n{encryption}", server.place(&secret));
        let site = Site::at(cluster.take().unwrap(), Path::new("/no"), place);
        if !key.exists() {
            site.ok(&["key", "generate", key.to_str().unwrap()]);
        }
        site.ok(&["setup", "--repository-only"]);
        // Killed after the first step of it, with parts of its own.
        server.remove("some/where/main/stanza.json");
        server.remove("some/where/main/wal/README");
        if encryption == sealed {
            server.remove("some/where/walmgr.keys/repository.json");
        }
        site.ok(&["setup", "--repository-only"]);
        site.ok(&["verify"]);
        cluster = Some(site.cluster);
    }
}

#[test]
fn a_setup_killed_before_its_repository_is_whole_is_completed_by_the_next() {
    let cluster = archiving().start();
    let (repository, key) = (cluster.dir().join("repository"), cluster.dir().join("key"));
    let place = place(&repository, &file(&key));
    let site = Site::at(cluster, &repository, place);
    site.ok(&["key", "generate", key.to_str().unwrap()]);
    let output = site.at_failpoint("key.first=kill", &["setup"]);
    assert_eq!(output.status.signal(), Some(9), "{}", said(&["setup"], &output));
    site.ok(&["setup"]);
    site.ok(&["backup"]);
    assert_eq!(ids(&site).len(), 1);
}

#[test]
fn commands_and_passphrases_open_it_too_and_keys_come_and_go() {
    let (primary, key) = primary();
    primary.ok(&["backup"]);
    let own = ids(&primary).pop().unwrap();
    let words = primary.cluster.dir().join("words");
    write_owned(&words, b"correct horse battery staple\n");
    let add = ["key", "add", "--passphrase-file", words.to_str().unwrap(), "--label", "the safe"];
    assert!(primary.fails(11, &add).contains("0644"));
    fs::set_permissions(&words, Permissions::from_mode(0o600)).unwrap();
    primary.ok(&add);
    primary.ok(&add);
    let list = primary.ok(&["key", "list"]);
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.contains("the safe") && list.contains("passphrase"), "{list}");

    let by = |opened_by: &str| beside(primary.repository(), opened_by);
    by(&format!("passphrase_file = '{}'", words.display())).ok(&["info"]);
    by(&format!("passphrase_command = 'cat {}'", words.display())).ok(&["info"]);
    by(&format!("key_command = 'cat {}'", key.display())).ok(&["info"]);
    let why = by("passphrase_command = 'echo staple'").fails(11, &["info"]);
    assert!(why.contains("the passphrase") && why.contains("the safe"), "{why}");
    assert!(!why.contains("staple"), "{why}");
    let why = by("key_command = 'echo my-secret >&2; exit 3'").fails(11, &["info"]);
    assert!(why.contains("exit status: 3"), "{why}");
    let slow = "key_command = 'sleep 1000'\nrepository.encryption.command_timeout = '100ms'";
    assert!(by(slow).fails(11, &["info"]).contains("not done"));
    let two = format!("key_command = 'x'\nrepository.encryption.{}", file(&key));
    assert!(by(&two).fails(2, &["info"]).contains("one of"));

    // The one in use stays; another may go, once or twice.
    assert!(primary.fails(2, &["key", "remove", &own]).contains("add another"));
    let safe = by(&format!("passphrase_file = '{}'", words.display()));
    safe.ok(&["key", "remove", &own, "--dry-run"]);
    primary.ok(&["info"]);
    safe.ok(&["key", "remove", &own]);
    safe.ok(&["key", "remove", &own]);
    primary.fails(11, &["info"]);
    safe.ok(&["verify"]);
    safe.fails(2, &["key", "rotate"]);
    // Back again, and no secret was printed on the way.
    assert!(!safe.ok(&["key", "add", "--key-file", key.to_str().unwrap()]).contains("WALMGR-KEY"));
    primary.ok(&["verify"]);
}
