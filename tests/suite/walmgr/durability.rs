//! What is acknowledged was synced before: the order of system calls, as strace sees them.
//!
//! A kill does not lose what the kernel has, so killing cannot show this.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use pgq_tests::{PATIENCE, Stop, wait_until};

use crate::walmgr::daemon::{backlog, ready};
use pgq_tests::site::{Site, archiving, said};

/// A run of walmgr whose system calls that matter go to a file.
fn strace(site: &Site, file: &Path, args: &[&str]) -> Command {
    let mut strace = site.cluster.run_as("strace");
    strace
        .args(["-f", "-y", "-s", "300", "-o"])
        .arg(file)
        .args(["-e", "trace=fsync,fdatasync,renameat2,linkat,sendto,exit_group"])
        .arg(site.cluster.dir().join("walmgr"))
        .arg("--config")
        .arg(site.config())
        .args(args)
        .current_dir(site.cluster.data_dir());
    strace
}

fn trace(site: &Site, args: &[&str]) -> Vec<String> {
    let file = site.cluster.dir().join("trace");
    let output = strace(site, &file, args).output().expect("run strace");
    assert!(output.status.success(), "{}", said(args, &output));
    calls(&file)
}

/// The calls in the file, successful ones only, without process ids.
fn calls(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    // Calls that overlap with others' come in two lines. A sync counts from when it is done, what
    // depends on it from when it began.
    let mut begun = BTreeMap::new();
    let mut calls: Vec<String> = Vec::new();
    for line in text.lines() {
        let Some((process, call)) = line.split_once(' ') else { continue };
        let call = call.trim();
        if let Some(start) = call.strip_suffix("<unfinished ...>") {
            begun.insert(process, (calls.len(), start.trim_end()));
            calls.push(String::new());
        } else if let Some((_, rest)) = call.split_once(" resumed>") {
            let (at, start) = begun.remove(process).unwrap();
            let whole = format!("{start}{rest}");
            if start.starts_with('f') { calls.push(whole) } else { calls[at] = whole }
        } else {
            calls.push(call.to_owned());
        }
    }
    // Nobody comes back from the end: beside other threads it has no second line.
    for (at, start) in begun.into_values().filter(|(_, start)| start.starts_with("exit_group(")) {
        calls[at] = format!("{start})");
    }
    calls.retain(|call| {
        call.ends_with(" = 0") || call.starts_with("exit_group") || call.starts_with("sendto")
    });
    calls
}

fn is_sync(call: &str, path: &str) -> bool {
    (call.starts_with("fsync(") || call.starts_with("fdatasync("))
        && call.contains(&format!("{path}>"))
}

/// Every name that was given was synced before and its directory after; the names, in order.
fn assert_synced(calls: &[String]) -> Vec<String> {
    let end = calls.iter().rposition(|call| call.starts_with("exit_group(0)")).expect("an end");
    let mut names = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        if !call.starts_with("renameat2(") && !call.starts_with("linkat(") {
            continue;
        }
        // renameat2(3</dir>, ".name.tmp", 3</dir>, "name", RENAME_NOREPLACE) = 0
        let directory = call.split(['<', '>']).nth(1).expect("a directory").to_owned();
        // A second repository acknowledges nothing, and may be cut off at the end.
        if directory.contains("/second/") {
            continue;
        }
        let quoted: Vec<&str> = call.split('"').collect();
        let (from, to) = (quoted[1], quoted[3]);
        assert!(call.contains("NOREPLACE") || call.starts_with("linkat("), "{call}");
        let synced = calls[..at].iter().any(|call| is_sync(call, &format!("{directory}/{from}")));
        assert!(synced, "{to} was named before it was synced:\n{calls:#?}");
        let durable = calls[at..end].iter().any(|call| is_sync(call, &directory));
        assert!(durable, "the directory of {to} was not synced:\n{calls:#?}");
        names.push(to.to_owned());
    }
    names
}

#[test]
fn nothing_is_acknowledged_before_it_is_synced() {
    let site = Site::new(archiving().set("archive_command", "false").start());
    site.ok(&["setup", "--repository-only"]);
    site.cluster.psql("postgres", "create table t as select 1");
    let name = site.cluster.psql("postgres", "select pg_walfile_name(pg_current_wal_lsn())");
    site.cluster.psql("postgres", "select pg_switch_wal()");
    let push = ["archive-push", &format!("pg_wal/{name}")];
    let calls = trace(&site, &push);
    assert_eq!(assert_synced(&calls), [name.as_str()]);
    // Directories that were made for it are synced into theirs.
    for above in ["main/wal", "main/wal/00000001"] {
        assert!(calls.iter().any(|call| is_sync(call, above)), "{above}: {calls:#?}");
    }
    // The first pusher may have died before it synced anything, so the second does it again.
    let calls = trace(&site, &push);
    let object = format!("main/wal/00000001/00000000/{name}");
    let directory = "main/wal/00000001/00000000";
    for path in [object.as_str(), directory] {
        assert!(calls.iter().any(|call| is_sync(call, path)), "{path}: {calls:#?}");
    }

    // A backup: packs, then the manifest, then what makes it exist.
    site.ok(&["setup"]);
    let names = assert_synced(&trace(&site, &["backup"]));
    let count = names.len();
    assert!(count >= 3, "{names:?}");
    assert!(names[count - 1].ends_with(".json"), "{names:?}");
    assert!(names[count - 2].ends_with(".manifest"), "{names:?}");
}

/// The daemon stores several files together, and each is durable before the daemon says so.
#[test]
fn the_daemon_answers_for_what_is_synced() {
    let mut site = backlog(20);
    site.cluster.stop(Stop::Fast);
    let names = ready(&site);
    let file = site.cluster.dir().join("trace");
    let mut daemon = strace(&site, &file, &["daemon"]).spawn().unwrap();
    let socket = site.cluster.data_dir().join("walmgr.sock");
    // It is there before anybody listens.
    assert!(wait_until(PATIENCE, || UnixStream::connect(&socket).is_ok()));
    for name in &names {
        site.ok(&["archive-push", &format!("pg_wal/{name}")]);
    }
    // Not strace, whose command line goes on with this.
    let command_line = format!("^{}/walmgr --config ", site.cluster.dir().display());
    let stopped = site.cluster.run_as("pkill").args(["-TERM", "-f", &command_line]).status();
    assert!(stopped.unwrap().success());
    assert!(daemon.wait().unwrap().success());

    let calls = calls(&file);
    let mut named = assert_synced(&calls);
    named.sort();
    assert_eq!(named, names);
    let answers: Vec<usize> =
        (0..calls.len()).filter(|at| calls[*at].contains(r#""\"Done\"\n""#)).collect();
    assert_eq!(answers.len(), names.len(), "{calls:#?}");
    // They were asked for in order, so the first answers are for the first names.
    let directory = "main/wal/00000001/00000000";
    for (name, answered) in names.iter().zip(answers) {
        let before = &calls[..answered];
        let at = before.iter().position(|call| call.contains(&format!(r#", "{name}""#)));
        let at = at.unwrap_or_else(|| panic!("{name} had no name yet:\n{calls:#?}"));
        assert!(before[at..].iter().any(|call| is_sync(call, directory)), "{name}:\n{calls:#?}");
    }
    let syncs = calls.iter().filter(|call| is_sync(call, directory)).count();
    // Fewer than names, or nothing was stored together.
    assert!(syncs < names.len(), "{syncs} for {} names", names.len());
}
