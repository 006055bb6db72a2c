//! Building `text` values in memory that is used again.

use pgq_core::encode::{Buffer, TooLarge};
use pgrx::{pg_sys, varlena};

use super::text::Text;

/// PostgreSQL's limit for one allocation, 1 GB, less the header.
const LIMIT: usize = 0x3fff_ffff - pg_sys::VARHDRSZ;

/// Memory kept between uses; what a huge value took is given back.
const KEEP: usize = 256 * 1024;

/// A text value under construction.
#[derive(Debug)]
pub struct TextBuffer(Buffer);

impl TextBuffer {
    /// An empty text.
    pub fn new() -> Self {
        Self(Buffer::new(pg_sys::VARHDRSZ, LIMIT))
    }

    /// Start over; the bytes go to the returned buffer.
    pub fn begin(&mut self) -> &mut Buffer {
        self.0.clear(KEEP);
        &mut self.0
    }

    /// The finished value. It points into this buffer, and must not be kept beyond its next use.
    pub fn text(&mut self) -> Result<Text, TooLarge> {
        let bytes = self.0.with_header()?;
        let length = i32::try_from(bytes.len()).map_err(|_| TooLarge { limit: LIMIT })?;
        let header = bytes.as_mut_ptr().cast::<pg_sys::varlena>();
        debug_assert!(header.is_aligned(), "allocators align to more than the header needs");
        // SAFETY: the buffer starts with room for the header.
        unsafe { varlena::set_varsize_4b(header, length) };
        // SAFETY: a complete varlena.
        Ok(unsafe { Text::from_datum(pg_sys::Datum::from(header)) })
    }
}

impl Default for TextBuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// A text value that stays, to be handed out many times.
pub struct StoredText {
    buffer: TextBuffer,
    text: Text,
}

impl StoredText {
    /// Make one of bytes in the database's encoding.
    pub fn new(bytes: &[u8]) -> Result<Self, TooLarge> {
        let mut buffer = TextBuffer::new();
        buffer.begin().extend(bytes);
        let text = buffer.text()?;
        Ok(Self { buffer, text })
    }

    /// The value. It must not be kept beyond this owner's life.
    pub fn text(&self) -> Text {
        self.text
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.0.contents().expect("it has become a text")
    }
}
