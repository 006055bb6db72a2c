//! Exit codes. They are documented in `docs/client.md` and are never reused for something else.

use std::process::ExitCode;

use pgq_client::Error;

use super::output::OutputError;

/// They are told in `--help` and in the man page.
pub(crate) const CODES: &str = "0 done; 1 failed; 2 wrong arguments, INI file or connection \
    string; 3 cannot connect; 4 no such queue, consumer, event, function, table or command; 5 not \
    permitted; 6 not healthy, or nobody makes ticks; 7 a handler failed, or the output cannot be \
    written; 8 an extension is missing; 128 and more: ended by a signal, 130 by Ctrl-C.";

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
    /// So many tables differ, which `londiste compare` or `repair` has found.
    Differ(u8),
    /// A signal has ended the command, which has put back what it could not leave.
    Signal(u8),
}

impl Exit {
    /// So many tables differ, as far as a code can say.
    pub(crate) fn differ(tables: usize) -> Self {
        /// What is above belongs to the shell and to signals.
        const MOST: u8 = 125;
        match u8::try_from(tables) {
            Ok(0) => Self::Ok,
            Ok(tables) => Self::Differ(tables.min(MOST)),
            Err(_) => Self::Differ(MOST),
        }
    }
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
            Exit::Differ(tables) => tables,
            Exit::Signal(number) => 128 + number,
        })
    }
}

/// The code for an error.
pub(crate) fn code_of(error: &anyhow::Error) -> Exit {
    match error.chain().find_map(|cause| cause.downcast_ref::<Error>()) {
        Some(error) => code_of_library(error),
        None if error.is::<UsageError>() => Exit::Usage,
        None if error.is::<OutputError>() => Exit::Handler,
        None => Exit::Failed,
    }
}

/// The code for the error that ends a service. A file that could be read when it started may be so
/// again: code 2 tells systemd to leave it alone.
pub(crate) fn code_of_service(error: &Error) -> Exit {
    match error {
        Error::Io { .. } => Exit::Failed,
        other => code_of_library(other),
    }
}

fn code_of_library(error: &Error) -> Exit {
    match error {
        Error::Connect { .. } | Error::Lost(_) => Exit::Connect,
        Error::Config(_) => Exit::Usage,
        Error::Missing(_) => Exit::Missing,
        Error::NoTick { .. } => Exit::Unhealthy,
        Error::Refused(_) | Error::NoCommand { denied: true, .. } => Exit::Denied,
        Error::Absent(_) | Error::NoCommand { .. } => Exit::NotFound,
        // What the handler waits for in vain, where that has a code.
        Error::Handler { source, .. } => match source.downcast_ref::<Error>() {
            Some(Error::Payload(_) | Error::Io { .. }) | None => Exit::Handler,
            Some(inner) => match code_of_library(inner) {
                Exit::Failed => Exit::Handler,
                code => code,
            },
        },
        Error::Io { .. } => Exit::Usage,
        Error::Server(server) if server.is_denied() => Exit::Denied,
        Error::Server(server) if server.is_absent() => Exit::NotFound,
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
