//! `~/.pgpass`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::Conninfo;
use super::environment::SOCKET_DIR;

/// The password for each host of a connection string, as far as the password file has one. A file
/// that others can read is not used.
pub(super) fn look_up(conninfo: &Conninfo) -> Vec<Option<String>> {
    let path = conninfo.get("passfile").map(PathBuf::from);
    let Some(path) = path.or_else(|| Some(pgq_ini::home()?.join(".pgpass"))) else {
        return Vec::new();
    };
    let Ok(metadata) = fs::metadata(&path) else { return Vec::new() };
    if metadata.permissions().mode() & 0o077 != 0 {
        log::warn!("password file {} is open to others; not used", path.display());
        return Vec::new();
    }
    fs::read_to_string(&path).map(|text| find(&text, conninfo)).unwrap_or_default()
}

fn find(text: &str, conninfo: &Conninfo) -> Vec<Option<String>> {
    // As the driver, by the process and not by $USER.
    let user = conninfo.get("user").map(str::to_owned).or_else(|| whoami::username().ok());
    let Some(user) = user else { return Vec::new() };
    let database = conninfo.get("dbname").unwrap_or(&user);
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).map(fields).collect();
    let of_host = |one: Conninfo| {
        let host = one.get("host").or_else(|| one.get("hostaddr")).unwrap_or("localhost");
        let port = one.get("port").unwrap_or("5432");
        // A socket goes by its directory; the default one, where only the server's owner can make
        // it, also by this name.
        let is_host = |own: &str| own == host || (host == SOCKET_DIR && own == "localhost");
        let is_wanted = |own: &[String]| {
            let fits = |own: &String, wanted: &str| own == "*" || own == wanted;
            matches!(own, [of_host, of_port, of_database, of_user]
                if (of_host == "*" || is_host(of_host))
                    && fits(of_port, port)
                    && fits(of_database, database)
                    && fits(of_user, &user))
        };
        lines.iter().find_map(|line| {
            let [own @ .., password] = line.as_slice() else { return None };
            is_wanted(own).then(|| password.clone())
        })
    };
    conninfo.of_each_host().into_iter().map(of_host).collect()
}

/// Fields of a line; `\:` and `\\` are escapes.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        let literal = match char {
            '\\' => chars.next(),
            ':' => {
                fields.push(String::new());
                None
            }
            _ => Some(char),
        };
        if let (Some(literal), Some(field)) = (literal, fields.last_mut()) {
            field.push(literal);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::{Conninfo, find};

    const FILE: &str = "# c\nh1:5432:db:joe:one\n*:*:db:joe:a\\:b\nlocalhost:*:*:joe:sock\n";

    fn passwords(dsn: &str) -> Vec<Option<String>> {
        find(FILE, &Conninfo::parse(dsn).unwrap())
    }

    #[test]
    fn first_line_that_fits_wins() {
        let password = |dsn: &str| passwords(dsn).remove(0);
        assert_eq!(password("host=h1 dbname=db user=joe").as_deref(), Some("one"));
        assert_eq!(password("host=h2 port=7 dbname=db user=joe").as_deref(), Some("a:b"));
        let socket = "host=/var/run/postgresql dbname=x user=joe";
        assert_eq!(password(socket).as_deref(), Some("sock"));
        // There, anybody can listen.
        assert_eq!(password("host=/tmp dbname=x user=joe"), None);
        assert_eq!(password("host=h2 dbname=x user=joe"), None);
    }

    #[test]
    fn each_host_has_its_own() {
        let some = |text: &str| Some(text.to_owned());
        let both = passwords("host=h2,h1 port=5432 dbname=db user=joe");
        assert_eq!(both, [some("a:b"), some("one")]);
        let both = passwords("host=h2,/var/run/postgresql port=1,2 dbname=x user=joe");
        assert_eq!(both, [None, some("sock")]);
        let both = passwords("hostaddr=127.0.0.1,::1 dbname=db user=joe");
        assert_eq!(both, [some("a:b"), some("a:b")]);
    }
}
