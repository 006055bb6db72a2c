//! What an event of a cascaded queue asks of a node's worker.

use crate::change::Captured;
use crate::error::Error;

/// What an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning<'e> {
    /// A change of a row, or of all: of interest where the table is attached.
    Data,
    /// Run this script, which has a name and attributes.
    Execute {
        /// The script's name, unique among all queues.
        name: &'e str,
        /// The script.
        sql: &'e str,
        /// When it is to be run, urlencoded; empty: always.
        attributes: &'e str,
    },
    /// The queue has one more table.
    AddTable(&'e str),
    /// The queue has lost a table.
    RemoveTable(&'e str),
    /// The sequence is below this value on the root.
    UpdateSequence {
        /// The sequence.
        name: &'e str,
        /// A value that it may be moved to.
        value: &'e str,
    },
    /// The queue has lost a sequence.
    RemoveSequence(&'e str),
    /// A node is there, or here, or dead.
    Location {
        /// The node.
        node: &'e str,
        /// Where it is; empty: as before.
        location: &'e str,
        /// Is it dead?
        dead: bool,
    },
    /// A node is no more.
    ForgetLocation(&'e str),
    /// All nodes have passed this tick.
    GlobalWatermark(&'e str),
    /// This queue has the events of another one up to this tick.
    PartWatermark {
        /// The other queue.
        part: &'e str,
        /// Its tick.
        tick: &'e str,
    },
}

impl<'e> Meaning<'e> {
    /// Of an event of `queue`.
    ///
    /// # Errors
    /// [`Error::Payload`] for an event of a retry queue, which a cascade does not have, of another
    /// queue's set, and of a type that is not known.
    pub fn of(event: &'e impl Captured, queue: &str) -> Result<Self, Error> {
        let id = event.id();
        let wrong = |what: String| Err(Error::Payload(format!("event {id}: {what}")));
        if event.is_retry() {
            return wrong("a cascade takes no events of the retry queue".to_owned());
        }
        let (kind, data) = (event.kind(), event.data());
        if kind.starts_with("pgq.") && kind != "pgq.tick-id" && event.extra(1) != queue {
            return wrong(format!("{kind} of queue \"{}\" came with \"{queue}\"", event.extra(1)));
        }
        Ok(match kind {
            "EXECUTE" => {
                Self::Execute { name: event.extra(1), sql: data, attributes: event.extra(2) }
            }
            "londiste.add-table" => Self::AddTable(data),
            "londiste.remove-table" => Self::RemoveTable(data),
            "londiste.update-seq" => Self::UpdateSequence { name: event.extra(1), value: data },
            "londiste.remove-seq" => Self::RemoveSequence(data),
            "pgq.location-info" => Self::Location {
                node: data,
                location: event.extra(2),
                dead: matches!(event.extra(3), "t" | "true"),
            },
            "pgq.unregister-location" => Self::ForgetLocation(data),
            "pgq.global-watermark" => Self::GlobalWatermark(data),
            "pgq.tick-id" => Self::PartWatermark { part: event.extra(1), tick: data },
            "R" | "I" | "U" | "D" => Self::Data,
            kind if ["I:", "U:", "D:", "{"].iter().any(|begin| kind.starts_with(begin)) => {
                Self::Data
            }
            other => return wrong(format!("unknown type \"{other}\"")),
        })
    }

    /// Is it of interest to a table's copier?
    pub fn is_data(self) -> bool {
        self == Self::Data
    }
}

#[cfg(test)]
mod tests {
    use super::{Captured, Meaning};

    struct Event(&'static str, &'static str, [&'static str; 3], bool);

    impl Captured for Event {
        fn id(&self) -> i64 {
            5
        }

        fn is_retry(&self) -> bool {
            self.3
        }

        fn kind(&self) -> &str {
            self.0
        }

        fn data(&self) -> &str {
            self.1
        }

        fn extra(&self, number: usize) -> &str {
            self.2.get(number - 1).copied().unwrap_or_default()
        }
    }

    #[test]
    fn events_of_the_queue_itself_are_known() {
        let event = Event("pgq.location-info", "n", ["q", "host=x", "true"], false);
        let location = Meaning::Location { node: "n", location: "host=x", dead: true };
        assert_eq!(Meaning::of(&event, "q"), Ok(location));
        let event = Event("londiste.update-seq", "30001", ["public.s", "", ""], false);
        let update = Meaning::UpdateSequence { name: "public.s", value: "30001" };
        assert_eq!(Meaning::of(&event, "q"), Ok(update));
        for kind in ["I", "U:id", "D:a,b", "R", r#"{"op":"INSERT"}"#] {
            assert!(
                Meaning::of(&Event(kind, "", ["public.t", "", ""], false), "q").unwrap().is_data()
            );
        }
    }

    #[test]
    fn what_does_not_belong_here_is_refused() {
        for (event, words) in [
            (Event("pgq.global-watermark", "1", ["other", "", ""], false), "of queue \"other\""),
            (Event("order.paid", "", [""; 3], false), "unknown type \"order.paid\""),
            (Event("I:id", "", ["public.t", "", ""], true), "retry queue"),
        ] {
            let error = Meaning::of(&event, "q").unwrap_err().to_string();
            assert!(error.starts_with("event payload: event 5: "), "{error}");
            assert!(error.contains(words), "{error}");
        }
    }
}
