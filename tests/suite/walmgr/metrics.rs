//! `info --prometheus`: what it says is true, every reader of the format can read it, and what
//! cannot be reached is a number.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use pgq_tests::site::{Site, archiving};
use pgq_tests::{PATIENCE, Stop, wait_until};

/// Samples by name and sorted labels.
type Samples = BTreeMap<(String, Vec<(String, String)>), f64>;

/// Read the text format, as strictly as its description goes: help and type once, before the
/// samples of their metric, which stand together and have no labels twice.
fn parse(text: &str) -> Samples {
    assert!(text.ends_with('\n') && !text.contains('\r'), "lines end with line feeds");
    let mut samples = Samples::new();
    let mut done: BTreeSet<String> = BTreeSet::new();
    let mut current: Option<(String, bool)> = None;
    let mut helped = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and help");
            assert!(!help.is_empty() && done.insert(name.to_owned()), "{name} comes twice");
            helped = Some(name.to_owned());
            current = None;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert_eq!(helped.take().as_deref(), Some(name), "help comes before the type");
            assert!(["gauge", "counter"].contains(&kind), "{line}");
            current = Some((name.to_owned(), kind == "counter"));
        } else {
            let (name, labels, value) = sample(line);
            let (metric, counts) = current.as_ref().expect("a type before the samples");
            assert_eq!(name, *metric, "samples of a metric stand together");
            assert!(value.is_finite() && (!counts || value >= 0.0), "{line}");
            assert!(samples.insert((name, labels), value).is_none(), "{line} comes twice");
        }
    }
    samples
}

fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let end = line.find(|ch: char| !(ch.is_ascii_alphanumeric() || ch == '_')).expect("a value");
    let (name, mut rest) = line.split_at(end);
    assert!(name.starts_with(|ch: char| ch.is_ascii_alphabetic()), "{line}");
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").expect("a label");
            let mut value = String::new();
            let mut chars = after.char_indices();
            let end = loop {
                match chars.next().expect("the end of a label's value") {
                    (at, '"') => break at,
                    (_, '\\') => match chars.next().expect("an escape").1 {
                        'n' => value.push('\n'),
                        ch @ ('\\' | '"') => value.push(ch),
                        other => panic!("\\{other} in {line}"),
                    },
                    (_, ch) => value.push(ch),
                }
            };
            labels.push((label.to_owned(), value));
            rest = after[end + 1..].strip_prefix(',').unwrap_or(&after[end + 1..]);
        }
        rest = &rest[1..];
    }
    labels.sort();
    let names: BTreeSet<&String> = labels.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), labels.len(), "{line}");
    let value = rest.strip_prefix(' ').expect("a blank before the value");
    (name.to_owned(), labels, value.parse().expect("a number"))
}

fn read(site: &Site) -> Samples {
    parse(&(site.ok(&["info", "--prometheus"]) + "\n"))
}

/// The one sample of a name that has this label.
fn value(samples: &Samples, name: &str, label: (&str, &str)) -> Option<f64> {
    let label = (label.0.to_owned(), label.1.to_owned());
    let mut found = samples.iter().filter(|((n, labels), _)| n == name && labels.contains(&label));
    let value = found.next().map(|(_, value)| *value);
    assert!(found.next().is_none(), "{name} has more than one sample");
    value
}

fn in_main(samples: &Samples, name: &str) -> Option<f64> {
    value(samples, name, ("repository", "main"))
}

fn of_server(samples: &Samples, name: &str) -> f64 {
    value(samples, name, ("stanza", "main")).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn numbers_say_what_the_archive_and_the_server_say() {
    let site = Site::new(archiving().start());
    site.ok(&["setup"]);
    let before = read(&site);
    assert_eq!(in_main(&before, "walmgr_up"), Some(1.0));
    assert_eq!(in_main(&before, "walmgr_backups"), Some(0.0));
    assert_eq!(in_main(&before, "walmgr_restorable_oldest_timestamp_seconds"), None);
    site.ok(&["backup"]);
    site.ok(&["backup", "--incremental"]);
    site.cluster.psql("postgres", "create table t as select 1 as n");
    let committed = site.cluster.psql(
        "postgres",
        "insert into t values (2) returning extract(epoch from clock_timestamp())",
    );
    site.archive_all();
    let samples = read(&site);
    let main = |name: &str| in_main(&samples, name).unwrap_or_else(|| panic!("no {name}"));
    let list: serde_json::Value =
        serde_json::from_str(&site.ok(&["listbackups", "--json"])).unwrap();
    assert_eq!(main("walmgr_backups"), 2.0);
    let newest = |name: &str| {
        let kind = |kind| value(&samples, name, ("kind", kind)).unwrap();
        (kind("full"), kind("any"))
    };
    let field = |name: &str| (list[0][name].as_f64().unwrap(), list[1][name].as_f64().unwrap());
    assert_eq!(newest("walmgr_last_backup_size_bytes"), field("size"));
    assert_eq!(newest("walmgr_last_backup_stored_bytes"), field("added"));
    let (full, any) = newest("walmgr_last_backup_timestamp_seconds");
    assert!(full < any);
    let (full_age, any_age) = newest("walmgr_last_backup_age_seconds");
    assert!((full_age - any_age - (any - full)).abs() < 0.01, "ages are of the same moment");
    let stored = field("added").0 + field("added").1;
    assert_eq!(main("walmgr_backups_stored_bytes"), stored);
    // The last transaction in the archive, by the server's clock.
    let last = main("walmgr_restorable_newest_timestamp_seconds");
    let committed: f64 = committed.lines().next().unwrap().parse().unwrap();
    assert!(last >= committed && last - committed < 60.0, "{last} {committed}");
    assert_eq!(main("walmgr_restorable_oldest_timestamp_seconds"), full);
    assert_eq!(main("walmgr_restorable_to_present"), 1.0);
    let segments = site.segments("00000001");
    let number = u32::from_str_radix(&segments.last().unwrap()[16..], 16).unwrap();
    assert_eq!(main("walmgr_wal_last_segment_number"), f64::from(number));
    assert_eq!(main("walmgr_wal_last_lsn_bytes"), f64::from(number + 1) * 1_048_576.0);
    let count = f64::from(u32::try_from(segments.len()).unwrap());
    assert_eq!(main("walmgr_wal_segments"), count);
    assert_eq!(main("walmgr_wal_segments_missing"), 0.0);
    assert_eq!(main("walmgr_backlog_segments"), 0.0);
    assert_eq!(of_server(&samples, "walmgr_server_up"), 1.0);
    assert!(of_server(&samples, "walmgr_archiver_archived_total") >= 2.0);

    // A segment in the middle is lost.
    fs::remove_file(site.object(&segments[segments.len() - 2])).unwrap();
    let holed = read(&site);
    assert_eq!(in_main(&holed, "walmgr_wal_segments_missing"), Some(1.0));
    assert_eq!(in_main(&holed, "walmgr_restorable_to_present"), Some(0.0));
}

#[test]
fn what_cannot_be_reached_is_a_number() {
    let mut site = Site::new(archiving().start());
    site.ok(&["setup"]);
    site.ok(&["backup"]);
    let away = site.repository().with_extension("away");
    fs::rename(site.repository(), &away).unwrap();
    site.cluster.psql("postgres", "select pg_create_restore_point('x'), pg_switch_wal()");
    let failing = || {
        let samples = read(&site);
        assert_eq!(in_main(&samples, "walmgr_up"), Some(0.0));
        assert_eq!(in_main(&samples, "walmgr_backups"), None, "not 0: nobody knows");
        assert_eq!(of_server(&samples, "walmgr_server_up"), 1.0);
        of_server(&samples, "walmgr_archiver_failed_total") > 0.0
            && of_server(&samples, "walmgr_archiver_ready_files") > 0.0
    };
    assert!(wait_until(PATIENCE, failing), "{}", site.cluster.log());
    fs::rename(&away, site.repository()).unwrap();
    site.cluster.stop(Stop::Fast);
    let samples = read(&site);
    assert_eq!(in_main(&samples, "walmgr_up"), Some(1.0));
    assert_eq!(in_main(&samples, "walmgr_backups"), Some(1.0));
    assert_eq!(of_server(&samples, "walmgr_server_up"), 0.0);
    assert_eq!(in_main(&samples, "walmgr_backlog_segments"), None);
}

#[test]
fn a_textfile_is_written_for_the_node_exporter() {
    let site = Site::new(archiving().start());
    site.ok(&["setup"]);
    let file = site.cluster.dir().join("walmgr.prom");
    let path = file.display().to_string();
    let args = ["info", "--prometheus", "--output", &path];
    let shown = site.ok(&["info", "--prometheus", "--output", &path, "--dry-run"]);
    assert!(shown.contains("walmgr_up") && !file.exists());
    assert_eq!(site.ok(&args), "");
    assert_eq!(in_main(&parse(&fs::read_to_string(&file).unwrap()), "walmgr_up"), Some(1.0));
    let beside = format!("{}/none/walmgr.prom", site.cluster.dir().display());
    let said = site.fails(8, &["info", "--prometheus", "--output", &beside]);
    assert!(said.contains(&beside), "{said}");
    site.fails(2, &["info", "--output", &path]);
}
