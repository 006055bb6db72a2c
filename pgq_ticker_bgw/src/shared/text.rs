//! A short text in shared memory.

use std::sync::atomic::{AtomicU32, AtomicU64};

use pgq_core::encode::opaque;
use pgq_pg::shareable;
use pgq_pg::string::clip;
use pgq_ticker_core::text::Place;

shareable! {
    /// A short text in shared memory, `WORDS` times 8 bytes in the encoding of the writer's
    /// database; what does not fit is cut at a character.
    ///
    /// One process writes it; readers that catch it in the middle try again, see [`Place`].
    pub(crate) struct Text[const WORDS] {
        /// Odd while it is being written.
        version: AtomicU32,
        len: AtomicU32,
        words: [AtomicU64; WORDS],
    }
}

impl<const WORDS: usize> Text<WORDS> {
    pub(super) const fn new() -> Self {
        Self {
            version: AtomicU32::new(0),
            len: AtomicU32::new(0),
            words: [const { AtomicU64::new(0) }; WORDS],
        }
    }

    /// True when the text is this one, or as much of it as fits.
    pub(crate) fn holds(&self, text: &str) -> bool {
        *opaque::encode(&self.load()) == *clip(text, self.place().capacity())
    }

    /// Replace the text.
    pub(crate) fn store(&self, text: &str) {
        self.place().store(&clip(text, self.place().capacity()));
    }

    /// The text; empty when the writer died in the middle of it.
    pub(crate) fn load(&self) -> String {
        opaque::decode(&self.place().load().unwrap_or_default()).into_owned()
    }

    fn place(&self) -> Place<'_> {
        Place { version: &self.version, length: &self.len, words: &self.words }
    }
}
