//! `~/.pgpass`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Conninfo;

/// The password for this connection, if the password file has one. A file that others can read is
/// not used.
pub(super) fn look_up(conninfo: &Conninfo) -> Option<String> {
    let path = match conninfo.get("passfile") {
        Some(path) => PathBuf::from(path),
        None => Path::new(&std::env::var_os("HOME")?).join(".pgpass"),
    };
    let metadata = fs::metadata(&path).ok()?;
    if metadata.permissions().mode() & 0o077 != 0 {
        log::warn!("password file {} is open to others; not used", path.display());
        return None;
    }
    find(&fs::read_to_string(&path).ok()?, conninfo)
}

fn find(text: &str, conninfo: &Conninfo) -> Option<String> {
    let hosts = conninfo.get("host").or_else(|| conninfo.get("hostaddr")).unwrap_or("localhost");
    let ports = conninfo.get("port").unwrap_or("5432");
    let user = conninfo.get("user").map(str::to_owned).or_else(|| std::env::var("USER").ok())?;
    let database = conninfo.get("dbname").unwrap_or(&user);
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).map(fields).collect();
    // One password serves all hosts of the list: the driver takes no more than one.
    for (index, host) in hosts.split(',').enumerate() {
        let port = ports.split(',').nth(index).or_else(|| ports.split(',').next())?;
        let host = if host.starts_with('/') { "localhost" } else { host };
        let wanted = [host, port, database, &user];
        for line in &lines {
            let [own @ .., password] = line.as_slice() else { continue };
            let fits = own.len() == wanted.len()
                && own.iter().zip(wanted).all(|(own, wanted)| own == "*" || own == wanted);
            if fits {
                return Some(password.clone());
            }
        }
    }
    None
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

    #[test]
    fn first_line_that_fits_wins() {
        let password = |dsn: &str| find(FILE, &Conninfo::parse(dsn).unwrap());
        assert_eq!(password("host=h1 dbname=db user=joe").as_deref(), Some("one"));
        assert_eq!(password("host=h2 port=7 dbname=db user=joe").as_deref(), Some("a:b"));
        assert_eq!(password("host=/tmp dbname=x user=joe").as_deref(), Some("sock"));
        assert_eq!(password("host=h2 dbname=x user=joe"), None);
    }
}
