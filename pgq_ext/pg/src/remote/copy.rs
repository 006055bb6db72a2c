//! What a COPY statement of another server sends, as it comes.

use std::ffi::{c_char, c_int};
use std::ptr;
use std::time::Duration;

use super::answer::Kind;
use super::connection::{Connection, Input, OF_LONG_ROW, Patience};
use super::failure::Failure;
use super::statement::c_text;
use crate::ports;

/// What the library says instead of a chunk's length.
const NOTHING_YET: c_int = 0;
const END: c_int = -1;
/// Not of the library's: it may have more.
const MORE: c_int = 1;

/// Chunks that are taken from the library at once, and bytes after which no other one is: its limit
/// for memory is for one long row.
const AT_ONCE: usize = 64;
const ENOUGH: usize = 64 * 1024;

/// A COPY that is running. Where it is dropped before its end, nothing more can be asked.
pub struct CopyOut<'c> {
    connection: &'c Connection,
    patience: Patience,
    /// What was given out last, or null.
    chunk: *mut c_char,
    ready: Ready,
}

/// Chunks of the library's that nobody has been given. Two calls of the kernel for each of them
/// would cost more than the row does.
struct Ready {
    chunks: [(*mut c_char, usize); AT_ONCE],
    /// Those from the first of these up to the second.
    first: usize,
    end: usize,
    /// What the library said after them.
    then: c_int,
}

impl Ready {
    fn new() -> Self {
        Self { chunks: [(ptr::null_mut(), 0); AT_ONCE], first: 0, end: 0, then: MORE }
    }

    fn take(&mut self) -> Option<(*mut c_char, usize)> {
        let chunk = *self.chunks[..self.end].get(self.first)?;
        self.first += 1;
        Some(chunk)
    }

    /// Take what the library has, when nothing is left.
    fn fill(&mut self, connection: &Connection) {
        (self.first, self.end) = (0, 0);
        let Connection { library, raw, .. } = *connection;
        // Nothing in here allocates, but the library.
        self.then = connection.held(|| {
            let mut size = 0;
            while self.end < AT_ONCE && size < ENOUGH {
                let mut chunk = ptr::null_mut();
                // SAFETY: a connection; the library does not wait, and what it gives is ours to
                // free.
                match unsafe { (library.PQgetCopyData)(raw, &raw mut chunk, 1) } {
                    length if length > 0 => {
                        let length = ports::count(length);
                        self.chunks[self.end] = (chunk, length);
                        self.end += 1;
                        size += length;
                    }
                    other => return other,
                }
            }
            MORE
        });
    }
}

impl Connection {
    /// Begin `copy … to stdout`. `silence` is how long nothing may come.
    pub fn copy_out(&self, sql: &str, silence: Duration) -> Result<CopyOut<'_>, Failure> {
        let patience = Patience::Silence(silence);
        let is_copy = self.asking(|| {
            self.give_room(OF_LONG_ROW);
            self.send_statements(&c_text(sql)?, patience)?;
            let answer = self.next(patience)?.ok_or(Failure::Protocol)?;
            let kind = match answer.kind() {
                Ok(kind) => kind,
                Err(failure) => {
                    self.read_end(patience)?;
                    return Err(failure);
                }
            };
            Ok(kind == Kind::CopyOut)
        })?;
        // Until it has ended.
        self.is_done.set(true);
        if is_copy {
            let chunk = ptr::null_mut();
            Ok(CopyOut { connection: self, patience, chunk, ready: Ready::new() })
        } else {
            Err(Failure::Protocol)
        }
    }

    /// After the first result or the data of a statement: no more but errors may come.
    fn read_end(&self, patience: Patience) -> Result<(), Failure> {
        let mut refused = None;
        // A statement has one result; what comes after an error is that error again at most.
        for _ in 0..3 {
            let Some(answer) = self.next(patience)? else {
                return refused.map_or(Ok(()), Err);
            };
            match answer.kind() {
                Ok(Kind::Done) => {}
                Ok(_) => return Err(Failure::Protocol),
                Err(failure @ Failure::Refused { .. }) => {
                    refused.get_or_insert(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::Protocol)
    }
}

impl CopyOut<'_> {
    /// The next chunk, which in text format is a row; none when it has ended well.
    pub fn chunk(&mut self) -> Result<Option<&[u8]>, Failure> {
        self.connection.look_at_interrupts()?;
        self.forget_chunk();
        if self.ready.first == self.ready.end {
            self.await_chunk()?;
        }
        if let Some((chunk, length)) = self.ready.take() {
            self.chunk = chunk;
            // SAFETY: so many bytes, until the next call or the end of the value.
            return Ok(Some(unsafe { std::slice::from_raw_parts(chunk.cast(), length) }));
        }
        let end = self.connection.read_end(self.patience);
        if matches!(end, Ok(()) | Err(Failure::Refused { .. })) {
            self.connection.is_done.set(false);
        }
        end.map(|()| None)
    }

    /// Wait until there is a chunk, or the end.
    fn await_chunk(&mut self) -> Result<(), Failure> {
        let mut input = Input::new(self.connection, self.patience);
        loop {
            match self.ready.then {
                MORE => {}
                NOTHING_YET => input.more()?,
                END => return Ok(()),
                _ => return Err(self.connection.unreachable()),
            }
            self.ready.fill(self.connection);
            if self.ready.end > 0 {
                return Ok(());
            }
        }
    }

    fn forget_chunk(&mut self) {
        // SAFETY: the library's, or null, which it takes.
        unsafe { (self.connection.library.PQfreemem)(self.chunk.cast()) };
        self.chunk = ptr::null_mut();
    }
}

impl Drop for CopyOut<'_> {
    fn drop(&mut self) {
        self.forget_chunk();
        while let Some((chunk, _)) = self.ready.take() {
            self.chunk = chunk;
            self.forget_chunk();
        }
    }
}
