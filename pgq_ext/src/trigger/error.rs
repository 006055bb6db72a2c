//! What a change-capture trigger may refuse, with its SQLSTATE.

use pgq_core::capture::change::KeyChanged;
use pgq_core::capture::expression::BadExpression;
use pgq_core::capture::kinds::BadKinds;
use pgq_core::capture::options::BadOption;
use pgq_core::encode::TooLarge;
use pgrx::PgSqlErrorCode;

use crate::error::PgqError;
use pgq_pg::call::SqlError;

/// Texts are PgQ 3.5's, typing errors included: clients match them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TriggerError {
    #[error("pgq.{0} not called as trigger")]
    NotATrigger(&'static str),
    #[error("pgq tRuncate trigger must be fired FOR EACH STATEMENT")]
    TruncatePerRow,
    #[error("pgq Ins/Upd/Del trigger must be fired FOR EACH ROW")]
    ChangePerStatement,
    #[error("pgq trigger must have destination queue as argument")]
    NoQueue,
    #[error("unknown event for pgq trigger")]
    UnknownEvent,
    #[error("SKIP does not work in AFTER trigger.")]
    SkipAfter,
    #[error("pgq.logtriga must be used with 2 or 3 args")]
    KindArguments,
    #[error("pgq.logtriga must be fired AFTER")]
    KindsNotAfter,
    #[error(transparent)]
    Kinds(#[from] BadKinds),
    #[error(transparent)]
    Option(#[from] BadOption),
    #[error("Column ignore does not make sense for truncate trigger")]
    TruncateIgnore,
    #[error("Custom pkey_list does not make sense for truncate trigger")]
    TruncateKey,
    #[error("Backup does not make sense for truncate trigger")]
    TruncateBackup,
    #[error("Custom expressions do not make sense for truncater trigger")]
    TruncateExpression,
    #[error("Update/Delete on table without pkey")]
    NoKey { table: String },
    #[error("Table '{table}' to queue '{queue}': change not allowed ({operation})")]
    Denied { table: String, queue: String, operation: &'static str },
    #[error(transparent)]
    KeyChanged(#[from] KeyChanged),
    #[error("logtriga: Unexpected NULL key value")]
    NullKey,
    #[error("Unknown magic column: {0}")]
    UnknownMagic(String),
    #[error(transparent)]
    Expression(#[from] BadExpression),
    #[error("Override query failed")]
    ExpressionFailed(String),
    #[error("Expect 1 row from override query, got {0}")]
    ExpressionRows(u64),
    #[error("when= query result must be boolean, got={0}")]
    ConditionType(u32),
    #[error("when= should not be NULL")]
    ConditionNull,
    #[error("call of pgq.insert_event failed")]
    InsertFailed(String),
    #[error("event of table {table}: {problem}")]
    TooLarge { table: String, problem: TooLarge },
    #[error(transparent)]
    Event(#[from] PgqError),
}

impl TriggerError {
    fn code(&self) -> PgSqlErrorCode {
        match self {
            Self::NotATrigger(_)
            | Self::TruncatePerRow
            | Self::ChangePerStatement
            | Self::UnknownEvent
            | Self::SkipAfter
            | Self::KindsNotAfter => PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
            Self::NoQueue
            | Self::KindArguments
            | Self::Kinds(_)
            | Self::Option(_)
            | Self::TruncateIgnore
            | Self::TruncateKey
            | Self::TruncateBackup
            | Self::TruncateExpression
            | Self::UnknownMagic(_)
            | Self::Expression(_)
            | Self::ExpressionFailed(_)
            | Self::ExpressionRows(_)
            | Self::ConditionType(_) => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::ConditionNull => PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            Self::NoKey { .. } | Self::Denied { .. } | Self::KeyChanged(_) | Self::NullKey => {
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            Self::TooLarge { .. } => PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            Self::InsertFailed(_) | Self::Event(_) => PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoKey { table } => {
                return Some(format!(
                    "Give table {table} a primary key, name its key columns in the trigger with pkey=, or capture inserts only."
                ));
            }
            Self::NullKey => "A key column of the row is NULL: choose others with pkey=.",
            Self::NoQueue => "Name the queue: execute function pgq.logutriga('queue').",
            Self::TruncatePerRow => "create trigger … for each statement …",
            Self::ChangePerStatement => "create trigger … for each row …",
            Self::SkipAfter => "Make it a BEFORE trigger, or leave out SKIP.",
            Self::UnknownMagic(_) => {
                "Columns _pgq_ev_type, _pgq_ev_data and _pgq_ev_extra1 to _pgq_ev_extra4 set fields of the event."
            }
            Self::KeyChanged(_) => {
                "A consumer finds a row by its key. Delete the row and insert it with the new key."
            }
            Self::Option(_) => {
                "Options are SKIP, backup, deny, ignore=, pkey=, when=, and ev_type=, ev_data=, ev_extra1= to ev_extra4=."
            }
            Self::Expression(BadExpression::Syntax) => {
                "A string or comment has no end, or there is a quoted identifier; name columns without quotes."
            }
            Self::ExpressionFailed(reason) | Self::InsertFailed(reason) => {
                return Some(format!("SPI says {reason}."));
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl From<TriggerError> for SqlError {
    fn from(error: TriggerError) -> Self {
        match error {
            TriggerError::Event(error) => error.into(),
            error => Self { code: error.code(), message: error.to_string(), hint: error.hint() },
        }
    }
}
