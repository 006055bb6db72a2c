//! What libpq takes from the environment and from `pg_service.conf`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::keywords::KEYWORDS;
use crate::error::Error;

/// Where Debian and upstream put the server's socket.
const SOCKET_DIRS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Fill missing options: service first, then variables, then built-in defaults.
pub(super) fn complete(
    options: &mut BTreeMap<String, String>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), Error> {
    if let Some(service) = options.get("service").cloned().or_else(|| variable("PGSERVICE")) {
        let file = options.get("servicefile").cloned().or_else(|| variable("PGSERVICEFILE"));
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
        if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
            options.entry(key.to_owned()).or_insert(value);
        }
    }
    if variable("PGREQUIRESSL").is_some_and(|value| value.starts_with('1')) {
        options.entry("sslmode".to_owned()).or_insert_with(|| "require".to_owned());
    }
    if !options.contains_key("host") && !options.contains_key("hostaddr") {
        let port = options.get("port").map_or("5432", String::as_str);
        let socket =
            SOCKET_DIRS.iter().find(|dir| Path::new(dir).join(format!(".s.PGSQL.{port}")).exists());
        options.insert("host".to_owned(), (*socket.unwrap_or(&SOCKET_DIRS[0])).to_owned());
    }
    // A host that never answers must not hang a consumer for minutes.
    options.entry("connect_timeout".to_owned()).or_insert_with(|| "10".to_owned());
    Ok(())
}

fn read_service(
    service: &str,
    file: Option<String>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, Error> {
    let mut files: Vec<PathBuf> = Vec::new();
    match file {
        Some(file) => files.push(file.into()),
        None => {
            files.extend(variable("HOME").map(|home| Path::new(&home).join(".pg_service.conf")))
        }
    }
    let system = variable("PGSYSCONFDIR").unwrap_or_else(|| "/etc/postgresql-common".to_owned());
    files.push(Path::new(&system).join("pg_service.conf"));
    for file in &files {
        let Ok(text) = fs::read_to_string(file) else { continue };
        if let Some(options) = service_section(&text, service) {
            return Ok(options);
        }
    }
    Err(Error::Config(format!("definition of service \"{service}\" not found")))
}

fn service_section(text: &str, service: &str) -> Option<Vec<(String, String)>> {
    let header = format!("[{service}]");
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != header);
    lines.next()?;
    let options = lines
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect();
    Some(options)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{complete, service_section};

    #[test]
    fn variables_fill_only_what_is_missing() {
        let mut options = BTreeMap::from([("host".to_owned(), "a".to_owned())]);
        complete(&mut options, |name| match name {
            "PGHOSTADDR" => Some("127.0.0.1".to_owned()),
            "PGUSER" => Some("joe".to_owned()),
            _ => None,
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
        ] {
            let mut conninfo = super::super::Conninfo::default();
            let variable = |asked: &str| (asked == name).then(|| value.to_owned());
            complete(&mut conninfo.options, variable).unwrap();
            assert!(conninfo.check().is_err(), "{name}");
        }
        let mut options = BTreeMap::new();
        complete(&mut options, |name| (name == "PGREQUIRESSL").then(|| "1".to_owned())).unwrap();
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
            complete(&mut conninfo.options, |_| None).unwrap();
            let error = conninfo.check().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn without_any_host_it_is_a_socket() {
        let mut options = BTreeMap::new();
        complete(&mut options, |_| None).unwrap();
        assert!(options.get("host").unwrap().starts_with('/'));
    }

    #[test]
    fn unknown_service_is_an_error() {
        let mut options = BTreeMap::from([("service".to_owned(), "nope".to_owned())]);
        assert!(complete(&mut options, |_| None).is_err());
    }

    #[test]
    fn service_section_ends_at_the_next_one() {
        let text = "[a]\nhost=x\n# c\n[b]\nhost=y\nport = 7\n";
        assert_eq!(service_section(text, "a").unwrap(), [("host".to_owned(), "x".to_owned())]);
        assert_eq!(service_section(text, "b").unwrap().len(), 2);
        assert!(service_section(text, "c").is_none());
    }
}
