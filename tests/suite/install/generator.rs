//! What the systemd generator makes of INI files, held against `pgq services`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use pgq_tests::programs::{pgq, stderr};

/// Files in the jobs' directory, and whether each is started. By name, text, wanted.
const FILES: &[(&str, &str, bool)] = &[
    ("plain.ini", "[queue_mover3]\njob_name = other\n", true),
    ("without_3.ini", "[queue_mover]\n", true),
    ("ticker.ini", "[pgqd]\n", true),
    ("off.ini", "[queue_mover3]\ndisabled = 1\n", false),
    ("off_in_capitals.ini", "[queue_mover3]\nDisabled: TRUE\n", false),
    ("off_for_all.ini", "[DEFAULT]\ndisabled = yes\n[queue_mover3]\n", false),
    ("on_though_off_for_all.ini", "[DEFAULT]\ndisabled = 1\n[queue_mover3]\ndisabled = 0\n", true),
    ("off_by_reference.ini", "[DEFAULT]\nidle = on\n[queue_mover3]\ndisabled = %(idle)s\n", false),
    ("off_with_crlf.ini", "[queue_mover3]\r\ndisabled = 1\r\n", false),
    ("on_with_crlf.ini", "; a job\r\n[queue_mover3]\r\nqueue_name = q\r\n", true),
    ("on_by_comment.ini", "[queue_mover3]\n  ; was\n# disabled = 1\n;disabled = 1\n", true),
    ("on_by_continuation.ini", "[queue_mover3]\nqueue_name = q\n  disabled = 1\n", true),
    ("on_elsewhere.ini", "[queue_mover3]\n[notes]\ndisabled = 1\n", true),
    ("second_section.ini", "[notes]\ndisabled = 1\n[queue_mover3]\n", true),
    ("off_by_kind.ini", "[queue_loader]\n", false),
    ("off_by_kind_although.ini", "[queue_loader]\ndisabled = 0\n", false),
    ("own_program.ini", "[report]\n", true),
    ("own_program_off.ini", "[report]\ndisabled = 1\n", false),
    ("first_of_two.ini", "[queue_mover3]\n[report]\n", true),
    ("no_service.ini", "[notes]\n", false),
    ("a registry.ini", "[scriptmgr]\n", false),
    ("with space.ini", "[queue_mover3]\n", false),
    ("percent%n.ini", "[queue_mover3]\n", false),
    ("a-b_c.d:e.ini", "[queue_mover3]\n", true),
    (".#plain.ini", "[queue_mover3]\n", false),
    ("plain.ini~", "[queue_mover3]\n", false),
    ("plain.ini.dpkg-old", "[queue_mover3]\n", false),
    // Their services fail and say why.
    ("broken.ini", "[queue_mover3\n", true),
    ("broken_off.ini", "[queue_mover3]\ndisabled = perhaps\n", true),
];

const REGISTRY: &str =
    "[scriptmgr]\n[queue_loader]\ndisabled = 1\n[report]\nscript = /bin/true\nuser = joe\n";

/// Jobs' files below a directory, and a registry of them.
fn files(dir: &Path) -> String {
    let jobs = dir.join("jobs");
    fs::create_dir(&jobs).unwrap();
    for (name, text, _) in FILES {
        fs::write(jobs.join(name), text).unwrap();
    }
    let registry = dir.join("skytools.ini");
    let list = format!("[scriptmgr]\nconfig_list = {}/*.ini\n", jobs.display());
    fs::write(&registry, REGISTRY.replace("[scriptmgr]\n", &list)).unwrap();
    registry.display().to_string()
}

/// How the generator runs pgq.
fn generator() -> Vec<String> {
    let script = include_str!("../../../packaging/systemd/skytools-generator");
    let line = script.lines().find_map(|line| line.strip_prefix("exec /usr/bin/pgq ")).unwrap();
    let before = line.split(" /etc/skytools.ini ").next().unwrap();
    before.split_whitespace().map(str::to_owned).collect()
}

/// Names of what a run of the generator's command links.
fn wanted(dir: &Path, registry: &str) -> (BTreeSet<String>, String) {
    let out = dir.join("out");
    let words = generator();
    let words: Vec<&str> = words.iter().map(String::as_str).chain([registry]).collect();
    let output = pgq(&words).arg(&out).env("SKYTOOLS_JOBS", dir.join("jobs")).output().unwrap();
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(out.join("skytools.target.wants")).into_iter().flatten() {
        let entry = entry.unwrap();
        let to = fs::read_link(entry.path()).unwrap();
        assert!(to.ends_with("systemd/system/skytools@.service"), "{}", to.display());
        names.insert(entry.file_name().to_string_lossy().into_owned());
    }
    (names, stderr(&output))
}

fn unit(file: &str) -> String {
    format!("skytools@{}.service", file.strip_suffix(".ini").unwrap())
}

#[test]
fn each_job_is_wanted_that_services_does_not_leave_out() {
    let dir = tempfile::tempdir().unwrap();
    let registry = files(dir.path());
    let (found, words) = wanted(dir.path(), &registry);
    let expected: BTreeSet<String> =
        FILES.iter().filter(|(.., wanted)| *wanted).map(|(name, ..)| unit(name)).collect();
    assert_eq!(found, expected, "{words}");
    for named in [
        "broken.ini:1: ",
        "broken_off.ini: [queue_mover3] disabled: \"perhaps\"",
        "with space.ini: not a service of systemd",
        "percent%n.ini: ",
    ] {
        assert!(words.contains(named), "{words}");
    }

    // What the registry says about a kind goes along.
    let drop_in = |name: &str| dir.path().join("out").join(format!("{name}.d/registry.conf"));
    let text = fs::read_to_string(drop_in("skytools@own_program.service")).unwrap();
    assert!(text.contains("\nExecStart=\"/bin/true\" ") && text.contains("\nUser=joe\n"), "{text}");
    // The jobs' files are for a group; a script has a mind of its own about signals and exit codes.
    for line in ["SupplementaryGroups=skytools", "ExecReload=", "RestartPreventExitStatus="] {
        assert!(text.lines().any(|own| own == line), "{text}");
    }
    reload_spares_who_has_no_handler(&text);
    assert!(drop_in("skytools@own_program_off.service").exists());
    assert!(!drop_in("skytools@plain.service").exists());

    // The same files to "pgq services". What is broken there is not started, but said.
    let output = pgq(&["services", &registry, "info", "-a", "--json"])
        .env("SKYTOOLS_JOBS", dir.path().join("jobs"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("broken.ini:1: "), "{}", stderr(&output));
    assert!(stderr(&output).contains("with space.ini: not a service of systemd"));
    let status = pgq(&["services", &registry, "status", "-a", "--json"]).output().unwrap();
    let lines = |output: &std::process::Output| -> Vec<serde_json::Value> {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let mut started = BTreeSet::new();
    for (info, status) in lines(&output).iter().zip(lines(&status)) {
        let file = Path::new(info["config"].as_str().unwrap()).file_name().unwrap();
        let file = file.to_string_lossy().into_owned();
        let by_hand = file.contains([' ', '%']);
        if status["disabled"] == false && !by_hand {
            started.insert(unit(&file));
        }
    }
    let sound: BTreeSet<String> =
        expected.into_iter().filter(|name| !name.contains("broken")).collect();
    assert_eq!(started, sound);
}

/// Run the reload's shell command as systemd would.
fn reload_spares_who_has_no_handler(drop_in: &str) {
    let command = drop_in.lines().find_map(|line| line.strip_prefix("ExecReload=/bin/sh -c "));
    let command = command.unwrap().trim_matches('\'').replace("$$", "$");
    let script = |text: &str| {
        // A shell cannot trap what nohup has it ignore.
        let mut sh = Command::new("env");
        sh.args(["--default-signal=HUP", "sh", "-c", text])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = sh.spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
        let mut reload = Command::new("sh");
        reload.args(["-c", &command]).env("MAINPID", child.id().to_string());
        assert!(reload.status().unwrap().success());
        child.wait().unwrap().code()
    };
    assert_eq!(script("echo ready; read line; exit 3"), Some(3));
    assert_eq!(script("trap 'exit 4' HUP; echo ready; while :; do read line; done"), Some(4));
}

/// At boot nothing may wait, or take all memory.
#[test]
fn what_is_no_plain_file_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let registry = files(dir.path());
    let pipe = dir.path().join("jobs/pipe.ini");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::write(dir.path().join("jobs/zero.ini"), "%include /dev/zero\n").unwrap();
    let (found, words) = wanted(dir.path(), &registry);
    assert!(found.contains("skytools@plain.service"), "{words}");
    for named in ["pipe.ini: is no plain file", "/dev/zero: is no plain file"] {
        assert!(words.contains(named), "{words}");
    }
}

/// Also of kinds that the registry has no section for.
#[test]
fn what_the_registry_says_of_all_kinds_goes_into_every_unit() {
    let dir = tempfile::tempdir().unwrap();
    let registry = files(dir.path());
    let text = fs::read_to_string(&registry).unwrap();
    fs::write(&registry, format!("{text}[DEFAULT]\nuser = ann\n")).unwrap();
    let (found, words) = wanted(dir.path(), &registry);
    assert!(found.contains("skytools@plain.service"), "{words}");
    let of = |name: &str| {
        let file = dir.path().join("out").join(format!("skytools@{name}.service.d/registry.conf"));
        fs::read_to_string(file).unwrap()
    };
    assert!(of("plain").contains("\nUser=ann\n"), "{}", of("plain"));
    assert!(of("own_program").contains("\nUser=joe\n"), "{}", of("own_program"));
    fs::write(&registry, format!("{text}[DEFAULT]\ndisabled = 1\n")).unwrap();
    fs::remove_dir_all(dir.path().join("out")).unwrap();
    assert!(!wanted(dir.path(), &registry).0.contains("skytools@plain.service"));
}

#[test]
fn a_registry_that_cannot_be_read_starts_nothing_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let registry = files(dir.path());
    for (add, words) in [
        ("[queue_mover3]\ndisabled = perhaps\n", "[queue_mover3] disabled: \"perhaps\""),
        ("nonsense\n", "neither [section] nor"),
    ] {
        let text = fs::read_to_string(&registry).unwrap();
        fs::write(&registry, format!("{text}{add}")).unwrap();
        let (found, said) = wanted(dir.path(), &registry);
        assert!(said.contains("skytools.ini") && said.contains(words), "{said}");
        assert_eq!(found, BTreeSet::new());
        fs::write(&registry, text).unwrap();
    }
}

#[test]
fn a_broken_file_does_not_stop_other_jobs_from_being_managed() {
    let dir = tempfile::tempdir().unwrap();
    let registry = files(dir.path());
    let status = |arguments: &[&str]| {
        let output = pgq(&["services", &registry, "status"]).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, out) = status(&["off"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("[queue_mover3] off (disabled)"), "{out}");
    assert!(status(&["-a"]).1.contains("[queue_mover3] other"));
    assert_eq!(status(&["broken"]).0, Some(2));
}
