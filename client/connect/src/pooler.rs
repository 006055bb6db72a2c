//! Who listens on a socket file: PostgreSQL itself, or something in front of it.

use std::os::unix::net::UnixStream;
use std::path::Path;

use postgres::config::Host;
use tokio_postgres::Config;

/// True unless PostgreSQL itself listens on all socket files of the configuration. What cannot be
/// known counts as a pooler.
pub(crate) fn is_behind(config: &Config) -> bool {
    let ports = config.get_ports();
    config.get_hosts().iter().enumerate().any(|(index, host)| match host {
        Host::Tcp(_) => false,
        Host::Unix(directory) => {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            listener(&directory.join(format!(".s.PGSQL.{port}"))).as_deref() != Some("postgres")
        }
    })
}

/// Name of the program that listens.
fn listener(socket: &Path) -> Option<String> {
    let stream = UnixStream::connect(socket).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
    let name = std::fs::read_to_string(format!("/proc/{}/comm", peer.pid.as_raw_nonzero())).ok()?;
    Some(name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::is_behind;

    #[test]
    fn a_socket_of_another_program_is_not_postgresqls() {
        let directory = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let config = |host: &str| format!("host='{host}' user=x").parse().unwrap();
        assert!(is_behind(&config(directory.path().to_str().unwrap())));
        assert!(!is_behind(&config("localhost")));
    }
}
