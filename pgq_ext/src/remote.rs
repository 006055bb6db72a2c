//! Asking other nodes of a set: `londiste._ask` and `londiste._check_location`.
//!
//! A backend is the server's operating-system user, whom other servers may trust. So who is not
//! superuser must bring a password, which the other server must ask for, and can name no file or
//! service of this host.

use crate::error::PgqError;
use pgq_pg::call::{Call, Returned, SqlError};
use pgq_pg::catalog;
use pgq_pg::function::OwnFunction;
use pgq_pg::remote::{Connection, Key, Options};
use pgq_pg::text::Text;
use pgq_ticker_bgw::{HARMLESS, is_of_place};

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

/// `londiste._check_server_options(i_options, i_catalog)`: the validator of `londiste_fdw`.
pub(crate) fn check_server_options(call: &Call) -> Result<Returned, SqlError> {
    let catalog = call.oid(1).ok_or(PgqError::NullArgument("catalog"))?;
    let options = match call.text_array(0) {
        None => Vec::new(),
        Some(elements) => elements.map_err(|_| PgqError::ArrayDimensions("i_options"))?,
    };
    for option in options.into_iter().flatten() {
        let option = option.to_display();
        let (key, _) = option.split_once('=').unwrap_or((&option, ""));
        check_option(key, catalog.to_u32())?;
    }
    Ok(Returned::Done)
}

/// `pg_foreign_server` and `pg_user_mapping`.
const SERVER: u32 = 1417;
const MAPPING: u32 = 1418;

fn check_option(key: &str, catalog: u32) -> Result<(), SqlError> {
    let kind = Key::of(key)?.ok_or_else(|| PgqError::ServerOption(key.to_owned()))?;
    // Keys of SCRAM prove who somebody is, and the library takes them for no secret.
    let is_personal = kind == Key::Secret || key == "user" || key.starts_with("scram_");
    // What we say ourselves, or what would make it a session of another kind.
    let is_ours = ["client_encoding", "replication", "fallback_application_name"].contains(&key);
    let elsewhere = |place| Err(PgqError::OptionPlace { key: key.to_owned(), place }.into());
    match catalog {
        SERVER if is_personal => elsewhere("user mapping"),
        MAPPING if is_of_place(key) => elsewhere("foreign server"),
        SERVER | MAPPING if !is_ours => Ok(()),
        _ => Err(PgqError::ServerOption(key.to_owned()).into()),
    }
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
