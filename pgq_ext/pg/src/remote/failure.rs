//! Why another server gave no answer, as the error that says so.

use pgrx::PgSqlErrorCode;

use crate::call::SqlError;
use crate::{session, setting};

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
        /// What more it says.
        detail: Option<String>,
        /// What it advises.
        hint: Option<String>,
    },
    /// The answer is not one row of one column.
    Shape,
    /// The answer is not in the encoding that was asked for.
    Encoding,
    /// There was no connection within the time for it.
    Timeout,
    /// Nothing has come for too long.
    Silent,
    /// The other side does not keep to the protocol, or not to what the statement asks for.
    Protocol,
    /// The answer is longer than anything that is asked for.
    TooLarge,
    /// An error of this session while it waited: it was told to stop.
    Here(session::Failure),
}

impl From<Failure> for session::Failure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Here(failure) => failure,
            Failure::Refused { code: _, sqlstate, message, detail, hint } => {
                Self { sqlstate, message: format!("the other server: {message}"), detail, hint }
            }
            other => {
                let SqlError { code, message, hint } = other.into();
                Self { sqlstate: session::sqlstate(code), message, detail: None, hint }
            }
        }
    }
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
            Failure::Refused { code, sqlstate, message, detail: _, hint } => Self {
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
                "the other server's answer is not in the encoding that was asked for",
                "",
            ),
            Failure::Timeout => plain(
                PgSqlErrorCode::ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
                "the other server does not answer",
                "",
            ),
            Failure::Silent => plain(
                PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE,
                "the other server has fallen silent",
                "",
            ),
            Failure::Protocol => plain(
                PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
                "the other server's answer is none to what was asked",
                "",
            ),
            Failure::TooLarge => plain(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "the other server's answer is too large",
                "",
            ),
            Failure::Here(failure) => {
                let state = <[u8; 5]>::try_from(failure.sqlstate.as_bytes());
                Self {
                    code: error_code(state.expect("an SQLSTATE has five characters")),
                    message: failure.message,
                    hint: failure.hint,
                }
            }
        }
    }
}

/// Bytes of a text of the other side's, at most: it goes to logs and tables.
const LONGEST: usize = 2000;

/// A text of the other side's as it can be shown, cut where it is too long.
pub(super) fn shown(text: &[u8]) -> String {
    let is_within = |&end: &usize| text.get(end).is_some_and(|byte| byte & 0xc0 == 0x80);
    // Not within a character of UTF-8.
    let end = (0..=text.len().min(LONGEST)).rev().find(|end| !is_within(end));
    setting::for_message(&text[..end.expect("no text begins within a character")])
}

/// The code of an SQLSTATE (MAKE_SQLSTATE: six bits a character).
pub(super) fn error_code(state: [u8; 5]) -> PgSqlErrorCode {
    let bits = |character: u8| i32::from(character.wrapping_sub(b'0') & 0x3f);
    let code = state.into_iter().rev().fold(0, |code, character| code << 6 | bits(character));
    PgSqlErrorCode::from(code)
}
