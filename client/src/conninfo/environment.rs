//! What libpq takes from the environment and from `pg_service.conf`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Variable and the option it stands for.
const VARIABLES: [(&str, &str); 17] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGOPTIONS", "options"),
    ("PGAPPNAME", "application_name"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
];
/// Where Debian and upstream put the server's socket.
const SOCKET_DIRS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Fill missing options: service first, then variables, then built-in defaults.
pub(super) fn complete(
    options: &mut BTreeMap<String, String>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), Error> {
    if let Some(service) = options.get("service").cloned().or_else(|| variable("PGSERVICE")) {
        for (key, value) in read_service(&service, &variable)? {
            options.entry(key).or_insert(value);
        }
    }
    for (name, key) in VARIABLES {
        // An address in the string goes with no host from the environment, and the other way round.
        let has_address = options.contains_key("host") || options.contains_key("hostaddr");
        if matches!(key, "host" | "hostaddr") && has_address {
            continue;
        }
        if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
            options.entry(key.to_owned()).or_insert(value);
        }
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
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, Error> {
    let mut files: Vec<PathBuf> = Vec::new();
    match variable("PGSERVICEFILE") {
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
