//! Asking other nodes of a set: `londiste._ask` and `londiste._check_location`.
//!
//! A backend is the server's operating-system user, whom other servers may trust. So who is not
//! superuser must bring a password, which the other server must ask for, and can name no file or
//! service of this host.

use crate::error::PgqError;
use pgq_pg::call::{Call, Returned, SqlError};
use pgq_pg::catalog;
use pgq_pg::function::OwnFunction;
use pgq_pg::remote::{Connection, Options};
use pgq_pg::text::Text;

/// Keys of a connection string that read nothing of the server's host.
const HARMLESS: [&str; 12] = [
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

/// `londiste._ask(i_location, i_statement, variadic i_arguments)`: the one value that a statement
/// gives elsewhere.
pub(crate) fn ask(call: &Call) -> Result<Returned, SqlError> {
    let location = call.text(0).ok_or(PgqError::NullArgument("location"))?;
    let statement = call.text(1).ok_or(PgqError::NullArgument("statement"))?;
    let arguments = match call.text_array(2) {
        None => Vec::new(),
        Some(elements) => elements.map_err(|_| PgqError::ArrayDimensions("i_arguments"))?,
    };
    let answer = connect(location)?.ask(statement, &arguments)?;
    Ok(answer.map_or(Returned::Null, Returned::Text))
}

/// `londiste._check_location(i_location)`: an error for what must not be stored.
pub(crate) fn check_location(call: &Call) -> Result<Returned, SqlError> {
    let location = call.text(0).ok_or(PgqError::NullArgument("location"))?;
    let options = Options::parse(location)?;
    if options.says("password") || options.says("sslpassword") {
        return Err(PgqError::PasswordInLocation.into());
    }
    Ok(Returned::Done)
}

fn connect(location: Text) -> Result<Connection, SqlError> {
    let options = Options::parse(location)?;
    if catalog::is_superuser(OwnFunction::current_user()) {
        return Ok(Connection::open(&options)?);
    }
    if let Some(key) = options.beyond(&HARMLESS) {
        return Err(PgqError::SuperuserKey(key).into());
    }
    if !options.says("password") {
        return Err(PgqError::NoPassword.into());
    }
    let connection = Connection::open(&options)?;
    if !connection.used_password() {
        return Err(PgqError::PasswordUnused.into());
    }
    Ok(connection)
}
