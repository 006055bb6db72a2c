//! init writes a configuration that works, and the command line of walmgr3 is understood or
//! answered.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use pgq_tests::site::{Site, archiving, said};

/// Run walmgr with exactly these arguments.
fn walmgr(site: &Site, args: &[&str]) -> Output {
    let mut command = site.cluster.run_as(site.cluster.dir().join("walmgr"));
    command.args(args).current_dir(site.cluster.dir()).output().unwrap()
}

#[test]
fn init_writes_a_configuration_that_setup_and_backup_work_with() {
    let site = Site::new(archiving().start());
    let file = site.cluster.dir().join("new.toml");
    let connect = format!("{} password=geheim", site.cluster.conninfo("postgres"));
    let repository = site.repository().display().to_string();
    let init = ["--config", file.to_str().unwrap(), "init", "--connect", &connect, "--repository"];
    let with = |more: &[&str]| walmgr(&site, &[&init, more].concat());

    let dry = with(&[&repository, "--dry-run"]);
    let text = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(
        dry.status.success() && text.contains("stanza = \"pgq_test\""),
        "{}",
        said(&init, &dry)
    );
    assert!(!text.contains("geheim"), "{text}");
    assert!(!file.exists(), "a dry run wrote the file");
    for bad in [&["relative"][..], &[&repository, "--stanza", "a/b"]] {
        assert_eq!(with(bad).status.code(), Some(2), "{bad:?}");
        assert!(!file.exists());
    }
    let output = with(&[&repository]);
    assert!(output.status.success(), "{}", said(&init, &output));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let first = fs::read_to_string(&file).unwrap();
    assert_eq!(with(&[&repository, "--stanza", "other"]).status.code(), Some(2));
    assert_eq!(fs::read_to_string(&file).unwrap(), first, "a file was overwritten");
    assert!(with(&[&repository, "--stanza", "other", "--force"]).status.success());
    assert!(fs::read_to_string(&file).unwrap().contains("stanza = \"other\""));

    for verb in ["setup", "backup", "check"] {
        let output = walmgr(&site, &["--config", file.to_str().unwrap(), verb]);
        assert!(output.status.success(), "{}", said(&[verb], &output));
    }
    // No server answers.
    let output = walmgr(&site, &["init", "--connect", "host=/no/such", "--repository", "/r"]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&["init"], &output));
}

#[test]
fn every_verb_and_option_of_walmgr3_works_or_says_what_does() {
    let site = Site::new(archiving().create());
    let help = String::from_utf8(walmgr(&site, &["--help"]).stdout).unwrap();
    for verb in [
        "init",
        "setup",
        "stop",
        "periodic",
        "synch-standby",
        "sync",
        "syncdaemon",
        "backup",
        "listbackups",
        "restore",
        "pause",
        "continue",
        "boot",
        "createslave",
        "cleanup",
    ] {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb}:\n{help}");
    }
    for verb in ["xarchive", "xrestore", "xrotate", "xpurgewals"] {
        let output = walmgr(&site, &[verb, "--help"]);
        assert!(output.status.success(), "{}", said(&[verb], &output));
    }
    for args in [
        &["x.ini", "xlock", "1"][..],
        &["x.ini", "xrelease"],
        &["x.ini", "xpartialsync", "000000010000000000000001", "0", "1"],
        &["--init-master", "--slave=x"],
        &["--init-slave"],
        &["x.ini", "--synch-standby=a,b"],
        &["--set=a=b", "x.ini", "backup"],
        &["x.ini", "syncdaemon", "-d"],
        &["-k", "x.ini"],
        &["--ini"],
        &["--ssh-keygen"],
    ] {
        let output = walmgr(&site, args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(" is gone"), "{args:?}: {text}");
    }
}
