//! How a provider is connected to, and whether it may be.
//!
//! Locations are written by whoever administers the set: a worker does not go by them, but by the
//! foreign server that has the node's name, and by its role's user mapping. So a password goes
//! nowhere but to where it was given for. A backend is the server's operating-system user, whom
//! other servers may trust, and who can read files: who is not superuser must bring a password,
//! which the provider must ask for. And since a worker runs what its provider sends, that of a
//! superuser goes to servers alone that a superuser has named for it.

use std::time::Duration;

use pgq_pg::fdw::{self, FdwOptions};
use pgq_pg::parameter::Parameter;
use pgq_pg::remote::{Connection, Options};
use pgq_pg::{catalog, piece};

use super::problem::Problem;
use super::there::There;
use crate::settings;

/// Keys of a connection string that read nothing of the server's host.
pub const HARMLESS: [&str; 12] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "sslmode",
    "channel_binding",
    "connect_timeout",
    "target_session_attrs",
    "keepalives",
    "application_name",
];

/// Does a key say where a server is? A foreign server says it, and a user mapping does not.
pub fn is_of_place(key: &str) -> bool {
    ["host", "hostaddr", "port", "service", "servicefile"].contains(&key)
}

/// The foreign-data wrapper whose servers are nodes, by their names.
const WRAPPER: &str = "londiste_fdw";

/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(30);

/// Who owns the foreign server of a node.
const OWNER: &str = "
select r.rolsuper::pg_catalog.text,
       (r.rolsuper or pg_catalog.pg_has_role($2::pg_catalog.oid, r.oid, 'usage'))::pg_catalog.text
  from pg_catalog.pg_foreign_server s
       join pg_catalog.pg_roles r on r.oid operator(pg_catalog.=) s.srvowner
 where s.srvname operator(pg_catalog.=) $1";

/// Connect to a node, as a role may. It may say nothing for as long as `silence`.
pub(super) fn connect(
    role: u32,
    node: &str,
    application: &str,
    silence: Duration,
) -> Result<There, Problem> {
    piece::begin()?;
    let looked = look_up(role, node);
    match &looked {
        Ok(_) => piece::commit()?,
        Err(_) => piece::abort(),
    }
    let Looked { is_superuser, server, is_superusers, is_own } = looked?;
    let Some(server) = server else {
        return Err(refused(format!("there is no foreign server for node \"{node}\"")));
    };
    let is_own_mapping = server.is_own_mapping;
    let options = by_server(node, server)?;
    if !is_superuser {
        check(node, &options)?;
    }
    // What the provider sends is run with the worker's rights.
    if !is_own {
        return Err(refused(format!(
            "foreign server \"{node}\" belongs to a role that has not the worker's rights"
        )));
    }
    if is_superuser && !is_superusers {
        return Err(refused(format!(
            "the worker is a superuser, and foreign server \"{node}\" is no superuser's"
        )));
    }
    // Whoever administers the set chooses the node. A server that a superuser made for another
    // role is not for this one.
    if is_superuser && !is_own_mapping {
        return Err(refused(format!(
            "the worker is a superuser, and foreign server \"{node}\" has no user mapping for it"
        )));
    }
    let limit = CONNECT.min(settings::provider_timeout());
    let connection = Connection::open_within(&options, application, limit)?;
    if !is_superuser {
        check_session(node, &connection)?;
    }
    let mut there = There { connection, silence };
    there.set_up()?;
    Ok(there)
}

struct Looked {
    is_superuser: bool,
    server: Option<FdwOptions>,
    /// The server's owner is a superuser.
    is_superusers: bool,
    /// The server's owner is a superuser, or a role that this one is or is a member of.
    is_own: bool,
}

fn look_up(role: u32, node: &str) -> Result<Looked, Problem> {
    let is_superuser = piece::attempt(|| catalog::is_superuser(role.into()))?;
    let server = fdw::options_of(node, role)?.filter(|found| found.wrapper == WRAPPER);
    let number = role.to_string();
    let parameters = [Parameter::Text(Some(node)), Parameter::Text(Some(&number))];
    let rows = piece::rows(OWNER, &parameters)?;
    let is =
        |column: usize| rows.first().and_then(|row| row.get(column)?.as_deref()) == Some("true");
    Ok(Looked { is_superuser, server, is_superusers: is(0), is_own: is(1) })
}

/// All keys come from the server and the role's mapping; none from the location.
fn by_server(node: &str, found: FdwOptions) -> Result<Options, Problem> {
    let FdwOptions { server, mapping, .. } = found;
    let mapping = mapping.unwrap_or_default();
    let mapping = mapping.into_iter().filter(|(key, _)| !is_of_place(key));
    let pairs: Vec<_> = server.into_iter().chain(mapping).collect();
    let options = Options::of_pairs(&pairs)?;
    // Without one the library would ask its environment.
    if !options.says("host") && !options.says("hostaddr") {
        return Err(Problem::Connection {
            what: format!("foreign server \"{node}\" does not say its host"),
            hint: "Give it option host or hostaddr.",
            sqlstate: "HV00N",
        });
    }
    Ok(options)
}

/// May somebody who is no superuser connect by these?
fn check(node: &str, options: &Options) -> Result<(), Problem> {
    if let Some(key) = options.beyond(&HARMLESS) {
        return Err(refused(format!("only superusers may connect with \"{key}\", to \"{node}\"")));
    }
    if !options.says("password") {
        return Err(refused(format!("a password is required to connect to node \"{node}\"")));
    }
    Ok(())
}

/// The same, of what the provider has made of it.
fn check_session(node: &str, connection: &Connection) -> Result<(), Problem> {
    if !connection.used_password() {
        return Err(refused(format!("node \"{node}\" has not asked for the password")));
    }
    if connection.parameter(c"is_superuser").as_deref() != Some("off") {
        return Err(refused(format!("the role at node \"{node}\" is a superuser there")));
    }
    Ok(())
}

fn refused(what: String) -> Problem {
    Problem::Connection {
        what,
        hint: "Create a server of londiste_fdw with the node's name, and a user mapping with a \
               password for the worker's role.",
        sqlstate: "28000",
    }
}
