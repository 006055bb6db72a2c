//! What installation puts where.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use pgq_tests::site::write_program;
use pgq_tests::{Tree, scratch_database};

#[test]
fn installation_goes_below_destdir_and_nowhere_else() {
    let destination = tempfile::tempdir().unwrap();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let library = destination.path().join("libpgq.so");
    std::fs::write(&library, "a library").unwrap();
    let pg_config = Tree::Ours.bin().join("pg_config");
    let program = pgq_tests::programs::programs().join("pgq");
    write_program(&destination.path().join("pgq"), &std::fs::read(program).unwrap());
    for built in ["libwalmgr_archive.so", "walmgr-push", "walmgr-tls"] {
        let built = destination.path().join(built);
        std::fs::write(&built, "built").unwrap();
        std::fs::set_permissions(&built, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = Command::new(format!("{root}/packaging/install.sh"))
        .arg("all")
        .arg(destination.path())
        .env("DESTDIR", destination.path())
        .env("PG_CONFIG", &pg_config)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let directory = |option: &str| {
        let output = Command::new(&pg_config).arg(option).output().unwrap();
        let path =
            String::from_utf8_lossy(&output.stdout).trim().trim_start_matches('/').to_owned();
        destination.path().join(path)
    };
    let libraries = directory("--pkglibdir");
    assert_eq!(std::fs::read_to_string(libraries.join("pgq.so")).unwrap(), "a library");
    for old in ["pgq_lowlevel.so", "pgq_triggers.so"] {
        assert_eq!(std::fs::read_link(libraries.join(old)).unwrap().to_str(), Some("pgq.so"));
    }
    let has_libraries = pgq_tests::site::has_libraries();
    assert_eq!(libraries.join("walmgr_archive.so").exists(), has_libraries);
    for program in ["pgq", "walmgr-push", "walmgr-tls"] {
        assert!(directory("--bindir").join(program).exists(), "{program} is missing");
    }
    for page in ["pgq.1", "pgq-consume.1"] {
        assert!(directory("--mandir").join("man1").join(page).exists(), "{page} is missing");
    }
    let extensions = directory("--sharedir").join("extension");
    for file in ["pgq.control", "pgq--4.1.sql", "pgq--3.5--4.1.sql", "pgq--4.0--4.1.sql"] {
        assert!(extensions.join(file).exists(), "{file} is missing");
    }
    for extension in ["pgq_coop", "pgq_ext", "pgq_node", "londiste"] {
        assert!(
            extensions.join(format!("{extension}--4.0.sql")).exists(),
            "{extension} is missing"
        );
    }
}

/// What is compiled in from elsewhere makes what is built out of date.
#[test]
fn make_builds_again_when_an_included_file_has_changed() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).canonicalize().unwrap();
    let database = Command::new("make")
        .args(["--print-data-base", "--question", "all"])
        .arg(format!("PG_CONFIG={}", Tree::Ours.bin().join("pg_config").display()))
        .current_dir(&root)
        .output()
        .unwrap();
    let database = String::from_utf8_lossy(&database.stdout).into_owned();
    let sources = database.lines().find_map(|line| line.strip_prefix("sources := ")).unwrap();
    let sources: Vec<PathBuf> = sources.split_whitespace().map(|path| root.join(path)).collect();
    let mut included = 0;
    for source in sources.iter().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        let text = std::fs::read_to_string(source).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for part in code.split("include_str!(\"").skip(1) {
            let path = source.parent().unwrap().join(part.split('"').next().unwrap());
            let path = path.canonicalize().unwrap();
            assert!(sources.contains(&path), "{} is not among them", path.display());
            included += 1;
        }
    }
    assert!(included > 5, "only {included} are included");
    for file in ["Cargo.lock", "walmgr/push/Cargo.lock", "rust-toolchain.toml"] {
        assert!(sources.contains(&root.join(file)), "{file} is not among them");
    }
}

/// PGXN takes a distribution by this file: what its specification requires is there, and true.
#[test]
fn pgxns_metadata_is_whole_and_of_this_version() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let text = std::fs::read_to_string(root.join("packaging/META.json")).unwrap();
    let meta: serde_json::Value = serde_json::from_str(&text).unwrap();
    for required in
        ["name", "version", "abstract", "maintainer", "license", "provides", "meta-spec"]
    {
        assert!(!meta[required].is_null(), "{required} is missing");
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(meta["version"], version);
    assert_eq!(meta["meta-spec"]["version"], "1.0.0");
    let provides = meta["provides"].as_object().unwrap();
    for (extension, provided) in provides {
        for required in ["file", "version"] {
            assert!(provided[required].is_string(), "{extension}: {required} is missing");
        }
        for file in ["file", "docfile"] {
            let file = provided[file].as_str().unwrap();
            assert!(root.join(file).is_file(), "{extension}: {file} is missing");
        }
        let manifest =
            std::fs::read_to_string(root.join(format!("sql/{extension}/manifest"))).unwrap();
        let own = manifest.lines().find_map(|line| line.strip_prefix("version ")).unwrap();
        let provided = provided["version"].as_str().unwrap();
        assert!(provided.starts_with(own), "{extension} is {own}, not {provided}");
    }
    for entry in std::fs::read_dir(root.join("sql")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let listed = provides.contains_key(&name);
        assert!(listed || !root.join("sql").join(&name).join("manifest").exists(), "{name}");
    }
}

/// The oldest Rust that is promised is the one that everything here is built and tested with.
#[test]
fn the_promised_rust_is_the_one_that_is_used() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let setting = |file: &str, key: &str| {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key} = \""))).unwrap();
        line.trim_end_matches('"').to_owned()
    };
    let promised = setting("Cargo.toml", "rust-version");
    assert_eq!(setting("walmgr/push/Cargo.toml", "rust-version"), promised);
    assert_eq!(setting("rust-toolchain.toml", "channel"), format!("{promised}.0"));
    let control = std::fs::read_to_string(root.join("packaging/debian/control.in")).unwrap();
    assert!(control.contains(&format!("cargo (>= {promised})")), "{control}");
}

/// Databases that were on upstream's libraries have functions that name them.
#[test]
fn functions_declared_on_upstreams_libraries_work() {
    let database = scratch_database();
    let mut client = database.connect();
    client
        .batch_execute(
            "select pgq.create_queue('q');
             create function old_insert(text, bigint, timestamptz, int, int, text, text, text, \
             text, text, text)
                 returns bigint as '$libdir/pgq_lowlevel', 'pgq_insert_event_raw' language c;
             create function old_logtriga() returns trigger as '$libdir/pgq_triggers', \
             'pgq_logtriga' language c;
             create table t (id int, note text);
             create trigger log after insert on t for each row execute function old_logtriga('q', \
             'kv');
             select old_insert('q', null, null, null, null, 'type', 'by hand', null, null, null, \
             null);
             insert into t values (1, 'x');",
        )
        .unwrap();
    let events: Vec<(String, String)> = client
        .query("select ev_type, ev_data from pgq.event_template order by ev_id", &[])
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    assert_eq!(
        events,
        [
            ("type".to_owned(), "by hand".to_owned()),
            ("I".to_owned(), "(id,note) values ('1','x')".to_owned())
        ]
    );
}
