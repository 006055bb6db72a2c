//! What the command line can do about an error, which the error itself cannot know.

use pgq_client::Error;

/// The option or command that helps with an error.
pub(super) fn about(error: &anyhow::Error) -> Option<String> {
    let error = error.chain().find_map(|cause| cause.downcast_ref::<Error>())?;
    match error {
        Error::LostPosition { .. } => Some(
            "after a restore of the target --rewind moves the consumer back to the target's position; after a seek, or a restore of the \
             queue's database, --reset makes the target forget it"
                .to_owned(),
        ),
        // The server's hint names functions of SQL; the command for it is said besides.
        Error::Server(server) => by_message(&server.message),
        _ => None,
    }
}

fn by_message(message: &str) -> Option<String> {
    if let Some(who) = message.split("Not subscriber to queue: ").nth(1) {
        let (queue, consumer) = who.split_once('/').unwrap_or((who, "CONSUMER"));
        return Some(format!("\"pgq consumer add {queue} {consumer}\" registers it"));
    }
    if message.contains("consumers still attached") {
        return Some(
            "\"pgq consumer list QUEUE\" shows them; --force unregisters them first".to_owned(),
        );
    }
    if message.contains("queue") && (message.contains("not created") || message.contains("No such"))
    {
        return Some("\"pgq queue list\" shows the queues".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::by_message;

    #[test]
    fn who_is_not_registered_is_told_how() {
        let hint = by_message("Not subscriber to queue: orders/mailer").unwrap();
        assert_eq!(hint, "\"pgq consumer add orders mailer\" registers it");
        assert_eq!(by_message("division by zero"), None);
    }
}
