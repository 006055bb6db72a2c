//! Options and verbs of walmgr3 that are gone, and what to use instead.

/// What was asked for, and what does it now.
const GONE: [(&str, &str); 19] = [
    ("--init-master", "walmgr init"),
    ("--init-slave", "walmgr init"),
    (
        "--slave",
        "a repository that both hosts reach: repository.path, repository.ssh or repository.s3",
    ),
    ("--pgdata", "cluster.data in the configuration"),
    ("--config-dir", "--config FILE"),
    ("--primary-conninfo", "standby.primary_conninfo in the configuration"),
    ("--ssh-keygen", "ssh-keygen"),
    ("--ssh-add-key", "ssh-copy-id"),
    ("--ssh-remove-key", "an editor on authorized_keys"),
    ("--add-password", "a line in ~/.pgpass of the server's user"),
    ("--remove-password", "an editor on ~/.pgpass"),
    ("--synch-standby", "walmgr synch-standby NAMES"),
    ("--ini", "walmgr init --dry-run"),
    ("--set", "the configuration file"),
    ("-d", "a service manager: walmgr daemon and walmgr syncdaemon stay in the foreground"),
    ("-r", "a service manager: there is no pidfile"),
    ("-s", "a service manager: there is no pidfile"),
    ("-k", "a service manager: there is no pidfile"),
    ("xpartialsync", "walmgr syncdaemon, which receives WAL as it is written"),
];

/// Verbs that took locks by hand.
const LOCKS: [&str; 2] = ["xlock", "xrelease"];

/// What to say about a command line that is not understood because it is one of walmgr3.
pub(crate) fn instead(args: impl Iterator<Item = String>) -> Option<String> {
    args.filter(|arg| arg.len() > 1).find_map(|arg| {
        let name = arg.split('=').next().unwrap_or_default();
        if LOCKS.contains(&name) {
            return Some(format!(
                "{name} is gone: each verb takes the locks it needs, and those of the dead count for nothing"
            ));
        }
        let (_, now) = GONE.iter().find(|(old, _)| *old == name)?;
        Some(format!("{name} of walmgr3 is gone; use instead: {now}"))
    })
}

#[cfg(test)]
mod tests {
    use super::instead;

    #[test]
    fn what_is_gone_is_named() {
        let said = |args: &[&str]| instead(args.iter().map(|arg| (*arg).to_owned()));
        assert!(said(&["x.ini", "--init-slave"]).unwrap().contains("walmgr init"));
        assert!(said(&["--set=a=b", "backup"]).unwrap().starts_with("--set of walmgr3 is gone"));
        assert!(said(&["x.ini", "xrelease"]).unwrap().contains("locks"));
        assert_eq!(said(&["backup", "--no-such-option"]), None);
    }
}
