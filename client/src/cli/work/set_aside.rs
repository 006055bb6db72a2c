//! Events that cannot be handled and would stop everything.

use pgq_client::Error;

/// The error of an event that stops everything, with the way to go on without it.
pub(in crate::cli) fn advise(error: Error) -> Error {
    const ADVICE: &str = "to set such events aside, give --dead QUEUE (INI: dead_letter_queue)";
    match error {
        Error::Payload(what) => Error::Payload(format!("{what}; {ADVICE}")),
        Error::Refused(what) => Error::Refused(format!("{what}; {ADVICE}")),
        Error::Absent(what) => Error::Absent(format!("{what}; {ADVICE}")),
        Error::Server(mut server) if server.hint.is_none() => {
            let of_event = Error::Server(server.clone()).is_of_event();
            server.hint = of_event.then(|| ADVICE.to_owned());
            Error::Server(server)
        }
        other => other,
    }
}
