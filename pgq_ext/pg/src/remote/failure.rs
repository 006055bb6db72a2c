//! Why another server gave no answer, as the error that says so.

use pgrx::PgSqlErrorCode;

use crate::call::SqlError;

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The library is not installed.
    NoLibrary,
    /// The connection string is none. It is not repeated: it may be a password.
    BadLocation,
    /// This process has too many files open.
    NoFile,
    /// There is no connection, or no longer; what the library says.
    Unreachable(String),
    /// The other server refuses the statement.
    Refused {
        /// Its SQLSTATE, or XX000 for one that this server does not know.
        code: PgSqlErrorCode,
        /// Its SQLSTATE.
        sqlstate: String,
        /// What it says.
        message: String,
        /// What it advises.
        hint: Option<String>,
    },
    /// The answer is not one row of one column.
    Shape,
    /// The answer is not in this database's encoding.
    Encoding,
}

impl From<Failure> for SqlError {
    fn from(failure: Failure) -> Self {
        let plain = |code, message: &str, hint: &str| Self {
            code,
            message: message.to_owned(),
            hint: Some(hint.to_owned()).filter(|hint| !hint.is_empty()),
        };
        match failure {
            Failure::NoLibrary => plain(
                PgSqlErrorCode::ERRCODE_UNDEFINED_FILE,
                "libpq.so.5 cannot be loaded",
                "Install libpq5 on the host of this server.",
            ),
            Failure::BadLocation => plain(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "the connection string is not valid",
                "It is libpq's: \"host=… port=… dbname=… user=…\", or postgresql://….",
            ),
            Failure::NoFile => plain(
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
                "this process has too many files open for a connection",
                "",
            ),
            Failure::Unreachable(message) => Self {
                code: PgSqlErrorCode::ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
                message,
                hint: None,
            },
            Failure::Refused { code, sqlstate, message, hint } => Self {
                code,
                message: format!("the other server: {message} (SQLSTATE {sqlstate})"),
                hint,
            },
            Failure::Shape => plain(
                PgSqlErrorCode::ERRCODE_CARDINALITY_VIOLATION,
                "the other server's answer is not one value",
                "",
            ),
            Failure::Encoding => plain(
                PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
                "the other server's answer is not in the encoding of this database",
                "",
            ),
        }
    }
}
