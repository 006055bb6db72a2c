//! walmgr-push: success only for the daemon's plain word, and otherwise walmgr itself, with its
//! exit codes.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use pgq_tests::Stop;

use crate::walmgr::daemon::{Daemon, backlog, ready};
use pgq_tests::site::{Site, write_owned, write_program};

/// Run the program as the server's archiver would.
fn push(site: &Site, program: &Path, args: &[&str]) -> Output {
    let mut command = site.cluster.run_as(program);
    command.current_dir(site.cluster.data_dir()).args(args).output().unwrap()
}

/// The program where walmgr is not beside it, so that it cannot have been walmgr that succeeded.
fn alone(site: &Site) -> PathBuf {
    let directory = site.cluster.dir().join("alone");
    fs::create_dir(&directory).unwrap();
    let program = directory.join("walmgr-push");
    write_program(&program, &fs::read(site.cluster.dir().join("walmgr-push")).unwrap());
    program
}

fn stopped_backlog(segments: u32) -> (Site, Vec<String>) {
    let mut site = backlog(segments);
    site.cluster.stop(Stop::Fast);
    let names = ready(&site);
    (site, names)
}

#[test]
fn the_daemon_is_asked_without_walmgr() {
    let (site, names) = stopped_backlog(3);
    let _daemon = Daemon::start(&site, "");
    let (program, config) = (alone(&site), site.config());
    let data = site.cluster.data_dir().canonicalize().unwrap();
    for path in [
        format!("pg_wal/{}", names[0]),
        format!("{}/pg_wal/{}", data.display(), names[1]),
        // Once more: it is stored, and the same.
        format!("./pg_wal/{}", names[0]),
    ] {
        let output =
            push(&site, &program, &["--config", config.to_str().unwrap(), "archive-push", &path]);
        assert!(output.status.success(), "{path}: {output:?}");
        assert!(output.stderr.is_empty() && output.stdout.is_empty(), "{output:?}");
    }
    assert!(site.object(&names[0]).exists() && site.object(&names[1]).exists());
    site.ok(&["verify"]);
}

#[test]
fn without_a_daemon_it_is_walmgr() {
    let (site, names) = stopped_backlog(2);
    let (program, config) = (site.cluster.dir().join("walmgr-push"), site.config());
    let archive_push = |path: &str| {
        push(&site, &program, &["--config", config.to_str().unwrap(), "archive-push", path])
    };
    let path = format!("pg_wal/{}", names[0]);
    assert_eq!(archive_push(&path).status.code(), Some(0));
    assert!(site.object(&names[0]).exists());
    // What walmgr says of it comes through: other content, a file that is not there, a call that is
    // none.
    let file = site.cluster.data_dir().join(&path);
    let mut bytes = fs::read(&file).unwrap();
    bytes[500_000] ^= 1;
    write_owned(&file, &bytes);
    let output = archive_push(&path);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("other content"), "{output:?}");
    assert_eq!(archive_push(&format!("pg_wal/{}9", names[1])).status.code(), Some(2));
    assert_eq!(push(&site, &program, &[]).status.code(), Some(2));
    let version = push(&site, &program, &["--version"]);
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("walmgr "), "{version:?}");
    // And where walmgr is not, it says so.
    let output = push(
        &site,
        &alone(&site),
        &["--config", config.to_str().unwrap(), "archive-push", &format!("pg_wal/{}", names[1])],
    );
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.starts_with("walmgr-push: ERROR: cannot run walmgr"), "{text}");
}

#[test]
fn paths_that_are_out_of_the_ordinary_are_left_to_walmgr() {
    let (site, names) = stopped_backlog(1);
    let _daemon = Daemon::start(&site, "");
    let (alone, config) = (alone(&site), site.config());
    let wal = site.cluster.data_dir().canonicalize().unwrap().join("pg_wal");
    let quoted = site.cluster.dir().join("a \"quoted\\ \u{fc}");
    symlink(&wal, &quoted).unwrap();
    // The longest path that Linux takes.
    let rest = wal.as_os_str().len() + names[0].len();
    let slashes = "/".repeat(4095 - rest);
    for path in [
        format!("{}/{}", quoted.display(), names[0]),
        // Too long to be asked about, and still a path.
        format!("{}{slashes}{}", wal.display(), names[0]),
    ] {
        let args = ["--config", config.to_str().unwrap(), "archive-push", &path];
        assert_eq!(push(&site, &alone, &args).status.code(), Some(1), "{path}");
        let output = push(&site, &site.cluster.dir().join("walmgr-push"), &args);
        assert_eq!(output.status.code(), Some(0), "{path}: {output:?}");
    }
}

#[test]
fn only_the_plain_word_is_success() {
    type Talk = fn(UnixStream);
    let talks: [(&str, Talk, bool); 8] = [
        ("gone at once", drop, false),
        ("gone after the question", |mut stream| drop(question(&mut stream)), false),
        ("cut off", |stream| answer(stream, &["\"Done"]), false),
        ("no end of line", |stream| answer(stream, &["\"Done\" "]), false),
        ("not mine", |stream| answer(stream, &["\"NotMine\"\n"]), false),
        ("failed", |stream| answer(stream, &["{\"Failed\":[4,\"\\\"Done\\\"\"]}\n"]), false),
        ("stored", |stream| answer(stream, &["\"Done\"\n"]), true),
        ("stored, in pieces", |stream| answer(stream, &["\"", "Do", "ne", "\"", "\n"]), true),
    ];
    let (site, names) = stopped_backlog(1);
    let (program, config) = (alone(&site), site.config());
    let socket = site.cluster.data_dir().join("walmgr.sock");
    let path = format!("pg_wal/{}", names[0]);
    for (what, talk, is_stored) in talks {
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
        let daemon = std::thread::spawn(move || talk(listener.accept().unwrap().0));
        let output =
            push(&site, &program, &["--config", config.to_str().unwrap(), "archive-push", &path]);
        daemon.join().unwrap();
        // Not a signal: the archiver would restart.
        assert_eq!(output.status.code(), Some(i32::from(!is_stored)), "{what}: {output:?}");
    }
}

fn question(stream: &mut UnixStream) -> String {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with('\n') {
        stream.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    text
}

fn answer(mut stream: UnixStream, parts: &[&str]) {
    let question = question(&mut stream);
    assert!(question.contains("\"verb\":\"Push\",\"name\":\"0000"), "{question}");
    for part in parts {
        stream.write_all(part.as_bytes()).unwrap();
        // Pace: an answer that comes in parts.
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn setup_makes_it_the_archive_command() {
    let site = backlog(1);
    site.ok(&["setup"]);
    let command = site.cluster.psql("postgres", "show archive_command");
    assert!(command.contains("/walmgr-push --config "), "{command}");
    assert!(command.ends_with(" archive-push %p"), "{command}");
    site.ok(&["check"]);
}
