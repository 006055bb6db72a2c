//! What libpq takes from the environment and from `pg_service.conf`.

use std::collections::BTreeMap;
use std::env::VarError;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::keywords::{KEYWORDS, NEVER_EMPTY};
use crate::error::Error;

/// Where packages put the server's socket: only the server's owner makes files there.
pub(super) const SOCKET_DIR: &str = "/var/run/postgresql";
/// Where a server of one's own puts it, as upstream's sources have it.
const PUBLIC_DIR: &str = "/tmp";

/// An environment variable.
///
/// # Errors
/// [`Error::Config`] for one that is no UTF-8: left out, it could leave TLS out.
pub(super) fn variable(name: &str) -> Result<Option<String>, Error> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            Err(Error::Config(format!("environment variable {name} is not UTF-8")))
        }
    }
}

/// Fill missing options: service first, then variables, then built-in defaults.
pub(super) fn complete(
    options: &mut BTreeMap<String, String>,
    variable: impl Fn(&str) -> Result<Option<String>, Error>,
) -> Result<(), Error> {
    let given = |own: Option<&String>, name| {
        own.cloned().map_or_else(|| variable(name), |own| Ok(Some(own)))
    };
    if let Some(service) = given(options.get("service"), "PGSERVICE")? {
        let file = given(options.get("servicefile"), "PGSERVICEFILE")?;
        for (key, value) in read_service(&service, file, &variable)? {
            options.entry(key).or_insert(value);
        }
    }
    for (key, name, _) in KEYWORDS.into_iter().filter(|(_, name, _)| !name.is_empty()) {
        // An address in the string goes with no host from the environment, and the other way round.
        let has_address = options.contains_key("host") || options.contains_key("hostaddr");
        if matches!(key, "host" | "hostaddr") && has_address {
            continue;
        }
        // An empty one says nothing, but where no value is empty: the check refuses it there.
        let says = |value: &String| !value.is_empty() || NEVER_EMPTY.contains(&key);
        if let Some(value) = variable(name)?.filter(says) {
            options.entry(key.to_owned()).or_insert(value);
        }
    }
    if variable("PGREQUIRESSL")?.is_some_and(|value| value.starts_with('1')) {
        options.entry("sslmode".to_owned()).or_insert_with(|| "require".to_owned());
    }
    if !options.contains_key("host") && !options.contains_key("hostaddr") {
        let port = options.get("port").map_or("5432", String::as_str);
        options.insert("host".to_owned(), socket_dir(port).to_owned());
    }
    // A host that never answers must not hang a consumer for minutes.
    options.entry("connect_timeout".to_owned()).or_insert_with(|| "10".to_owned());
    Ok(())
}

/// Where the local server's socket is. Anybody can listen in a public directory and be given a
/// password, so a socket there must be root's or one's own.
fn socket_dir(port: &str) -> &'static str {
    let socket = |directory| Path::new(directory).join(format!(".s.PGSQL.{port}"));
    let is_trusted = |metadata: fs::Metadata| {
        metadata.uid() == 0 || metadata.uid() == rustix::process::geteuid().as_raw()
    };
    if !socket(SOCKET_DIR).exists()
        && fs::symlink_metadata(socket(PUBLIC_DIR)).is_ok_and(is_trusted)
    {
        PUBLIC_DIR
    } else {
        SOCKET_DIR
    }
}

fn read_service(
    service: &str,
    file: Option<String>,
    variable: impl Fn(&str) -> Result<Option<String>, Error>,
) -> Result<Vec<(String, String)>, Error> {
    let mut files: Vec<PathBuf> = Vec::new();
    let is_named = file.is_some();
    match file {
        Some(file) => files.push(file.into()),
        None => files.extend(pgq_ini::home().map(|home| home.join(".pg_service.conf"))),
    }
    let system = variable("PGSYSCONFDIR")?.unwrap_or_else(|| "/etc/postgresql-common".to_owned());
    files.push(Path::new(&system).join("pg_service.conf"));
    for (place, file) in files.iter().enumerate() {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            // The one that was named must be there: another may name another server.
            Err(error) if error.kind() == ErrorKind::NotFound && !(is_named && place == 0) => {
                continue;
            }
            Err(source) => return Err(Error::Io { path: file.clone(), source }),
        };
        // Not the line itself: it may have a password.
        let malformed =
            |line| Error::Config(format!("{}: line {line} has no \"=\"", file.display()));
        if let Some(options) = service_section(&text, service).map_err(malformed)? {
            return Ok(options);
        }
    }
    Err(Error::Config(format!("definition of service \"{service}\" not found")))
}

/// The options of a service; or the number of a line of it that sets nothing, which must not be
/// left out in silence: it may be the one that demands TLS.
fn service_section(text: &str, service: &str) -> Result<Option<Vec<(String, String)>>, usize> {
    let header = format!("[{service}]");
    let lines = text.lines().map(str::trim).zip(1_usize..);
    let mut lines = lines.skip_while(|(line, _)| *line != header);
    if lines.next().is_none() {
        return Ok(None);
    }
    lines
        .take_while(|(line, _)| !line.starts_with('['))
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, number)| {
            let (key, value) = line.split_once('=').ok_or(number)?;
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        })
        .collect::<Result<_, usize>>()
        .map(Some)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{complete, service_section};

    #[test]
    fn variables_fill_only_what_is_missing() {
        let mut options = BTreeMap::from([("host".to_owned(), "a".to_owned())]);
        complete(&mut options, |name| match name {
            "PGHOSTADDR" => Ok(Some("127.0.0.1".to_owned())),
            "PGUSER" => Ok(Some("joe".to_owned())),
            _ => Ok(None),
        })
        .unwrap();
        assert_eq!(options.get("user").unwrap(), "joe");
        assert_eq!(options.get("host").unwrap(), "a");
        assert!(!options.contains_key("hostaddr"));
    }

    #[test]
    fn what_variables_ask_for_is_known_to_the_check() {
        for (name, value) in [
            ("PGREQUIREPEER", "postgres"),
            ("PGGSSENCMODE", "require"),
            ("PGREQUIREAUTH", "scram-sha-256"),
            ("PGSSLCRL", "/f"),
            ("PGSSLCRLDIR", "/f"),
            ("PGSSLCERTMODE", "require"),
            ("PGMINPROTOCOLVERSION", "3.2"),
            ("PGSSLMODE", ""),
        ] {
            let mut conninfo = super::super::Conninfo::default();
            let variable = |asked: &str| Ok((asked == name).then(|| value.to_owned()));
            complete(&mut conninfo.options, variable).unwrap();
            assert!(conninfo.check().is_err(), "{name}");
        }
        let mut options = BTreeMap::new();
        complete(&mut options, |name| Ok((name == "PGREQUIRESSL").then(|| "1".to_owned())))
            .unwrap();
        assert_eq!(options.get("sslmode").unwrap(), "require");
    }

    #[test]
    fn a_service_asks_for_safety_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("services");
        std::fs::write(&file, "[s]\nhost=/tmp\nrequirepeer=postgres\n[odd]\nhots=x\n").unwrap();
        for (service, words) in [("s", "requirepeer"), ("odd", "unknown connection option")] {
            let mut conninfo = super::super::Conninfo::default();
            conninfo.set("service", service);
            conninfo.set("servicefile", &file.display().to_string());
            complete(&mut conninfo.options, |_| Ok(None)).unwrap();
            let error = conninfo.check().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn without_any_host_it_is_a_socket() {
        let mut options = BTreeMap::new();
        complete(&mut options, |_| Ok(None)).unwrap();
        assert!(options.get("host").unwrap().starts_with('/'));
    }

    #[test]
    fn a_service_file_that_was_named_is_there() {
        let options = [("service", "s"), ("servicefile", "/nonexistent/f")];
        let mut options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let error = complete(&mut options, |_| Ok(None)).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/f"), "{error}");
    }

    #[test]
    fn unknown_service_is_an_error() {
        let mut options = BTreeMap::from([("service".to_owned(), "nope".to_owned())]);
        assert!(complete(&mut options, |_| Ok(None)).is_err());
    }

    #[test]
    fn service_section_ends_at_the_next_one() {
        let text = "[a]\nhost=x\n# c\n[b]\nhost=y\nport = 7\n";
        let of = |service| service_section(text, service).unwrap();
        assert_eq!(of("a").unwrap(), [("host".to_owned(), "x".to_owned())]);
        assert_eq!(of("b").unwrap().len(), 2);
        assert!(of("c").is_none());
        // No line is left out: this one demanded TLS.
        assert_eq!(service_section("[a]\nhost=x\nsslmode verify-full\n", "a"), Err(3));
    }
}
