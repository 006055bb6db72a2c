//! A short text in memory that processes share without a lock: one writes it, any read it, and
//! whoever reads in the middle of a write tries again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How often to try again before the writer is taken for dead.
const PATIENCE: usize = 1000;

/// The parts of a text in shared memory.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Odd while the text is being written.
    pub version: &'a AtomicU32,
    /// Bytes of the text.
    pub length: &'a AtomicU32,
    /// The text, eight bytes a word.
    pub words: &'a [AtomicU64],
}

impl Place<'_> {
    /// How many bytes fit.
    pub fn capacity(&self) -> usize {
        self.words.len() * 8
    }

    /// Replace the text by so many bytes as fit.
    pub fn store(&self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.capacity())];
        let length = u32::try_from(bytes.len()).expect("shared texts are short");
        self.version.fetch_add(1, Ordering::SeqCst);
        let mut chunks = bytes.chunks(8);
        for word in self.words {
            let mut buffer = [0; 8];
            let chunk = chunks.next().unwrap_or_default();
            buffer[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_le_bytes(buffer), Ordering::SeqCst);
        }
        self.length.store(length, Ordering::SeqCst);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// The text; none when the writer died in the middle of it.
    pub fn load(&self) -> Option<Vec<u8>> {
        for _ in 0..PATIENCE {
            let before = self.version.load(Ordering::SeqCst);
            let length = self.length.load(Ordering::SeqCst);
            let mut bytes: Vec<u8> = self
                .words
                .iter()
                .flat_map(|word| word.load(Ordering::SeqCst).to_le_bytes())
                .collect();
            if before.is_multiple_of(2) && self.version.load(Ordering::SeqCst) == before {
                bytes.truncate(usize::try_from(length).expect("an address has at least 32 bits"));
                return Some(bytes);
            }
            std::hint::spin_loop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicBool;

    #[derive(Default)]
    struct Memory {
        version: AtomicU32,
        length: AtomicU32,
        words: [AtomicU64; 4],
    }

    impl Memory {
        fn place(&self) -> Place<'_> {
            Place { version: &self.version, length: &self.length, words: &self.words }
        }
    }

    proptest! {
        #[test]
        fn what_is_stored_is_loaded_up_to_the_capacity(
            first in proptest::collection::vec(any::<u8>(), 0..40),
            second in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let memory = Memory::default();
            for text in [first, second] {
                memory.place().store(&text);
                let fits = text.len().min(memory.place().capacity());
                prop_assert_eq!(memory.place().load(), Some(text[..fits].to_vec()));
            }
        }
    }

    #[test]
    fn zeroed_memory_is_the_empty_text() {
        assert_eq!(Memory::default().place().load(), Some(Vec::new()));
    }

    #[test]
    fn a_text_whose_writer_died_is_none() {
        let memory = Memory::default();
        memory.place().store(b"whole");
        memory.version.fetch_add(1, Ordering::SeqCst);
        assert_eq!(memory.place().load(), None);
    }

    #[test]
    fn a_reader_sees_whole_texts_only() {
        let memory = Memory::default();
        memory.place().store(&[b'a'; 32]);
        let end = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !end.load(Ordering::SeqCst) {
                    memory.place().store(&[b'b'; 17]);
                    memory.place().store(&[b'a'; 32]);
                }
            });
            for _ in 0..20_000 {
                if let Some(text) = memory.place().load() {
                    assert!(text == [b'a'; 32] || text == [b'b'; 17], "{text:?}");
                }
            }
            end.store(true, Ordering::SeqCst);
        });
    }
}
