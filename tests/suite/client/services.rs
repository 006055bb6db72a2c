//! Services by INI file: what they do, what signals do to them, and the service manager.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use pgq_tests::{PATIENCE, Scratch, Tree, scratch_database_on, wait_until};
use postgres::Client;

use pgq_tests::programs::{
    create_queue, database_on, dsn, insert_and_tick, pgq, stderr, tick_always, value,
};

/// A directory for INI, pid and log files, a queue database and a target.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) source: Scratch,
    target: Scratch,
    pub(crate) here: Client,
    pub(crate) far: Client,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::on(database_on(Tree::Ours))
    }

    /// With this database as the source.
    pub(crate) fn on(source: Scratch) -> Self {
        let target = scratch_database_on(Tree::Ours);
        let (mut here, mut far) = (source.connect(), target.connect());
        far.batch_execute("create extension pgq; create extension pgq_ext cascade").unwrap();
        create_queue(&mut here, "q", "job");
        create_queue(&mut far, "copy", "reader");
        Self { dir: tempfile::tempdir().unwrap(), source, target, here, far }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Write `job.ini` for a service that ends when there is nothing to do.
    pub(crate) fn ini_once(&self, section: &str, keys: &str) -> String {
        let path = self.ini(section, keys);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("loop_delay = 0.05", "loop_delay = 0")).unwrap();
        path
    }

    /// Write `job.ini` for a service.
    fn ini(&self, section: &str, keys: &str) -> String {
        let path = self.path("job.ini");
        let text = format!(
            "[DEFAULT]\nbase = {base}\n[{section}]\nsrc_db = {source}\ndst_db = \
             {target}\nqueue_name = q\n\
             logfile = %(base)s/%(job_name)s.log\npidfile = %(base)s/%(job_name)s.pid\nloop_delay \
             = 0.05\n{keys}\n",
            base = self.dir.path().display(),
            source = dsn(&self.source),
            target = dsn(&self.target),
        );
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("job.log")).unwrap_or_default()
    }

    pub(crate) fn logged(&self, words: &str) -> bool {
        wait_until(PATIENCE, || self.log().contains(words))
    }
}

/// Run an INI to its end and expect success.
pub(crate) fn run_once(ini: &str) {
    let output = pgq(&["run", ini]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

fn start(ini: &str) -> Child {
    pgq(&["run", ini]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

pub(crate) fn signal(child: &Child, name: &str) {
    Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
}

pub(crate) fn ends(child: &mut Child) -> Option<i32> {
    assert!(wait_until(PATIENCE, || child.try_wait().unwrap().is_some()));
    child.wait().unwrap().code()
}

#[test]
fn queue_mover_moves_and_writes_its_stats_line() {
    let mut site = Site::new();
    insert_and_tick(&mut site.here, "q", 0, 100);
    run_once(&site.ini_once("queue_mover3", "dst_queue_name = copy"));
    assert_eq!(value(&mut site.far, "select count(*) from pgq.event_template"), "100");
    assert!(site.log().contains("{count: 100, duration: "), "{}", site.log());
    assert!(site.log().contains(", idle: "), "{}", site.log());
    assert!(!site.path("job.pid").exists());
}

#[test]
fn twice_the_same_key_is_an_error() {
    let site = Site::new();
    let ini = site.ini("queue_mover3", "loop_delay = 0\nloop_delay = 1");
    let output = pgq(&["run", &ini]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("appears twice"), "{}", stderr(&output));
}

#[test]
fn register_and_unregister_are_orders() {
    let mut site = Site::new();
    let ini = site.ini("queue_mover3", "consumer_name = fresh");
    let order = |switch: &str| {
        let output = pgq(&["run", &ini, switch]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(order("--register"), "consumer \"fresh\" registered on queue \"q\"\n");
    assert_eq!(order("--register"), "consumer \"fresh\" was registered already on queue \"q\"\n");
    assert_eq!(order("--unregister"), "consumer \"fresh\" unregistered on queue \"q\"\n");
    assert_eq!(value(&mut site.here, "select count(*) from pgq.consumer"), "1");
}

#[test]
fn bad_files_end_with_code_2_and_name_the_place() {
    let site = Site::new();
    for (section, keys, words) in [
        ("queue_mover3", "dst_queue = x", "dst_queue: unknown key"),
        ("queue_muver3", "", "no section is a service"),
        ("queue_mover3", "loop_delay_x", "neither [section] nor"),
        ("queue_mover3", "pgq_keep_lag = soon", "not an interval"),
        ("queue_mover3", "exception_sleep = %(nowhere)s", "nowhere"),
        ("queue_splitter3", "queue_field = extra9", "no field"),
        ("pgq_consumer", "db = x\nexec = true", "unknown key"),
    ] {
        let output = pgq(&["run", &site.ini(section, keys)]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{keys}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
}

/// The key is for who starts services; whoever runs the file means it.
#[test]
fn a_disabled_job_can_be_run_and_its_key_must_be_a_boolean() {
    let site = Site::new();
    run_once(&site.ini_once("queue_mover3", "dst_queue_name = copy\ndisabled = 1"));
    let output = pgq(&["run", &site.ini("queue_mover3", "disabled = perhaps")]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("disabled: \"perhaps\""), "{}", stderr(&output));
}

#[test]
fn signals_reload_finish_and_end() {
    let mut site = Site::new();
    let ini = site.ini("queue_mover3", "dst_queue_name = copy");
    let notify = site.path("notify");
    let socket = UnixDatagram::bind(&notify).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut child = pgq(&["run", &ini])
        .env("NOTIFY_SOCKET", &notify)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut message = [0; 100];
    let length = socket.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1");
    assert!(site.logged("service queue_mover3 starts"));
    let second = pgq(&["run", &ini]).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(stderr(&second).contains("another process is running"), "{}", stderr(&second));

    // A reload opens the log again and takes the new settings; a broken file changes nothing.
    fs::rename(site.path("job.log"), site.path("old.log")).unwrap();
    site.ini("queue_mover3", "nonsense = 1");
    signal(&child, "HUP");
    assert!(site.logged("starts"));
    let old = fs::read_to_string(site.path("old.log")).unwrap();
    assert!(old.contains("nonsense: unknown key; going on as before"), "{old}");
    site.ini("queue_mover3", "dst_queue_name = elsewhere");
    site.far.batch_execute("select pgq.create_queue('elsewhere')").unwrap();
    tick_always(&mut site.far);
    signal(&child, "HUP");
    assert!(wait_until(PATIENCE, || site.log().matches("starts").count() >= 2));
    insert_and_tick(&mut site.here, "q", 0, 10);
    let arrived = "select count(*) from pgq.event_template e where tableoid::regclass::text like
                     (select queue_data_pfx || '%' from pgq.queue where queue_name = 'elsewhere')";
    assert!(wait_until(PATIENCE, || value(&mut site.far, arrived) == "10"));
    signal(&child, "INT");
    assert_eq!(ends(&mut child), Some(0));
    assert!(site.log().contains("job: stopped"), "{}", site.log());
    assert!(!site.path("job.pid").exists());

    let mut child = start(&ini);
    assert!(wait_until(PATIENCE, || site.path("job.pid").exists()));
    signal(&child, "TERM");
    assert!(ends(&mut child).is_none_or(|code| code == 0));
}

#[test]
fn unreachable_server_is_waited_for_and_said_once() {
    let site = Site::new();
    let ini = site.ini("queue_mover3", "");
    let text = fs::read_to_string(&ini).unwrap();
    let text = text.replace(&dsn(&site.source), "host=127.0.0.1 port=1 dbname=x user=y");
    fs::write(&ini, text).unwrap();
    let mut child = start(&ini);
    assert!(site.logged("cannot connect to 127.0.0.1:1/x as y"));
    signal(&child, "INT");
    assert_eq!(ends(&mut child), Some(0));
    assert_eq!(site.log().matches("cannot connect").count(), 1, "{}", site.log());
}

#[test]
fn queue_dropped_under_a_service_ends_it_with_code_4() {
    let mut site = Site::new();
    let ini = site.ini("queue_mover3", "dst_queue_name = copy");
    let mut child = start(&ini);
    assert!(site.logged("starts"));
    insert_and_tick(&mut site.here, "q", 0, 5);
    let arrived = "select count(*) from pgq.event_template";
    assert!(wait_until(PATIENCE, || value(&mut site.far, arrived) == "5"));
    site.here.batch_execute("select pgq.drop_queue('q', true)").unwrap();
    assert_eq!(ends(&mut child), Some(4), "{}", site.log());
    assert_eq!(site.log().matches("ERROR").count(), 1, "{}", site.log());
}

#[test]
fn consumer_unregistered_under_a_service_ends_it_with_code_4() {
    let mut site = Site::new();
    let ini = site.ini("queue_mover3", "dst_queue_name = copy");
    let mut child = start(&ini);
    assert!(site.logged("starts"));
    insert_and_tick(&mut site.here, "q", 0, 5);
    let arrived = "select count(*) from pgq.event_template";
    assert!(wait_until(PATIENCE, || value(&mut site.far, arrived) == "5"));
    site.here.batch_execute("select pgq.unregister_consumer('q', 'job')").unwrap();
    assert_eq!(ends(&mut child), Some(4), "{}", site.log());
    assert_eq!(site.log().matches("ERROR").count(), 1, "{}", site.log());
    assert!(site.log().contains("q/job"), "{}", site.log());
}

#[test]
fn service_manager_starts_and_stops() {
    let mut site = Site::new();
    let ini = site.ini("queue_mover3", "dst_queue_name = copy");
    fs::write(site.path("other.ini"), "[something]\nx = 1\n").unwrap();
    let registry = site.path("skytools.ini");
    fs::write(
        &registry,
        format!(
            "[scriptmgr]\njob_name = scriptmgr\nconfig_list = {0}/job.ini, {0}/oth*.ini, \
             {0}/sky*.ini\n[queue_mover3]\n",
            site.dir.path().display()
        ),
    )
    .unwrap();
    let registry = registry.display().to_string();
    let services = |arguments: &[&str]| {
        let output = pgq(&["services", &registry]).args(arguments).output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr(&output),
        )
    };
    let (code, out, _) = services(&["status", "-a"]);
    assert_eq!((code, out.as_str()), (1, " STOPPED  [queue_mover3] job\n"));
    let (code, out, words) = services(&["start", "job"]);
    assert_eq!((code, out.as_str()), (0, "job started\n"), "{words}");
    let (code, out, _) = services(&["status", "-t", "queue_mover3"]);
    assert_eq!((code, out.as_str()), (0, " OK       [queue_mover3] job\n"));
    let (_, out, _) = services(&["status", "-a", "--json"]);
    assert_eq!(
        out,
        "{\"service\":\"queue_mover3\",\"job\":\"job\",\"state\":\"OK\",\"disabled\":false}\n"
    );
    let (_, out, _) = services(&["info", "job"]);
    assert!(out.starts_with("[queue_mover3] job\n"), "{out}");
    let pid = fs::read_to_string(site.path("job.pid")).unwrap();
    assert!(out.contains(&format!("  pid      {pid}\n")), "{out}");
    insert_and_tick(&mut site.here, "q", 0, 5);
    assert!(wait_until(PATIENCE, || {
        value(&mut site.far, "select count(*) from pgq.event_template") == "5"
    }));
    assert_eq!(services(&["reload", "job"]).0, 0);
    assert!(wait_until(PATIENCE, || site.log().matches("starts").count() >= 2));
    let before = fs::read_to_string(site.path("job.pid")).unwrap();
    assert_eq!(services(&["restart", "job"]).0, 0);
    assert_ne!(fs::read_to_string(site.path("job.pid")).unwrap(), before);
    assert_eq!(services(&["stop", "-a", "-w"]).0, 0);
    assert_eq!(services(&["status", "-a"]).0, 1);
    assert_eq!(services(&["start", "nobody"]).0, 2);
    // The switches of the service itself do the same.
    assert!(pgq(&["run", &ini, "-d"]).status().unwrap().success());
    assert!(wait_until(PATIENCE, || site.path("job.pid").exists()));
    assert!(pgq(&["run", &ini, "-s"]).status().unwrap().success());
    assert!(wait_until(PATIENCE, || !site.path("job.pid").exists()));
}

/// A handler that works while signals come.
#[test]
fn an_end_that_is_asked_for_after_a_reload_is_not_lost() {
    for end in ["INT", "TERM"] {
        let mut site = Site::new();
        insert_and_tick(&mut site.here, "q", 0, 1);
        let at = |name: &str| site.path(name).display().to_string();
        let ini = at("consumer.ini");
        let text = format!(
            "[pgq_consumer]\njob_name = job\ndb = {}\nqueue_name = q\nlogfile = {}\n\
             exec = touch {}; while [ ! -e {} ]; do sleep 0.05; done\n",
            dsn(&site.source),
            at("job.log"),
            at("began"),
            at("go"),
        );
        fs::write(&ini, text).unwrap();
        let mut child = start(&ini);
        let began = || site.path("began").exists();
        assert!(wait_until(PATIENCE, began));
        signal(&child, "HUP");
        signal(&child, end);
        fs::write(site.path("go"), "").unwrap();
        assert_eq!(ends(&mut child), Some(0), "{end}: {}", site.log());
        assert!(site.log().contains("job: stopped"), "{}", site.log());
        assert_eq!(site.log().matches("starts").count(), 1, "{}", site.log());
    }
}

/// Without a server: it waits for one.
#[test]
fn a_ticker_reloads_as_services_do_and_keeps_no_threads() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let write = |more: &str| {
        let text = format!(
            "[pgqd]\nbase_connstr = host=127.0.0.1 port=1 user=y\ndatabase_list = x\nsyslog = 0\n\
             logfile = {}\n{more}\n",
            path("log").display()
        );
        fs::write(path("pgqd.ini"), text).unwrap();
    };
    write("");
    let ini = path("pgqd.ini").display().to_string();
    let mut child =
        pgq(&["ticker", &ini]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let log = || fs::read_to_string(path("log")).unwrap_or_default();
    let starts = |count| {
        let there = wait_until(PATIENCE, || log().matches("starts").count() == count);
        assert!(there, "{}", log());
    };
    let threads = || fs::read_dir(format!("/proc/{}/task", child.id())).unwrap().count();
    starts(1);
    let before = {
        // The program, the signals, and the one database.
        assert!(wait_until(PATIENCE, || threads() == 3), "{}", threads());
        fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap().count()
    };
    write("tiker_period = 1");
    signal(&child, "HUP");
    starts(2);
    assert!(log().contains("tiker_period: unknown key; going on as before"), "{}", log());
    write(&format!("pidfile = {}", path("pid").display()));
    for count in 3..8 {
        signal(&child, "HUP");
        starts(count);
    }
    let pid = fs::read_to_string(path("pid")).unwrap();
    assert_eq!(pid, child.id().to_string(), "a pid file that is new is taken over");
    assert!(wait_until(PATIENCE, || threads() == 3), "{}", threads());
    let after = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap().count();
    assert!(after <= before + 2, "{before} {after}: the pid file, and an attempt to connect");
    signal(&child, "INT");
    assert_eq!(ends(&mut child), Some(0), "{}", log());
    assert!(!path("pid").exists());
}
