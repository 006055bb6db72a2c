//! Errors for what is not there, where no function of PgQ says it.

use pgq_client::{Error, ServerError};

/// There is no such queue.
pub(super) fn no_queue(queue: &str) -> Error {
    absent(format!("queue \"{queue}\" does not exist"))
}

/// There is no such consumer of the queue.
pub(super) fn no_consumer(queue: &str, consumer: &str) -> Error {
    absent(format!("consumer \"{consumer}\" is not registered on queue \"{queue}\""))
}

fn absent(message: String) -> Error {
    Error::Server(ServerError { sqlstate: "42704".to_owned(), message, detail: None, hint: None })
}
