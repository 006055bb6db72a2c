//! Arrows between crates point one way, and unsafe code stays behind its fences.

use std::collections::BTreeMap;

use crate::Finding;
use crate::source::Source;

/// Each crate's floor. It may use what lies on lower floors only.
const FLOORS: [(&str, usize); 19] = [
    // Pure: neither PostgreSQL nor files, sockets or clocks.
    ("pgq_ext/core", 0),
    ("pgq_ext/replica", 0),
    ("pgq_ticker_bgw/core", 0),
    ("walmgr/protocol", 0),
    ("client/ini", 1),
    ("client/syslog", 1),
    ("client/connect", 2),
    ("client/tls", 3),
    // The fence knows nothing of queues.
    ("pgq_ext/pg", 1),
    ("pgq_ticker_bgw", 2),
    ("pgq_ext", 3),
    ("client", 4),
    ("walmgr", 4),
    ("walmgr/archive", 4),
    ("walmgr/push", 4),
    ("walmgr/tls", 5),
    ("pgq_ext/pg/tests", 5),
    ("tests", 5),
    ("tests/lint", 5),
];
/// What no crate of the lowest floor depends on.
const OUTSIDE: [&str; 6] = ["pgrx", "postgres", "rustix", "tokio", "openssl", "ureq"];
/// Where unsafe code may be: the fences.
const FENCES: [&str; 3] =
    ["pgq_ext/pg/", "walmgr/archive/src/module.rs", "walmgr/push/src/system/"];

pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    let manifests: Vec<Manifest<'_>> = sources.iter().filter_map(manifest).collect();
    let floors: BTreeMap<&str, usize> = FLOORS.into();
    let floor = |folder: &str| floors.get(folder).copied();
    let packages: BTreeMap<&str, &str> =
        manifests.iter().map(|manifest| (manifest.name, manifest.folder)).collect();
    let mut findings = Vec::new();
    for Manifest { path, folder, dependencies, .. } in &manifests {
        let mut find = |line, what| findings.push(Finding::new(path, line, "layers", what));
        let Some(own) = floor(folder) else {
            find(1, "a new crate: give it a floor in tests/lint/src/layers.rs".to_owned());
            continue;
        };
        for &(line, name) in dependencies {
            let below = packages.get(name).and_then(|folder| floor(folder));
            if below.is_some_and(|below| below >= own) {
                find(line, format!("{name} does not lie on a lower floor"));
            }
            if own == 0 && OUTSIDE.contains(&name) {
                find(line, format!("a pure crate does not know {name}"));
            }
        }
    }
    findings.extend(sources.iter().flat_map(unsafe_code));
    findings
}

struct Manifest<'a> {
    path: &'a str,
    folder: &'a str,
    name: &'a str,
    dependencies: Vec<(usize, &'a str)>,
}

/// A crate's manifest. The workspace's is none.
fn manifest(source: &Source) -> Option<Manifest<'_>> {
    let folder = source.path.strip_suffix("/Cargo.toml")?;
    let (mut section, mut name, mut dependencies) = ("", "", Vec::new());
    for (index, line) in source.text.lines().enumerate() {
        if line.starts_with('[') {
            section = line;
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let key = key.trim();
        if section == "[package]" && key == "name" {
            name = value.trim().trim_matches('"');
        }
        if section == "[dependencies]" {
            dependencies.push((index + 1, key.trim_end_matches(".workspace")));
        }
    }
    Some(Manifest { path: &source.path, folder, name, dependencies })
}

fn unsafe_code(source: &Source) -> Vec<Finding> {
    let Some(rust) = &source.rust else { return Vec::new() };
    if FENCES.iter().any(|fence| source.path.starts_with(fence)) {
        return Vec::new();
    }
    let is_unsafe = |line: &str| {
        let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.any(|word| word == "unsafe")
    };
    let lines = rust.code.lines().enumerate().filter(|(_, line)| is_unsafe(line));
    lines
        .map(|(index, _)| Finding::new(&source.path, index + 1, "unsafe", "outside of the fences"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<(String, usize)> {
        let sources: Vec<Source> =
            files.iter().map(|(path, text)| Source::new(path, text)).collect();
        check(&sources).into_iter().map(|finding| (finding.file, finding.line)).collect()
    }

    #[test]
    fn an_arrow_upwards_an_impure_core_and_a_crate_without_a_floor_are_found() {
        let core = "[package]\nname = \"core\"\n[dependencies]\nworker.workspace = true\n\
                    pgrx = \"1\"\n[dev-dependencies]\npostgres = \"1\"\n";
        let worker = "[package]\nname = \"worker\"\n[dependencies]\ncore.workspace = true\n";
        let files = [
            ("pgq_ext/core/Cargo.toml", core),
            ("pgq_ticker_bgw/Cargo.toml", worker),
            ("new/Cargo.toml", "[package]\nname = \"new\"\n"),
        ];
        let expected = [("pgq_ext/core/Cargo.toml", 4), ("pgq_ext/core/Cargo.toml", 5)];
        let expected = expected.into_iter().chain([("new/Cargo.toml", 1)]);
        let expected: Vec<_> = expected.map(|(file, line)| (file.to_owned(), line)).collect();
        assert_eq!(found(&files), expected);
    }

    #[test]
    fn unsafe_code_is_found_outside_of_the_fences() {
        let block = "// unsafe\nfn unsafe_name() {}\nfn f() { unsafe { g() } }\n";
        assert_eq!(found(&[("pgq_ext/pg/src/a.rs", block)]), []);
        assert_eq!(found(&[("walmgr/src/a.rs", block)]), [("walmgr/src/a.rs".to_owned(), 3)]);
    }
}
