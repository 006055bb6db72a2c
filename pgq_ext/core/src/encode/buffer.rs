//! The byte buffer that encoders write to.
//!
//! Writing cannot fail half way: a buffer that would exceed its limit, or for which there is no
//! memory, swallows what follows and says so once at the end. Encoders stay simple, and no
//! allocation failure takes the server down.

/// Bytes being collected, with a limit on their number.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    header: usize,
    limit: usize,
    overflown: bool,
}

/// More was written to a [`Buffer`] than it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text exceeds the limit of {limit} bytes")]
pub struct TooLarge {
    /// The limit that was hit, without the header.
    pub limit: usize,
}

impl Buffer {
    /// An empty buffer for up to `limit` bytes after `header` bytes that the owner fills in later.
    pub fn new(header: usize, limit: usize) -> Self {
        Self { bytes: vec![0; header], header, limit, overflown: false }
    }

    /// Forget the contents. Memory is kept, unless it is more than `keep` bytes.
    pub fn clear(&mut self, keep: usize) {
        if self.bytes.capacity() > keep {
            self.bytes = vec![0; self.header];
        } else {
            self.bytes.truncate(self.header);
        }
        self.overflown = false;
    }

    /// Append bytes.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.reserve(bytes.len()) {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Append one byte.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        if self.reserve(1) {
            self.bytes.push(byte);
        }
    }

    /// What was written, without the header.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] when more was written than the buffer may hold.
    pub fn contents(&self) -> Result<&[u8], TooLarge> {
        if self.overflown {
            return Err(TooLarge { limit: self.limit });
        }
        Ok(&self.bytes[self.header..])
    }

    /// Header and contents, for the owner to fill in the header.
    ///
    /// # Errors
    ///
    /// As for [`Buffer::contents`].
    pub fn with_header(&mut self) -> Result<&mut [u8], TooLarge> {
        if self.overflown {
            return Err(TooLarge { limit: self.limit });
        }
        Ok(&mut self.bytes)
    }

    /// True when there is room for `more` bytes.
    #[inline]
    fn reserve(&mut self, more: usize) -> bool {
        self.bytes.capacity() - self.bytes.len() >= more && !self.overflown && self.within(more)
            || self.grow(more)
    }

    #[inline]
    fn within(&self, more: usize) -> bool {
        self.bytes.len() - self.header + more <= self.limit
    }

    #[cold]
    fn grow(&mut self, more: usize) -> bool {
        if self.overflown || !self.within(more) || self.bytes.try_reserve(more).is_err() {
            self.overflown = true;
        }
        !self.overflown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_beyond_the_limit_are_reported_at_the_end() {
        let mut buffer = Buffer::new(4, 3);
        buffer.extend(b"abc");
        assert_eq!(buffer.contents(), Ok(&b"abc"[..]));
        buffer.push(b'd');
        buffer.extend(b"");
        assert_eq!(buffer.contents(), Err(TooLarge { limit: 3 }));
        assert_eq!(buffer.with_header(), Err(TooLarge { limit: 3 }));
        buffer.clear(100);
        buffer.extend(b"xy");
        assert_eq!(buffer.with_header().map(|bytes| bytes.to_vec()), Ok(b"\0\0\0\0xy".to_vec()));
    }

    #[test]
    fn memory_above_the_mark_is_released() {
        let mut buffer = Buffer::new(0, usize::MAX);
        buffer.extend(&[1; 5000]);
        buffer.clear(100);
        assert!(buffer.bytes.capacity() < 5000);
    }
}
