//! Whom walmgr believes: a daemon of its own user, as far as a daemon may be believed; and what a
//! daemon bears.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pgq_tests::{PATIENCE, Stop, wait_until};

use crate::walmgr::daemon::{Daemon, answer, backlog, ready};
use pgq_tests::site::{
    Site, alone, archiving, has_libraries, snapshot, write_owned, write_program,
};

/// Answers every question with one line. It says on standard output that it listens, and then what
/// it was asked.
const FAKE: &str = "
import os, socket, sys
path, answer = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
os.chmod(path, 0o777)
listener.listen(100)
print('listening', flush=True)
while True:
    stream = listener.accept()[0]
    question = stream.makefile().readline()
    if question:
        print(question, end='', flush=True)
        stream.sendall(answer.encode() + b'\\n')
    stream.close()
";

/// A daemon that is none, in a directory that everybody may write to.
struct Fake {
    process: Child,
    socket: PathBuf,
}

impl Fake {
    /// Of the user `nobody`, or of the cluster's own. `None` where tests cannot change users.
    fn listen(site: &Site, stranger: bool, answer: &str) -> Option<Self> {
        let shared = site.cluster.dir().join("shared");
        let _ = fs::create_dir(&shared);
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
        let socket = shared.join("walmgr.sock");
        let _ = fs::remove_file(&socket);
        let mut command = match stranger {
            true => Command::new("setpriv"),
            false => site.cluster.run_as("/usr/bin/python3"),
        };
        if stranger {
            command.args([
                "--reuid",
                "65534",
                "--regid",
                "65534",
                "--clear-groups",
                "/usr/bin/python3",
            ]);
        }
        command.args(["-c", FAKE]).arg(&socket).arg(answer);
        let process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut fake = Self { process, socket };
        let mut line = String::new();
        BufReader::new(fake.process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        (!line.is_empty()).then_some(fake)
    }

    /// What it was asked, after its end.
    fn questions(mut self) -> String {
        self.process.kill().unwrap();
        let mut text = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

/// A stopped server with segments to archive, whose daemon's socket lies in the shared directory.
fn shared_socket(segments: u32) -> (Site, Vec<String>) {
    let mut site = backlog(segments);
    site.cluster.stop(Stop::Fast);
    let names = ready(&site);
    site.configure(&format!(
        "daemon.socket = '{}'",
        site.cluster.dir().join("shared/walmgr.sock").display()
    ));
    (site, names)
}

#[test]
fn another_users_daemon_acknowledges_nothing() {
    let (site, names) = shared_socket(4);
    let push = |name: &str| ["archive-push".to_owned(), format!("pg_wal/{name}")];
    // One of the server's own user is believed: it could change the data directory as well.
    let own = Fake::listen(&site, false, "\"Done\"").unwrap();
    site.ok(&push(&names[0]));
    assert!(!site.object(&names[0]).exists());
    assert!(own.questions().contains("\"Push\""));
    for (number, answer) in ["\"Done\"", "\"Busy\"", "{\"Failed\":[4,\"no\"]}"].iter().enumerate() {
        let Some(fake) = Fake::listen(&site, true, answer) else { return };
        let name = &names[number];
        let output = site.command(&push(name)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("belongs to a process of user id 65534"), "{said}");
        assert!(site.object(name).exists(), "acknowledged, and not stored");
        assert_eq!(fake.questions(), "", "a stranger was told something");
    }
    site.ok(&["verify"]);
}

#[test]
fn a_socket_in_the_current_directory_is_not_asked_unless_that_is_a_data_directory() {
    let (site, names) = shared_socket(4);
    site.configure("");
    let shared = site.cluster.dir().join("shared");
    // Of the own user, so that it would be believed: whoever runs walmgr elsewhere does not mean
    // that daemon.
    let mut left = names.iter();
    for (stranger, control) in [(false, false), (true, true)] {
        let Some(fake) = Fake::listen(&site, stranger, "\"Done\"") else { return };
        if control {
            fs::create_dir(shared.join("global")).unwrap();
            let control = site.cluster.data_dir().join("global/pg_control");
            let copy = shared.join("global/pg_control");
            fs::copy(control, &copy).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
        }
        for program in ["walmgr", "walmgr-push"] {
            let program = site.cluster.dir().join(program);
            if !program.exists() {
                continue;
            }
            let name = left.next().unwrap();
            let mut command = site.cluster.run_as(&program);
            command.current_dir(&shared).arg("--config").arg(site.config()).arg("archive-push");
            let output =
                command.arg(site.cluster.data_dir().join("pg_wal").join(name)).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(site.object(name).exists(), "{program:?} {stranger}: not stored; {said}");
            assert!(output.status.success(), "{program:?} {stranger}: {said}");
        }
        assert_eq!(fake.questions(), "");
    }
}

#[test]
fn a_strange_socket_in_the_data_directory_is_not_believed_by_command_or_library() {
    let (mut site, names) = shared_socket(2);
    site.configure("");
    let Some(fake) = Fake::listen(&site, true, "\"Done\"") else { return };
    let socket = site.cluster.data_dir().join("walmgr.sock");
    symlink(&fake.socket, &socket).unwrap();
    let mut small = site.cluster.run_as(site.archive_program());
    small.current_dir(site.cluster.data_dir()).arg("--config").arg(site.config());
    let output = small.args(["archive-push", &format!("pg_wal/{}", names[0])]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(site.object(&names[0]).exists(), "acknowledged, and not stored");
    if has_libraries() {
        site.cluster.start();
        site.ok(&["setup", "--library"]);
        site.archive_all();
        let log = site.cluster.log();
        assert!(log.contains("walmgr.sock belongs to a process of user id 65534"), "{log}");
        assert!(wait_until(PATIENCE, || ready(&site).is_empty()));
        assert!(names.iter().all(|name| site.object(name).exists()));
    }
    assert_eq!(fake.questions(), "");
    site.ok(&["verify"]);
}

#[test]
fn a_file_that_is_ready_is_taken_from_the_spool_alone() {
    let mut site = backlog(2);
    site.ok(&["setup"]);
    site.archive_all();
    site.cluster.stop(Stop::Fast);
    site.configure(&format!(
        "daemon.socket = '{}'",
        site.cluster.dir().join("shared/walmgr.sock").display()
    ));
    let name = site.segments("00000001").remove(0);
    let data = site.cluster.data_dir();
    let spool = data.join("walmgr.spool");
    fs::create_dir(&spool).unwrap();
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o777)).unwrap();
    let stored = fs::read(data.join("pg_wal").join(&name)).ok();
    write_owned(&spool.join("other.1"), b"x");
    symlink(data.join("PG_VERSION"), spool.join(format!("{name}.7"))).unwrap();
    let to = site.cluster.dir().join("fetched");
    let get = ["archive-get".to_owned(), name.clone(), to.display().to_string()];
    for place in [
        data.join("PG_VERSION"),
        spool.join("../PG_VERSION"),
        spool.join("other.1"),
        spool.join(format!("{name}.")),
        // A link, whatever it leads to.
        spool.join(format!("{name}.7")),
        PathBuf::from("PG_VERSION"),
    ] {
        for stranger in [false, true] {
            let answer = serde_json::json!({ "Ready": place }).to_string();
            let Some(_fake) = Fake::listen(&site, stranger, &answer) else { continue };
            let before = snapshot(&data);
            site.ok(&get);
            assert_eq!(before, snapshot(&data), "{}: moved", place.display());
            let fetched = fs::read(&to).unwrap();
            assert!(stored.as_ref().is_none_or(|stored| *stored == fetched));
            fs::remove_file(&to).unwrap();
        }
    }
    // "Absent" would end recovery early.
    if let Some(_fake) = Fake::listen(&site, true, "\"Absent\"") {
        site.ok(&get);
    }
    // And what is ready in the spool, as the daemon puts it there, is taken.
    write_owned(&spool.join(format!("{name}.8")), b"from the spool");
    let answer = serde_json::json!({ "Ready": spool.join(format!("{name}.8")) }).to_string();
    let _fake = Fake::listen(&site, false, &answer).unwrap();
    site.ok(&get);
    assert_eq!(fs::read(&to).unwrap(), b"from the spool");
}

#[test]
fn the_socket_is_private_and_strangers_are_not_served() {
    let (site, names) = shared_socket(1);
    fs::create_dir(site.cluster.dir().join("shared")).unwrap();
    let shared = site.cluster.dir().join("shared");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    // Whatever the umask.
    let mut command = site.cluster.run_as("sh");
    command.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(site.cluster.dir().join("walmgr"));
    let mut daemon = command.arg("--config").arg(site.config()).arg("daemon").spawn().unwrap();
    let socket = shared.join("walmgr.sock");
    assert!(wait_until(PATIENCE, || UnixStream::connect(&socket).is_ok()));
    let meta = fs::symlink_metadata(&socket).unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    for private in ["walmgr.spool", "walmgr.daemon.lock"] {
        let mode =
            fs::metadata(site.cluster.data_dir().join(private)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{private}");
    }
    // Even through a socket that somebody has opened to all.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    let question = serde_json::json!({
        "config": site.config(), "verb": "Push", "name": names[0],
        "path": site.cluster.data_dir().join("pg_wal").join(&names[0]),
    });
    let script = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
                  s.sendall(sys.argv[2].encode() + b'\\n')\nprint(s.makefile().read(), end='')";
    let mut stranger = Command::new("setpriv");
    stranger.args([
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "/usr/bin/python3",
        "-c",
    ]);
    let output = stranger.arg(script).arg(&socket).arg(question.to_string()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert!(!site.object(&names[0]).exists());
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(format!("{question}\n").as_bytes()).unwrap();
    assert_eq!(answer(&mut stream), "\"Done\"\n");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

/// About time: a client gives up when it hears nothing for 5 s, and silent connections are kept for
/// 10 s.
#[test]
fn silent_connections_do_not_keep_others_waiting() {
    let mut site = backlog(2);
    site.cluster.stop(Stop::Fast);
    let names = ready(&site);
    let _daemon = Daemon::start(&site, "");
    let socket = site.cluster.data_dir().join("walmgr.sock");
    let mut silent: Vec<_> = (0..200).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    // Some have begun to speak, and go on later.
    for stream in silent.iter_mut().take(50) {
        stream.write_all(b"{\"config\":").unwrap();
    }
    let ask = |name: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // A daemon that heard those who say nothing first would take 250 s.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let question = serde_json::json!({
            "config": site.config(), "verb": "Push", "name": name,
            "path": site.cluster.data_dir().join("pg_wal").join(name),
        });
        stream.write_all(format!("{question}\n").as_bytes()).unwrap();
        answer(&mut stream)
    };
    assert_eq!(ask(&names[0]), "\"Done\"\n");
    let question = serde_json::json!({
        "config": site.config(), "verb": "Push", "name": names[1],
        "path": site.cluster.data_dir().join("pg_wal").join(&names[1]),
    });
    let question = question.to_string();
    // On a busy host it may take more than it has.
    let heard = wait_until(PATIENCE, || {
        let mut slow = UnixStream::connect(&socket).unwrap();
        // Pace: longer than a thread that accepts listens.
        std::thread::sleep(Duration::from_millis(200));
        let said = slow.write_all(question.as_bytes()).and_then(|()| slow.write_all(b"\n"));
        let mut answer = String::new();
        said.is_ok() && slow.read_to_string(&mut answer).is_ok() && answer.ends_with("\"Done\"\n")
    });
    assert!(heard, "a client that takes its time is not heard");
    site.ok(&["verify"]);
}

#[test]
fn what_is_no_file_hangs_no_thread() {
    let mut site = backlog(3);
    site.cluster.stop(Stop::Fast);
    site.configure("daemon.jobs = 1");
    let names = ready(&site);
    let wal = site.cluster.data_dir().join("pg_wal");
    // Between the others, so that the daemon's only thread meets it while it looks ahead.
    let pipe = wal.join(&names[1]);
    let kept = fs::read(&pipe).unwrap();
    fs::remove_file(&pipe).unwrap();
    assert!(site.cluster.run_as("mkfifo").arg(&pipe).status().unwrap().success());
    let text = site.fails(8, &["archive-push", &format!("pg_wal/{}", names[1])]);
    assert!(text.contains("is no regular file"), "{text}");
    {
        let _daemon = Daemon::start(&site, "");
        for name in [&names[0], &names[2]] {
            site.ok(&["archive-push", &format!("pg_wal/{name}")]);
        }
        site.fails(8, &["archive-push", &format!("pg_wal/{}", names[1])]);
        fs::remove_file(&pipe).unwrap();
        write_owned(&pipe, &kept);
        site.ok(&["archive-push", &format!("pg_wal/{}", names[1])]);
    }
    site.ok(&["verify"]);
    // Nor in the repository.
    let object = site.object(&names[0]);
    fs::remove_file(&object).unwrap();
    assert!(site.cluster.run_as("mkfifo").arg(&object).status().unwrap().success());
    site.fails(6, &["verify"]);
    site.fails(200, &alone(&["archive-get", &names[0], "../fetched"]));
}

#[test]
fn a_daemon_outlives_a_restore_in_place_and_ends_with_its_directory() {
    let mut site = Site::new(archiving().start());
    site.ok(&["setup"]);
    site.ok(&["backup"]);
    site.archive_all();
    site.cluster.stop(Stop::Fast);
    let mut daemon = Daemon::start(&site, "");
    let data = site.cluster.data_dir();
    let name = site.segments("00000001").remove(0);
    for option in ["--delta", "--force"] {
        site.ok(&["restore", option, "--no-archive"]);
        assert!(data.join("walmgr.sock").exists(), "{option}");
        // Through the daemon: walmgr alone cannot reach the repository.
        let away = site.cluster.dir().join("away");
        site.ok(&["archive-get", &name, "pg_wal/RECOVERYXLOG"]);
        let next = site.segments("00000001").remove(1);
        assert!(wait_until(PATIENCE, || data.join("walmgr.spool").join(&next).exists()));
        fs::rename(site.repository(), &away).unwrap();
        site.ok(&["archive-get", &next, "pg_wal/RECOVERYXLOG"]);
        fs::rename(&away, site.repository()).unwrap();
    }
    assert!(daemon.is_running());
    // Who removes the socket gets another one.
    fs::remove_file(data.join("walmgr.sock")).unwrap();
    assert!(wait_until(PATIENCE, || UnixStream::connect(data.join("walmgr.sock")).is_ok()));
    // Another directory in the place of this one is none of this daemon's.
    fs::rename(&data, site.cluster.dir().join("old")).unwrap();
    assert!(wait_until(PATIENCE, || !daemon.is_running()));
}

#[test]
fn a_long_path_is_no_obstacle() {
    let mut site = backlog(2);
    site.cluster.stop(Stop::Fast);
    let name = ready(&site).remove(0);
    let data =
        site.cluster.dir().join("a-directory-with-a-name-of-its-own/".repeat(4)).join("data");
    fs::create_dir_all(data.parent().unwrap()).unwrap();
    let moved = Command::new("cp").arg("-a").arg(site.cluster.data_dir()).arg(&data).status();
    assert!(moved.unwrap().success());
    let text = fs::read_to_string(site.config()).unwrap().replace(
        &format!("cluster.data = '{}'", site.cluster.data_dir().display()),
        &format!("cluster.data = '{}'", data.display()),
    );
    fs::write(site.config(), text).unwrap();
    assert!(data.join("walmgr.sock").as_os_str().len() > 108);
    let mut daemon = site.command(&["daemon"]).spawn().unwrap();
    let directory = fs::File::open(&data).unwrap();
    let socket = format!("/proc/self/fd/{}/walmgr.sock", directory.as_raw_fd());
    // It is there before anybody listens.
    let listens = || UnixStream::connect(&socket).is_ok();
    assert!(wait_until(PATIENCE, listens), "it did not start");
    let path = data.join("pg_wal").join(&name);
    // From anywhere, and through the daemon: only a daemon stores what comes next.
    let mut push = site.command(&["archive-push", path.to_str().unwrap()]);
    let output = push.current_dir(Path::new("/")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(site.object(&name).exists());
    let next = ready(&site).remove(1);
    assert!(wait_until(PATIENCE, || site.object(&next).exists()), "nothing was stored ahead");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

/// Programs of PostgreSQL that note how they were called.
fn noting_programs(site: &Site) -> PathBuf {
    let directory = site.cluster.dir().join("noting");
    assert!(site.cluster.run_as("mkdir").arg(&directory).status().unwrap().success());
    let notes = directory.join("notes");
    write_owned(&notes, b"");
    for name in ["pg_basebackup", "pg_receivewal"] {
        let program = directory.join(name);
        let text = format!(
            "#!/bin/sh\ntr '\\0' ' ' < /proc/$$/cmdline >> {0}\necho \" [$PGPASSWORD]\" >> {0}\nexit 9\n",
            notes.display()
        );
        write_program(&program, text.as_bytes());
    }
    notes
}

#[test]
fn passwords_are_on_no_command_line() {
    let site = backlog(0);
    let notes = noting_programs(&site);
    let own = site.cluster.conninfo("postgres");
    for conninfo in [
        "host=/nowhere user=me password=s3cr3t sslmode=verify-full sslrootcert=/x",
        "host=/nowhere password = 's3cr3t' passfile=/x gssencmode=disable",
        "postgres://me:s3cr3t@nowhere/db?sslmode=verify-ca&sslrootcert=/x",
        "host=/nowhere password=old password=s3cr3t requirepeer=x",
    ] {
        site.configure(&format!("standby.primary_conninfo = \"{conninfo}\""));
        let text = fs::read_to_string(site.config()).unwrap().replace(
            &format!("cluster.bin = '{}'", site.cluster.tree().bin().display()),
            &format!("cluster.bin = '{}'", notes.parent().unwrap().display()),
        );
        let elsewhere = site.cluster.dir().join("elsewhere");
        let text = text.replace(
            &format!("cluster.data = '{}'", site.cluster.data_dir().display()),
            &format!("cluster.data = '{}'", elsewhere.display()),
        );
        let spool = site.cluster.dir().join("spool");
        fs::write(site.config(), format!("sync.directory = '{}'\n{text}", spool.display()))
            .unwrap();
        let said = site.fails(1, &["createslave", "--from-primary"]);
        assert!(!said.contains("s3cr3t"), "{said}");
        let noted = fs::read_to_string(&notes).unwrap();
        let (line, password) = noted.trim_end().rsplit_once(" [").unwrap();
        assert!(line.contains("pg_basebackup") && line.contains("nowhere"), "{noted}");
        assert!(!line.contains("s3cr3t") && !line.contains("old"), "{noted}");
        assert_eq!(password, "s3cr3t]", "it still gets there: {noted}");
        write_owned(&notes, b"");
    }
    // The receiver, of a server that is there.
    let conninfo = format!("{own} password=s3cr3t").replace('"', "\\\"");
    let text = fs::read_to_string(site.config()).unwrap();
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with("standby."))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(site.config(), format!("standby.primary_conninfo = \"{conninfo}\"\n{text}")).unwrap();
    site.command(&["sync"]).output().unwrap();
    let noted = fs::read_to_string(&notes).unwrap();
    assert!(noted.contains("pg_receivewal") && noted.contains("[s3cr3t]"), "{noted}");
    assert!(!noted.replace("[s3cr3t]", "").contains("s3cr3t"), "{noted}");
    assert!(noted.contains("application_name='walmgr'"), "{noted}");
    // What is not understood could have one anywhere.
    write_owned(&notes, b"");
    let text = text.replace(
        "sync.directory",
        "standby.primary_conninfo = \"host=x password='s3cr3t\"\nsync.directory",
    );
    fs::write(site.config(), text).unwrap();
    let said = site.fails(2, &["createslave", "--from-primary"]);
    assert!(!said.contains("s3cr3t"), "{said}");
    assert_eq!(fs::read_to_string(&notes).unwrap(), "");
}
