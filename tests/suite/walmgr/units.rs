//! The units of systemd: what stays is started again whatever ended it, and nothing is passed over
//! in silence.

use std::fs;
use std::path::Path;

/// Name and text of walmgr's units.
fn units() -> Vec<(String, String)> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd");
    let names = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    let names: Vec<_> = names.filter(|name| name.starts_with("walmgr")).collect();
    assert_eq!(names.len(), 8, "{names:?}");
    names
        .into_iter()
        .map(|name| (name.clone(), fs::read_to_string(place.join(name)).unwrap()))
        .collect()
}

#[test]
fn no_unit_is_skipped_where_its_configuration_is_missing() {
    for (name, text) in units() {
        let skips =
            |line: &&str| line.starts_with("Condition") || line.starts_with("ExecCondition");
        assert_eq!(text.lines().find(skips), None, "{name}");
    }
}

#[test]
fn a_daemon_is_started_again_whatever_ended_it() {
    let mut daemons = 0;
    for (name, text) in units() {
        if !text.contains("\nType=exec\n") {
            continue;
        }
        daemons += 1;
        for line in ["StartLimitIntervalSec=0", "Restart=on-failure"] {
            assert!(text.lines().any(|one| one == line), "{name}: {line}");
        }
        assert!(!text.contains("RestartPreventExitStatus"), "{name}");
    }
    assert_eq!(daemons, 2);
}
