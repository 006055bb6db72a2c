//! What can make a call that failed succeed later. Every loop that tries again asks here, and so
//! does the exit code.

use postgres::error::SqlState;

use crate::error::{Error, ServerError};

/// What a failure waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Time: the server restarts, fails over, is out of connections or disk, or chose us as the
    /// victim of a conflict. Also the failure of a handler that does not say more.
    Time,
    /// Somebody who changes the target, the event's producer or the settings. Services go on
    /// trying, so that it heals by itself then; what is to end when there is nothing more to do
    /// ends.
    Hand,
    /// Nothing that can happen while the process goes on: it ends.
    Nothing,
}

impl Error {
    /// What it waits for.
    pub fn cure(&self) -> Cure {
        match self {
            Self::Lost(_) | Self::BatchGone { .. } | Self::Connect { sqlstate: None, .. } => {
                Cure::Time
            }
            Self::Connect { sqlstate: Some(code), .. } if is_transient(code) => Cure::Time,
            Self::Server(error) if is_transient(&error.sqlstate) => Cure::Time,
            Self::Handler { source, .. } => of_handler(source.as_ref()),
            Self::Payload(_)
            | Self::Refused(_)
            | Self::Absent(_)
            | Self::ReadOnly(_)
            | Self::Cascade(_) => Cure::Hand,
            Self::Connect { .. }
            | Self::Server(_)
            | Self::Answer(_)
            | Self::Config(_)
            | Self::Missing(_)
            | Self::NoCommand { .. }
            | Self::LostPosition { .. }
            | Self::NoTick { .. }
            | Self::Io { .. } => Cure::Nothing,
        }
    }

    /// True when the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        self.cure() == Cure::Time
    }

    /// Does a loop try again after this? One that is to end when there is nothing more to do does
    /// not wait for anybody's hand.
    pub(crate) fn is_worth_trying_again(&self, ends_when_empty: bool) -> bool {
        match self.cure() {
            Cure::Time => true,
            Cure::Hand => !ends_when_empty,
            Cure::Nothing => false,
        }
    }

    /// Is a server away, rather than an event at fault?
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Handler { source, .. } => match source.downcast_ref::<Self>() {
                Some(error) => error.is_outage(),
                None => source.is::<postgres::Error>() && self.is_transient(),
            },
            Self::BatchGone { .. } => false,
            _ => self.is_transient(),
        }
    }

    /// Is it this very event that cannot be handled, while others can? Such an event may be set
    /// aside.
    pub fn is_of_event(&self) -> bool {
        match self {
            Self::Payload(_) | Self::Refused(_) | Self::Absent(_) => true,
            // Bad values, broken constraints, limits, and what triggers refuse.
            Self::Server(error) => {
                let code = error.sqlstate.as_str();
                ["21", "22", "23", "44", "54"].iter().any(|class| code.starts_with(class))
                    || code == SqlState::RAISE_EXCEPTION.code()
            }
            Self::Handler { source, .. } => {
                source.downcast_ref::<Self>().is_some_and(Self::is_of_event)
            }
            _ => false,
        }
    }

    /// True when the session cannot be used any more, or is on a server that is not (or no longer)
    /// the primary.
    pub(crate) fn needs_reconnect(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Connect { .. } | Self::Answer(_) | Self::ReadOnly(_) => true,
            Self::Server(error) => error.sqlstate == SqlState::READ_ONLY_SQL_TRANSACTION.code(),
            Self::Handler { .. } => {
                self.sqlstate() == Some(SqlState::READ_ONLY_SQL_TRANSACTION.code())
            }
            _ => false,
        }
    }
}

impl ServerError {
    /// Does something that the statement names not exist, as far as PgQ and the server have codes
    /// for it?
    pub fn is_absent(&self) -> bool {
        match self.sqlstate.as_str() {
            "42704" | "42883" | "42P01" | "3F000" => true,
            // PgQ 3.5 has one code for everything; its words tell.
            "P0001" | "XX000" => ["not created", "No such", "Not subscriber", "not found"]
                .iter()
                .any(|words| self.message.contains(words)),
            _ => false,
        }
    }

    /// Is the role not permitted to do it?
    pub fn is_denied(&self) -> bool {
        self.sqlstate == SqlState::INSUFFICIENT_PRIVILEGE.code()
    }
}

/// A handler that fails with this library's error says by it what it waits for; of any other only
/// outages are known, and that the handler may do better next time.
fn of_handler(source: &(dyn std::error::Error + Send + Sync + 'static)) -> Cure {
    if let Some(error) = source.downcast_ref::<Error>() {
        return match error {
            Error::Server(server) if is_transient(&server.sqlstate) => Cure::Time,
            // A table can be made while we wait, as a column can; a queue or function that is named
            // by the settings is a mistake there.
            Error::Server(server)
                if server.is_denied()
                    || (server.is_absent()
                        && server.sqlstate != SqlState::UNDEFINED_TABLE.code()) =>
            {
                Cure::Nothing
            }
            Error::Server(_) | Error::Answer(_) => Cure::Hand,
            other => other.cure(),
        };
    }
    match source.downcast_ref::<postgres::Error>().and_then(postgres::Error::code) {
        Some(code) if !is_transient(code.code()) => Cure::Hand,
        _ => Cure::Time,
    }
}

fn is_transient(code: &str) -> bool {
    // Connection exceptions, insufficient resources, system errors; the rest by name.
    ["08", "53", "58"].iter().any(|class| code.starts_with(class))
        || [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::QUERY_CANCELED,
            SqlState::OBJECT_IN_USE,
        ]
        .iter()
        .any(|state| state.code() == code)
}

#[cfg(test)]
mod tests {
    use super::{Cure, Error, ServerError};

    fn server(code: &str) -> Error {
        Error::Server(ServerError {
            sqlstate: code.to_owned(),
            message: "m".to_owned(),
            detail: None,
            hint: None,
        })
    }

    fn handler(source: impl Into<crate::HandlerError>) -> Error {
        Error::Handler { event_id: None, source: source.into() }
    }

    #[test]
    fn what_heals_by_itself_is_told_from_what_does_not() {
        for (error, cure) in [
            (server("40P01"), Cure::Time),
            (server("53100"), Cure::Time),
            (server("42704"), Cure::Nothing),
            (server("22001"), Cure::Nothing),
            (Error::Lost(String::new()), Cure::Time),
            (Error::Absent(String::new()), Cure::Hand),
            (handler("no luck"), Cure::Time),
            (handler(server("53100")), Cure::Time),
            (handler(server("22001")), Cure::Hand),
            (handler(server("42703")), Cure::Hand),
            (handler(server("42P01")), Cure::Hand),
            (handler(server("42704")), Cure::Nothing),
            (handler(server("42501")), Cure::Nothing),
            (handler(Error::Payload(String::new())), Cure::Hand),
            (handler(Error::Lost(String::new())), Cure::Time),
            (handler(Error::NoCommand { what: String::new(), denied: false }), Cure::Nothing),
        ] {
            assert_eq!(error.cure(), cure, "{error:?}");
        }
        assert!(server("25006").needs_reconnect());
        assert!(handler(server("25006")).needs_reconnect());
        assert!(!handler("no luck").is_outage());
        assert!(handler(server("53100")).is_outage());
        assert!(!Error::Absent(String::new()).is_worth_trying_again(true));
        assert!(Error::Absent(String::new()).is_worth_trying_again(false));
    }

    #[test]
    fn an_event_is_at_fault_for_values_and_not_for_the_server() {
        for (code, expected) in
            [("22P02", true), ("23505", true), ("P0001", true), ("42703", false), ("53100", false)]
        {
            assert_eq!(server(code).is_of_event(), expected, "{code}");
            assert_eq!(handler(server(code)).is_of_event(), expected, "{code}");
        }
    }

    #[test]
    fn refused_password_is_final_and_unreachable_host_is_not() {
        let refused = |sqlstate: Option<&str>| Error::Connect {
            to: "x".to_owned(),
            reason: "r".to_owned(),
            sqlstate: sqlstate.map(str::to_owned),
        };
        assert!(refused(None).is_transient());
        assert!(refused(Some("57P03")).is_transient());
        assert!(!refused(Some("28P01")).is_transient());
    }
}
