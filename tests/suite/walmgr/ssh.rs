//! The repository on another host: the same promises through ssh, which here is a script that can
//! be broken.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::SystemTime;

use pgq_tests::{Cluster, PATIENCE, Stop, Tree, wait_until};

use pgq_tests::site::{Site, alone, archiving, said, snapshot, write_owned, write_program};

use crate::walmgr::upgrade::upgraded;

/// `ssh HOST COMMAND` without a network: a script that runs the command here, unless the file that
/// stands for the network says otherwise.
struct Network {
    script: PathBuf,
    state: PathBuf,
}

impl Network {
    fn new(cluster: &Cluster) -> Self {
        let (script, state) = (cluster.dir().join("fake-ssh"), cluster.dir().join("network"));
        let text = format!(
            "#!/bin/sh\nstate=$(cat {})\n[ -z \"$state\" ] || eval \"$state\"\n\
             [ \"$1\" = -p ] || exit 99\n[ \"$3\" = other ] || exit 98\nshift 3\nexec sh -c \
             \"$*\"\n",
            state.display()
        );
        write_program(&script, text.as_bytes());
        write_owned(&state, b"");
        Self { script, state }
    }

    /// What the script does before anything else.
    fn set(&self, state: &str) {
        write_owned(&self.state, state.as_bytes());
    }

    fn place(&self, cluster: &Cluster, repository: &std::path::Path) -> String {
        format!(
            "repository.ssh.host = 'other'\nrepository.ssh.path = '{}'\n\
             repository.ssh.command = '{} -p 22'\nrepository.ssh.program = '{}'\n\
             repository.ssh.timeout = '30s'",
            repository.display(),
            self.script.display(),
            cluster.dir().join("walmgr").display(),
        )
    }
}

fn site(cluster: Cluster, repository: Option<&std::path::Path>) -> (Site, Network) {
    let network = Network::new(&cluster);
    // A blank and a quote, since the path goes through the other host's shell.
    let own = cluster.dir().join("it's there");
    let repository = repository.unwrap_or(&own).to_owned();
    let place = network.place(&cluster, &repository);
    let place = place
        .replace(&format!("'{}'", repository.display()), &format!("\"{}\"", repository.display()));
    (Site::at(cluster, &repository, place), network)
}

fn finished(cluster: &mut Cluster) -> bool {
    wait_until(PATIENCE, || {
        !cluster.is_running()
            || cluster.try_connect("postgres", "postgres").is_ok_and(|mut client| {
                let open = client.query_one("select not pg_is_in_recovery()", &[]);
                open.is_ok_and(|row| row.get(0))
            })
    })
}

#[test]
fn archive_backup_expire_and_recovery_work_on_another_host() {
    let (mut primary, _) = site(archiving().start(), None);
    primary.ok(&["setup"]);
    primary.cluster.psql("postgres", "create table t (n int)");
    primary.ok(&["backup", "--jobs", "3"]);
    primary.cluster.psql("postgres", "insert into t values (1)");
    primary.ok(&["backup", "--incremental"]);
    primary.cluster.psql("postgres", "insert into t values (2)");
    primary.archive_all();
    primary.ok(&["verify"]);
    primary.ok(&["expire", "--keep", "1"]);
    primary.ok(&["verify"]);
    primary.cluster.stop(Stop::Kill);

    let (mut copy, network) = site(Cluster::empty(Tree::Ours), Some(primary.repository()));
    copy.ok(&["restore", "--no-archive"]);
    // The other host goes away in mid-recovery: the server stops instead of opening early.
    network.set("exit 255");
    copy.cluster.start_without_waiting();
    assert!(wait_until(PATIENCE, || !copy.cluster.is_running()), "{}", copy.cluster.log());
    assert!(!copy.cluster.log().contains("selected new timeline"), "{}", copy.cluster.log());
    copy.cluster.stop_collected();
    network.set("");
    copy.cluster.start_without_waiting();
    assert!(finished(&mut copy.cluster) && copy.cluster.is_running(), "{}", copy.cluster.log());
    assert_eq!(copy.cluster.psql("postgres", "select count(*) from t"), "2");
}

#[test]
fn whatever_the_connection_does_nothing_untrue_is_said() {
    let (mut site, network) = site(archiving().set("archive_command", "false").start(), None);
    site.fails(4, &["archive-push", "pg_wal/000000010000000000000001"]);
    site.ok(&["setup", "--repository-only"]);
    site.cluster.psql("postgres", "create table t as select 1");
    let name = site.cluster.psql("postgres", "select pg_walfile_name(pg_current_wal_lsn())");
    site.cluster.psql("postgres", "select pg_switch_wal()");
    let path = site.cluster.dir().join("segment");
    write_owned(&path, &fs::read(site.cluster.data_dir().join("pg_wal").join(&name)).unwrap());
    site.cluster.stop(Stop::Fast);
    let push = ["archive-push", path.to_str().unwrap(), &name];
    let get = alone(&["archive-get", &name, "../fetched"]);
    let absent = alone(&["archive-get", "0000000100000000000000F0", "../fetched"]);

    // Refused, silent, another program, another host's greeting before the conversation, no walmgr
    // over there. Nobody is waited for as long as a busy host may need.
    let hasty = fs::read_to_string(site.config()).unwrap().replace("'30s'", "'500ms'");
    fs::write(site.config(), hasty).unwrap();
    for state in
        ["exit 255", "exec sleep 30", "cat", "echo Welcome to other", "exec sh -c no-walmgr"]
    {
        network.set(state);
        let output = site.command(&push).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{state}: {}", said(&push, &output));
        site.fails(200, &absent);
        assert!(!site.object(&name).exists(), "{state}");
    }
    // The other end dies or fails at each durable step. Whatever it left is the whole segment or
    // none.
    network.set("");
    site.configure("");
    for (step, there) in [
        ("opened=kill", false),
        ("written=kill", false),
        ("synced=kill", false),
        ("renamed=kill", true),
        ("durable=kill", true),
        ("written=enospc", false),
    ] {
        let output = site.at_failpoint(&format!("store.{step}"), &push);
        assert_eq!(output.status.code(), Some(4), "{step}: {}", said(&push, &output));
        site.fails(if there { 0 } else { 1 }, &get);
        site.ok(&push);
        site.ok(&push);
        site.ok(&get);
        let fetched = site.cluster.dir().join("fetched");
        assert!(fs::read(&fetched).unwrap() == fs::read(&path).unwrap());
        fs::remove_dir_all(site.object(&name).parent().unwrap()).unwrap();
    }
    site.ok(&push);
    site.fails(1, &absent);

    let mut bytes = fs::read(&path).unwrap();
    bytes[600_000] ^= 1;
    let other = site.cluster.dir().join("other-content");
    write_owned(&other, &bytes);
    site.fails(5, &["archive-push", other.to_str().unwrap(), &name]);
    // Damaged over there.
    let whole = fs::read(site.object(&name)).unwrap();
    write_owned(&site.object(&name), &whole[..whole.len() / 2]);
    site.fails(200, &get);
    site.ok(&push);
    site.ok(&get);
    // The disk over there is not mounted.
    let away = site.cluster.dir().join("away");
    fs::rename(site.repository(), &away).unwrap();
    site.fails(200, &absent);
    site.fails(4, &push);
    fs::rename(&away, site.repository()).unwrap();

    // Two contents at once: one wins everywhere.
    fs::remove_file(site.object(&name)).unwrap();
    let mut running = Vec::new();
    for number in 0..6 {
        let path = if number % 2 == 0 { &path } else { &other };
        let mut command = site.command(&["archive-push", path.to_str().unwrap(), &name]);
        running.push(command.stderr(Stdio::null()).spawn().unwrap());
    }
    let codes: Vec<_> =
        running.iter_mut().map(|child| child.wait().unwrap().code().unwrap()).collect();
    assert!(matches!(codes.as_slice(), [0, 5, 0, 5, 0, 5] | [5, 0, 5, 0, 5, 0]), "{codes:?}");
}

#[test]
fn locks_are_held_over_there_and_end_with_their_holder() {
    let (site, _) = site(archiving().start(), None);
    site.ok(&["setup"]);
    // A backup that stops while it holds the lock.
    let lock = site.repository().join("main/locks/backup");
    let free = || {
        let mut flock = std::process::Command::new("flock");
        flock.arg("-n").arg(&lock).arg("true").status().is_ok_and(|status| status.success())
    };
    site.ok(&["backup"]);
    assert!(free());
    let mut holder = site.command(&["backup"]);
    holder.env("WALMGR_FAILPOINT", "backup.copied=stop").stderr(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    // It says so once it has the lock.
    let mut lines = BufReader::new(holder.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(" started at ")));
    site.fails(3, &["backup"]);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(wait_until(PATIENCE, free), "the lock of a dead backup is held");
    site.ok(&["backup"]);
}

#[test]
fn the_other_end_keeps_to_its_directory() {
    let cluster = archiving().create();
    let (site, _) = site(cluster, None);
    let outside = site.cluster.dir().join("precious");
    write_owned(&outside, b"x");
    let mut init = site.cluster.run_as(site.cluster.dir().join("walmgr"));
    let mut child = init
        .arg("remote-store")
        .arg(site.repository())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for head in
        [r#""Init""#, r#"{"Remove":{"key":"../precious"}}"#, r#"{"Remove":{"key":"/etc/x"}}"#]
    {
        input.write_all(&u32::try_from(head.len()).unwrap().to_be_bytes()).unwrap();
        input.write_all(&[0; 4]).unwrap();
        input.write_all(head.as_bytes()).unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.matches("leads out of the repository").count(), 2, "{text}");
    assert!(outside.exists() && !snapshot(site.repository()).is_empty());
}

/// As a forced command of authorized_keys: whatever the client asks for, this runs.
fn append_only(site: &Site) -> String {
    format!(
        "exec {} remote-store --append-only \"{}\"",
        site.cluster.dir().join("walmgr").display(),
        site.repository().display()
    )
}

#[test]
fn an_archiving_host_goes_on_after_an_upgrade() {
    let (mut old, network) = site(archiving().start(), None);
    old.ok(&["setup"]);
    network.set(&append_only(&old));
    old.ok(&["backup"]);
    old.cluster.stop(Stop::Fast);
    let (new, network) = site(upgraded(&old.cluster), Some(old.repository()));
    network.set(&append_only(&new));
    let said = new.fails(2, &["stanza-upgrade"]);
    assert!(said.contains("only adds"), "{said}");
    assert!(!new.repository().join("main/2/stanza.json").exists());
    // Somebody who may do so says what it is.
    network.set("");
    new.ok(&["stanza-upgrade"]);
    network.set(&append_only(&new));
    new.ok(&["setup"]);
    new.ok(&["backup"]);
    let sql = "select pg_walfile_name(pg_switch_wal()) from pg_create_restore_point('x')";
    let segment = new.cluster.psql("postgres", sql);
    new.ok(&["archive-push", &format!("pg_wal/{segment}")]);
    new.ok(&["archive-get", &segment, "../fetched"]);
    new.ok(&["verify"]);
}

#[test]
fn an_archiving_host_may_add_and_nothing_else() {
    let (mut primary, network) = site(archiving().start(), None);
    primary.ok(&["setup", "--repository-only"]);
    let forced = append_only(&primary);
    network.set(&forced);
    // Archiving, backups, and all that reads work; setup finds that everything is there.
    primary.ok(&["setup"]);
    primary.cluster.psql("postgres", "create table t as select 1");
    for _ in 0..2 {
        primary.ok(&["backup"]);
        primary.archive_all();
    }
    primary.ok(&["verify"]);
    let name = primary.segments("00000001").remove(0);
    primary.ok(&["archive-get", &name, "../fetched"]);
    // Removing does not, however it is asked for.
    let before = snapshot(&primary.repository().join("main"));
    let said = primary.fails(2, &["expire", "--keep", "1"]);
    assert!(said.contains("only adds"), "{said}");
    let mut other =
        primary.command(&["remote-store", "--append-only", primary.repository().to_str().unwrap()]);
    let mut served = other.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let requests = [
        r#"{"Hello":{"version":1}}"#,
        r#""Init""#,
        r#"{"Remove":{"key":"walmgr.repo"}}"#,
        r#"{"Remove":{"key":"main/stanza.json"}}"#,
        r#"{"SetAside":{"key":"main/stanza.json"}}"#,
        r#"{"Lock":{"key":"other","exclusive":true}}"#,
        r#"{"Create":{"key":"other/stanza.json"}}"#,
        r#""Finish""#,
        r#"{"Create":{"key":"walmgr.other"}}"#,
        r#""Finish""#,
        r#"{"Sweep":{"directory":"main","seconds":0}}"#,
        r#"{"Lock":{"key":"walmgr.keys/locks/keys","exclusive":true}}"#,
        r#"{"Create":{"key":"walmgr.keys/0123456789abcdef.json"}}"#,
        r#""Finish""#,
        r#"{"Create":{"key":"main/backup/20000101T000000Z.standalone"}}"#,
        r#""Finish""#,
    ];
    {
        let stdin = served.stdin.as_mut().unwrap();
        for request in requests {
            stdin.write_all(&(request.len() as u32).to_be_bytes()).unwrap();
            stdin.write_all(&0_u32.to_be_bytes()).unwrap();
            stdin.write_all(request.as_bytes()).unwrap();
        }
    }
    let output = served.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.matches("only adds").count(), 10, "{said}");
    let locks = |all: Vec<(PathBuf, Vec<u8>)>| -> Vec<(PathBuf, Vec<u8>)> {
        all.into_iter().filter(|(path, _)| !path.to_str().unwrap().contains("/locks")).collect()
    };
    assert_eq!(locks(before), locks(snapshot(&primary.repository().join("main"))));
    assert!(!primary.repository().join("other").exists());
    // A first pin is one; it takes the place of none that somebody else has set.
    network.set("");
    let list: serde_json::Value =
        serde_json::from_str(&primary.ok(&["listbackups", "--json"])).unwrap();
    let ids: Vec<_> = (0..2).map(|at| list[at]["id"].as_str().unwrap()).collect();
    primary.ok(&["pin", ids[0], "--until", "2999-01-01", "--reason", "the operator's"]);
    network.set(&forced);
    for args in [&["pin", ids[0]][..], &["unpin", ids[0]]] {
        let said = primary.fails(2, args);
        assert!(said.contains("only adds"), "{said}");
    }
    primary.ok(&["pin", ids[1]]);
    primary.fails(2, &["pin", ids[1], "--until", "2999-01-01"]);
    let list = primary.ok(&["listbackups"]);
    assert!(list.contains("2999-01-01") && list.contains("the operator's"), "{list}");
    network.set("");
    primary.ok(&["unpin", ids[0]]);
    primary.ok(&["unpin", ids[1]]);
    // Nor can it make a repository where there is none.
    let empty = primary.cluster.dir().join("empty");
    let mut make = primary.cluster.run_as("mkdir");
    assert!(make.arg(&empty).status().unwrap().success());
    network.set(&forced.replace(primary.repository().to_str().unwrap(), empty.to_str().unwrap()));
    primary.fails(2, &["--repo", "main", "setup"]);
    assert_eq!(snapshot(&empty), Vec::new());
    network.set("");
    primary.ok(&["expire", "--keep", "1"]);
    primary.ok(&["verify"]);
    primary.cluster.stop(Stop::Fast);
}

/// The process itself and what it has started, whoever waits for that.
fn descendants(top: u32) -> Vec<u32> {
    let mut found = vec![top];
    let stat = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = |pid: u32| -> Option<u32> {
        stat(pid).rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let all = fs::read_dir("/proc").unwrap();
    let mut all: Vec<u32> =
        all.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).collect();
    all.sort_unstable();
    // As many rounds as there may be generations.
    for _ in 0..5 {
        for pid in &all {
            if !found.contains(pid) && parent(*pid).is_some_and(|parent| found.contains(&parent)) {
                found.push(*pid);
            }
        }
    }
    found
}

fn signal(name: &str, pids: &[u32]) {
    let pids = pids.iter().map(u32::to_string);
    std::process::Command::new("kill").arg(name).args(pids).status().unwrap();
}

/// Run walmgr up to where it stops itself, take its connections, and with them its locks, from it,
/// and let it go on: what it said, and its exit code.
fn without_its_lock(site: &Site, failpoint: &str, args: &[&str]) -> (Option<i32>, String) {
    interrupted(site, failpoint, args, |others| signal("-KILL", others))
}

/// The same, but do something else to it, or to the processes that it has started.
fn interrupted(
    site: &Site,
    failpoint: &str,
    args: &[&str],
    act: impl FnOnce(&[u32]),
) -> (Option<i32>, String) {
    let mut command = site.command(args);
    command.env("WALMGR_FAILPOINT", failpoint).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let is_in = |states: &[&str]| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().to_owned());
        state.is_some_and(|state| states.iter().any(|one| state.starts_with(one)))
    };
    assert!(wait_until(PATIENCE, || is_in(&["T", "Z"])), "{failpoint} was not reached");
    if is_in(&["Z"]) {
        panic!("{failpoint} was not reached: {}", said(args, &child.wait_with_output().unwrap()));
    }
    let others: Vec<u32> =
        descendants(child.id()).into_iter().filter(|pid| *pid != child.id()).collect();
    assert!(!others.is_empty());
    act(&others);
    signal("-CONT", &[child.id()]);
    let output = child.wait_with_output().unwrap();
    (output.status.code(), said(args, &output))
}

#[test]
fn what_lost_its_lock_makes_and_removes_nothing() {
    let cluster = archiving().start();
    let network = Network::new(&cluster);
    let place = |name: &str| cluster.dir().join(name);
    let ssh = network.place(&cluster, &place("far")).replace("repository.", "");
    let far = format!("[[repository]]\nname = 'far'\n{ssh}\n");
    let near = format!("[[repository]]\nname = 'near'\npath = '{}'\n", place("near").display());
    let repository = place("far");
    let lock = repository.join("main/locks/backup");
    let site = Site::at(cluster, &repository, String::new());
    site.configure(&far);
    site.ok(&["setup"]);
    let (code, text) = without_its_lock(&site, "backup.manifest=pause", &["backup"]);
    assert!(code == Some(4) && text.contains("is lost"), "{text}");
    assert_eq!(site.ok(&["listbackups", "--json"]), "[]");
    // The connection is there, and what it holds is nobody's lock any more.
    let removed = |_: &[u32]| fs::remove_file(&lock).unwrap();
    let (code, text) = interrupted(&site, "backup.manifest=pause", &["backup"], removed);
    assert!(code == Some(4) && text.contains("is lost"), "{text}");
    assert_eq!(site.ok(&["listbackups", "--json"]), "[]");
    site.ok(&["backup"]);
    site.ok(&["backup"]);

    // Nor does a copy, whose backup would be without what an expire has taken.
    site.configure(&format!("{far}{near}"));
    site.ok(&["--repo", "near", "setup", "--repository-only"]);
    // Backups are named by the second, or the next if that is taken: this one must not have the
    // name of one of the four over there.
    let second = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let last = second();
    assert!(wait_until(PATIENCE, || second() > last + 4));
    site.ok(&["--repo", "near", "backup"]);
    let count = || {
        let list = site.ok(&["--repo", "far", "listbackups", "--json"]);
        serde_json::from_str::<serde_json::Value>(&list).unwrap().as_array().unwrap().len()
    };
    let copy = ["repository", "copy", "--from", "near", "--to", "far"];
    let (code, text) = without_its_lock(&site, "copy.object=pause@2", &copy);
    // That of the lock, or of what was on its way there.
    assert!(code == Some(6) || code == Some(4), "{text}");
    assert_eq!(count(), 2, "{text}");
    site.ok(&copy);
    assert_eq!(count(), 3);

    let expire = ["--repo", "far", "expire", "--keep", "1"];
    let (code, text) = without_its_lock(&site, "expire.decided=pause", &expire);
    assert!(code == Some(4) && text.contains("is lost") && count() == 3, "{text}");
    site.ok(&expire);
    assert_eq!(count(), 1);
}
