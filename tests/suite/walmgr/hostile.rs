//! Repositories and directories that mean harm, or are damaged so as if they did: nothing outside
//! is touched, and nothing is read without a bound. Each attack is found by `verify`, too.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use pgq_tests::{Cluster, Stop, Tree};
use serde_json::{Value, json};

use crate::walmgr::backup::{primary, primary_in, target};
use pgq_tests::site::{Site, copy_tree, snapshot, write_owned};

/// An object of the repository: a header that is right in itself, whatever it claims, and what is
/// stored after it.
pub(crate) fn object(codec: u8, length: usize, content_hash: [u8; 32], stored: &[u8]) -> Vec<u8> {
    let mut bytes = b"WALMGR\0\x01".to_vec();
    bytes.extend([codec, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend((length as u64).to_le_bytes());
    bytes.extend((stored.len() as u64).to_le_bytes());
    bytes.extend(content_hash);
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes.resize(72, 0);
    bytes.extend(stored);
    bytes
}

/// The two objects of the only backup.
struct Stored {
    info: PathBuf,
    manifest: PathBuf,
    before: (Vec<u8>, Vec<u8>),
}

impl Stored {
    fn of(site: &Site) -> Self {
        let names = snapshot(&site.repository().join("main/backup"));
        let named = |end: &str| {
            names.iter().find(|(path, _)| path.to_str().unwrap().ends_with(end)).unwrap().0.clone()
        };
        let (info, manifest) = (named(".json"), named(".manifest"));
        let before = (fs::read(&info).unwrap(), fs::read(&manifest).unwrap());
        Self { info, manifest, before }
    }

    /// Write the backup as somebody would who may write to the repository.
    fn forge(&self, change: &dyn Fn(&mut Value, &mut Value, &mut Vec<Value>)) {
        let text = zstd::decode_all(&self.before.1[72..]).unwrap();
        let mut lines = text.split(|byte| *byte == b'\n');
        let mut first: Value = serde_json::from_slice(lines.next().unwrap()).unwrap();
        let mut files: Vec<Value> =
            lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
        let mut info: Value = serde_json::from_slice(&self.before.0).unwrap();
        change(&mut info, &mut first, &mut files);
        let mut text = first.to_string();
        for file in files {
            text += &format!("\n{file}");
        }
        let hash = blake3::hash(text.as_bytes());
        write_owned(&self.manifest, &object(0, text.len(), hash.into(), text.as_bytes()));
        info["manifest_hash"] = json!(hash.to_hex().as_str());
        write_owned(&self.info, info.to_string().as_bytes());
    }

    fn mend(&self) {
        write_owned(&self.info, &self.before.0);
        write_owned(&self.manifest, &self.before.1);
    }
}

/// A directory of the server's user with something in it.
fn victim(site: &Site) -> PathBuf {
    let victim = site.cluster.dir().join("victim");
    let script = format!("mkdir -p -m 700 {0} {0}/sub; echo kept > {0}/secret", victim.display());
    assert!(site.cluster.run_as("sh").args(["-c", &script]).status().unwrap().success());
    victim
}

/// Permissions and content of all that is there.
fn state(directory: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mode = |path: &Path| path.symlink_metadata().unwrap().permissions().mode();
    let mut all = vec![(directory.to_owned(), mode(directory), Vec::new())];
    all.extend(snapshot(directory).into_iter().map(|(path, bytes)| {
        let mode = mode(&path);
        (path, mode, bytes)
    }));
    all
}

type Attack<'a> = (&'a str, Box<dyn Fn(&mut Value, &mut Value, &mut Vec<Value>) + 'a>);

#[test]
fn a_databases_own_names_are_not_taken() {
    let site = primary();
    // What takes one of these types fails.
    site.cluster.psql(
        "postgres",
        "create schema trap;
         create domain trap.text as pg_catalog.text check (false);
         create domain trap.int8 as pg_catalog.int8 check (false);
         create domain trap.bool as pg_catalog.bool check (false);
         alter database postgres set search_path = trap, pg_catalog",
    );
    site.ok(&["setup"]);
    site.ok(&["backup"]);
    site.ok(&["check"]);
    site.ok(&["info", "--prometheus"]);
}

#[test]
fn a_forged_manifest_leads_nowhere_and_is_found() {
    let primary = primary_in(Site::plain);
    primary.ok(&["backup"]);
    let copy = target(&primary);
    let victim = victim(&copy);
    let stored = Stored::of(&primary);
    let directory = |path: String| {
        move |_: &mut Value, first: &mut Value, _: &mut Vec<Value>| {
            first["directories"].as_array_mut().unwrap().push(json!([path, 0o777]));
        }
    };
    let file = |path: String| {
        move |_: &mut Value, _: &mut Value, files: &mut Vec<Value>| {
            files.push(
                json!({"path": path, "size": 0, "mode": 0o644, "mtime": 0, "crc": 0, "chunks": []}),
            );
        }
    };
    let link = |path: String| {
        let place = victim.display().to_string();
        move |_: &mut Value, first: &mut Value, _: &mut Vec<Value>| {
            first["links"] = json!([[path, place]]);
        }
    };
    let pack = |key: &'static str| {
        move |_: &mut Value, first: &mut Value, _: &mut Vec<Value>| first["packs"][0] = json!(key)
    };
    let place = |oid: &'static str, place: String| {
        move |info: &mut Value, _: &mut Value, _: &mut Vec<Value>| {
            info["tablespaces"] = json!({ oid: place });
        }
    };
    let v = victim.display();
    let hex = |text: &str| {
        format!("@hex/{}", text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    let attacks: Vec<Attack<'_>> = vec![
        ("absolute directory", Box::new(directory(v.to_string()))),
        ("directory above", Box::new(directory("../victim/sub".into()))),
        ("directory in place of a file", Box::new(directory("../victim/secret".into()))),
        ("new directory above", Box::new(directory("../victim/new/dir".into()))),
        ("directory hidden below", Box::new(directory("base/../../victim/new".into()))),
        ("directory in hexadecimal", Box::new(directory(hex("../victim/new")))),
        ("absolute directory in hexadecimal", Box::new(directory(hex(&v.to_string())))),
        ("tablespace's directory", Box::new(directory("pg_tblspc/../../victim/new".into()))),
        ("empty directory", Box::new(directory(String::new()))),
        ("absolute file", Box::new(file(format!("{v}/new")))),
        ("file above", Box::new(file("../victim/secret".into()))),
        ("file in hexadecimal", Box::new(file(hex("../victim/secret")))),
        ("configuration above", Box::new(file("@config/../victim/new".into()))),
        ("configuration below", Box::new(file("@config/sub/new".into()))),
        ("link above", Box::new(link("../victim/new".into()))),
        ("absolute link", Box::new(link(format!("{v}/new")))),
        ("pack above", Box::new(pack("pack/../../../../victim/secret"))),
        ("pack elsewhere", Box::new(pack("stanza.json"))),
        ("number of a tablespace", Box::new(place("../lnk", v.to_string()))),
        ("no number of a tablespace", Box::new(place("", v.to_string()))),
        ("place of a tablespace", Box::new(place("16999", "../../victim".into()))),
        ("absolute place above", Box::new(place("16999", format!("{v}/sub/..")))),
    ];
    let before = state(&victim);
    for (what, attack) in &attacks {
        stored.forge(attack);
        primary.fails(6, &["verify"]);
        let data = copy.cluster.data_dir();
        for args in [&["restore"][..], &["restore", "--original-places", "--config-to", "config"]] {
            let said = copy.fails(6, args);
            assert_eq!(before, state(&victim), "{what}: {said}");
            assert!(!data.exists() && !copy.cluster.dir().join("lnk").exists(), "{what}");
        }
        stored.mend();
    }
    primary.ok(&["verify"]);
    copy.ok(&["restore"]);
}

#[test]
fn places_outside_need_a_word_and_permissions_are_a_data_directorys() {
    let primary = primary_in(Site::plain);
    primary.ok(&["backup"]);
    let copy = target(&primary);
    let victim = victim(&copy);
    let stored = Stored::of(&primary);
    let empty = victim.join("sub");
    // Written like any other backup, with a tablespace and a link that would fill somebody's
    // directory.
    stored.forge(&|info, first, files| {
        info["tablespaces"] = json!({ "16999": empty });
        let directories = first["directories"].as_array_mut().unwrap();
        directories.push(json!(["pg_tblspc/16999", 0o777]));
        directories.push(json!(["extra", 0o4777]));
        first["links"] = json!([["extra", victim], ["dangling", victim.join("new")]]);
        first["mode"] = json!(0o7777);
        for path in ["pg_tblspc/16999/authorized_keys", "extra/authorized_keys"] {
            files.push(json!({"path": path, "size": 0, "mode": 0o6777, "mtime": 0, "crc": 0, "chunks": []}));
        }
    });
    let before = state(&victim);
    let said = copy.fails(2, &["restore"]);
    assert!(said.contains(empty.to_str().unwrap()) && said.contains("--tablespace-map"), "{said}");
    copy.fails(2, &["restore", "--dry-run"]);
    // The link leads to a directory that has something in it: not even a word makes that right.
    let said = copy.fails(2, &["restore", "--original-places"]);
    assert!(said.contains("is not empty"), "{said}");
    assert_eq!(before, state(&victim));
    assert!(!copy.cluster.data_dir().exists());
    let moved = copy.cluster.dir().join("moved");
    copy.ok(&["restore", "--tablespace-map", &format!("16999={}", moved.display())]);
    assert_eq!(before, state(&victim));
    assert!(moved.join("authorized_keys").exists());
    let data = copy.cluster.data_dir();
    assert!(!data.join("dangling").is_symlink());
    let mode = |path: &Path| path.symlink_metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&data), 0o750);
    assert_eq!(mode(&data.join("extra")), 0o750);
    assert_eq!(mode(&data.join("extra/authorized_keys")), 0o750);
    stored.mend();
    primary.ok(&["verify"]);
}

/// A link in the place of a directory of the target leads to somebody else's.
#[test]
fn links_of_the_target_are_not_followed() {
    let mut primary = primary();
    primary.ok(&["backup"]);
    let copy = target(&primary);
    copy.ok(&["restore", "--no-archive"]);
    let data = copy.cluster.data_dir();
    let other = copy.cluster.dir().join("other");
    for option in ["--delta", "--force"] {
        for name in ["global", "base", "base/1", "pg_xact", "pg_tblspc", "postgresql.auto.conf"] {
            let _ = fs::remove_dir_all(&other);
            copy_tree(&data, &other);
            let before = state(&other);
            let place = data.join(name);
            let aside = data.with_file_name("aside");
            fs::rename(&place, &aside).unwrap();
            symlink(other.join(name), &place).unwrap();
            copy.ok(&["restore", option, "--no-archive"]);
            assert_eq!(before, state(&other), "{option}: {name}");
            assert!(!place.is_symlink(), "{option}: {name}");
            let _ = fs::remove_dir_all(&aside).or_else(|_| fs::remove_file(&aside));
        }
    }
    // pg_wal may be a link, but not to what a running server has.
    let place = data.join("pg_wal");
    fs::remove_dir_all(&place).unwrap();
    symlink(primary.cluster.data_dir().join("pg_wal"), &place).unwrap();
    let before = state(&data);
    for option in ["--delta", "--force"] {
        let said = copy.fails(3, &["restore", option]);
        assert!(said.contains("is in use by the server"), "{said}");
    }
    assert_eq!(before, state(&data));
    // Nor is there a place for a data directory in it.
    for below in ["", "base/new", "new/data"] {
        let inside = primary.cluster.data_dir().join(below);
        copy.fails(3, &["restore", "--force", "--data", inside.to_str().unwrap()]);
    }
    assert!(primary.cluster.is_running());
    primary.cluster.psql("postgres", "select count(*) from filler");
    primary.ok(&["verify"]);
}

/// Run under limits of memory and of the size of files, in MiB; what goes beyond ends with a signal
/// or an abort.
fn within(site: &Site, memory: u32, size: u32, args: &[&str]) -> Output {
    let mut shell = site.cluster.run_as("bash");
    let script = format!("ulimit -v {} -f {} -c 0; exec \"$0\" \"$@\"", memory << 10, size << 10);
    shell.args(["-c", &script]).arg(site.cluster.dir().join("walmgr"));
    shell.args(site.arguments(args));
    shell.current_dir(site.cluster.data_dir()).output().unwrap()
}

#[test]
fn what_is_read_has_bounds() {
    let mut primary = primary_in(Site::plain);
    primary.ok(&["backup"]);
    primary.archive_all();
    primary.cluster.stop(Stop::Fast);
    let within = |args: &[&str]| within(&primary, 1024, 4, args);
    let code = |args: &[&str]| {
        let output = within(args);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // The limits leave room enough for what is sound.
    let name = primary.segments("00000001").remove(0);
    let get = ["--repo", "main", "archive-get", &name, "../fetched"];
    assert_eq!(code(&["verify"]).0, Some(0), "{:?}", code(&["verify"]));
    assert_eq!(code(&get).0, Some(0));
    let zeros = vec![0; 64 << 20];
    let mut gigabytes = zstd::Encoder::new(Vec::new(), 1).unwrap();
    for _ in 0..48 {
        std::io::Write::write_all(&mut gigabytes, &zeros).unwrap();
    }
    let bomb = gigabytes.finish().unwrap();
    let stored = Stored::of(&primary);
    let segment = primary.object(&name);
    let whole = fs::read(&segment).unwrap();
    let any = *blake3::hash(b"").as_bytes();
    // What the header says is not what comes out, or it says too much.
    for claimed in [10, 1 << 20, 3 << 30, usize::MAX] {
        write_owned(&segment, &object(1, claimed, any, &bomb));
        assert_eq!(code(&get).0, Some(200), "{claimed}: {:?}", code(&get));
        assert_eq!(code(&["verify"]).0, Some(6), "{claimed}");
        let left = snapshot(primary.cluster.dir());
        assert!(!left.iter().any(|(path, _)| path.to_str().unwrap().ends_with(".tmp")));
    }
    write_owned(&segment, &whole);
    for claimed in [10, 3 << 30, usize::MAX] {
        write_owned(&stored.manifest, &object(1, claimed, any, &bomb));
        assert_eq!(code(&["verify"]).0, Some(6), "{claimed}");
        assert_eq!(code(&["restore", "--force"]).0, Some(6), "{claimed}");
    }
    stored.mend();
    // A terabyte of nothing, wherever something small belongs.
    let stanza = primary.repository().join("main/stanza.json");
    let history = primary.repository().join("main/wal/00000009.history");
    for (path, args) in [
        (&stored.info, &["listbackups"][..]),
        (&stored.info, &["info"]),
        (&stored.manifest, &["verify"]),
        (&stanza, &["listbackups"]),
        (&history, &["verify"]),
    ] {
        let before = fs::read(path).ok();
        fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
        let (code, said) = code(args);
        assert_eq!(code, Some(6), "{}: {said}", path.display());
        match before {
            Some(before) => write_owned(path, &before),
            None => fs::remove_file(path).unwrap(),
        }
    }
    // All is measured by the segments' size, so that is held against what there can be.
    let text = fs::read_to_string(&stanza).unwrap();
    write_owned(&stanza, text.replace("1048576", "4294967295").as_bytes());
    assert_eq!(code(&get).0, Some(200));
    assert_eq!(code(&["listbackups"]).0, Some(6));
    write_owned(&stanza, text.as_bytes());
    // A table of contents without an end, in what a broken-off backup left.
    let pack = primary.repository().join("main/pack/20010101T000000Z/00000");
    fs::create_dir(pack.parent().unwrap()).unwrap();
    write_owned(&pack, b"WALMGRP\x01\x00");
    let file = fs::File::options().write(true).open(&pack).unwrap();
    file.set_len(1 << 40).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &((1_u64 << 34).to_le_bytes()), (1 << 40) - 12)
        .unwrap();
    primary.cluster.start();
    let output = self::within(&primary, 1024, 512, &["backup"]);
    assert!(output.status.success(), "{output:?}");
    primary.ok(&["verify"]);
    // A file that is too long for its name does not come in.
    let long = primary.cluster.dir().join("00000002.history");
    write_owned(&long, b"1\t0/3000000\tno reason\n");
    fs::File::options().write(true).open(&long).unwrap().set_len(8 << 20).unwrap();
    primary.fails(6, &["archive-push", long.to_str().unwrap()]);
}

#[test]
fn an_incremental_on_a_damaged_base_is_refused() {
    let primary = primary();
    primary.ok(&["backup"]);
    primary.cluster.psql("postgres", "insert into t values (1)");
    let packs: Vec<_> = snapshot(&primary.repository().join("main/pack"))
        .into_iter()
        .filter(|(path, _)| path.is_file())
        .collect();
    let (path, whole) = packs.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let mut table = whole.clone();
    let end = whole.len();
    table[end - 100] ^= 1;
    let damages: [(&str, Option<&[u8]>); 4] = [
        ("flipped", Some(&flipped)),
        ("table", Some(&table)),
        ("cut", Some(&whole[..end / 2])),
        ("gone", None),
    ];
    for (what, damage) in damages {
        match damage {
            Some(bytes) => write_owned(path, bytes),
            None => fs::remove_file(path).unwrap(),
        }
        let before = primary.ok(&["listbackups", "--json"]);
        let said = primary.fails(6, &["backup", "--incremental"]);
        assert!(said.contains("is damaged"), "{what}: {said}");
        assert_eq!(primary.ok(&["listbackups", "--json"]), before, "{what}");
        write_owned(path, whole);
    }
    primary.ok(&["verify"]);
    primary.ok(&["backup", "--incremental"]);
    primary.ok(&["verify"]);
    // What a broken-off backup left is used as far as it is sound.
    let output = primary.at_failpoint("backup.copied=kill", &["backup", "--jobs", "1"]);
    assert!(!output.status.success());
    let left = snapshot(&primary.repository().join("main/pack"));
    let newest = left.iter().rfind(|(path, _)| path.is_file()).unwrap();
    let mut flipped = newest.1.clone();
    flipped[newest.1.len() / 2] ^= 1;
    write_owned(&newest.0, &flipped);
    primary.ok(&["backup"]);
    let list: Value = serde_json::from_str(&primary.ok(&["listbackups", "--json"])).unwrap();
    let id = list.as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
    primary.ok(&["verify", &id]);
    let copy = Site::beside(Cluster::empty(Tree::Ours), primary.repository());
    copy.ok(&["restore", &id]);
}
