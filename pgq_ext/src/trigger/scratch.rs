//! Memory for building an event, used again for the next one.

use std::cell::RefCell;

use pgq_pg::text_buffer::TextBuffer;

/// Buffers of one event. A trigger that fires another one, through an expression or a replaced
/// `insert_event`, has a second set in use.
pub(crate) struct Scratch {
    pub(crate) data: TextBuffer,
    pub(crate) backup: TextBuffer,
}

thread_local! {
    static FREE: RefCell<Vec<Scratch>> = const { RefCell::new(Vec::new()) };
}

/// Run `f` with buffers that nobody else uses. After an error they are simply dropped.
pub(crate) fn with<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = FREE
        .with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| Scratch { data: TextBuffer::new(), backup: TextBuffer::new() });
    let result = f(&mut scratch);
    FREE.with_borrow_mut(|free| free.push(scratch));
    result
}
