//! Exit codes. They are documented in `docs/client.md` and are never reused for something else.

use std::process::ExitCode;

use pgq_client::Error;

use super::output::OutputError;

/// They are told in `--help` and in the man page.
pub(crate) const CODES: &str = "0 done; 1 failed; 2 wrong arguments, INI file or connection string; 3 cannot connect; 4 no such queue, consumer, \
event or function; 5 not permitted; 6 not healthy, or nobody makes ticks; 7 a handler failed, or the output cannot be written; 8 an extension is missing.";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok,
    /// Failed, in no way that has a code of its own.
    Failed,
    /// Wrong arguments, INI file or connection string.
    Usage,
    /// Cannot connect, or refused to.
    Connect,
    /// The queue, consumer, event or function does not exist.
    NotFound,
    /// Not permitted.
    Denied,
    /// `status` found something wrong, or events wait for a tick that nobody makes.
    Unhealthy,
    /// The handler failed, and the policy is to stop; or the output cannot be written.
    Handler,
    /// An extension is missing.
    Missing,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Connect => 3,
            Exit::NotFound => 4,
            Exit::Denied => 5,
            Exit::Unhealthy => 6,
            Exit::Handler => 7,
            Exit::Missing => 8,
        })
    }
}

/// The code for an error.
pub(crate) fn code_of(error: &anyhow::Error) -> Exit {
    let Some(error) = error.chain().find_map(|cause| cause.downcast_ref::<Error>()) else {
        return match (error.is::<UsageError>(), error.is::<OutputError>()) {
            (true, _) => Exit::Usage,
            (_, true) => Exit::Handler,
            _ => Exit::Failed,
        };
    };
    match error {
        Error::Connect { .. } | Error::Lost(_) => Exit::Connect,
        Error::Config(_) => Exit::Usage,
        Error::Missing(_) => Exit::Missing,
        Error::Handler { .. } => Exit::Handler,
        Error::NoTick { .. } => Exit::Unhealthy,
        Error::Io { .. } => Exit::Usage,
        Error::Server(server) => match server.sqlstate.as_str() {
            "42501" => Exit::Denied,
            "42704" | "42883" | "42P01" | "3F000" => Exit::NotFound,
            // PgQ 3.5 has one code for everything; its words tell.
            "P0001" | "XX000"
                if ["not created", "No such", "Not subscriber", "not found"]
                    .iter()
                    .any(|words| server.message.contains(words)) =>
            {
                Exit::NotFound
            }
            _ => Exit::Failed,
        },
        _ => Exit::Failed,
    }
}

/// Wrong use that the argument parser cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// True when whoever read our output has gone (`pgq … | head`), which is no failure.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
