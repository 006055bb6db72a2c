//! What a COPY statement of another server sends, as it comes.

use std::ffi::{c_char, c_int};
use std::ptr;
use std::time::Duration;

use super::answer::Kind;
use super::connection::{Connection, Input, OF_LONG_ROW, Patience};
use super::failure::Failure;
use super::statement::c_text;
use crate::ports;

const NOTHING_YET: c_int = 0;
const END: c_int = -1;

/// A COPY that is running. Where it is dropped before its end, nothing more can be asked.
pub struct CopyOut<'c> {
    connection: &'c Connection,
    patience: Patience,
    /// What the library gave last, or null.
    chunk: *mut c_char,
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
            Ok(CopyOut { connection: self, patience, chunk: ptr::null_mut() })
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
        let Connection { library, raw, .. } = *self.connection;
        self.connection.look_at_interrupts()?;
        self.forget_chunk();
        let mut input = Input::new(self.connection, self.patience);
        loop {
            // SAFETY: a connection; the library does not wait, and what it gives is ours to free.
            let get = || unsafe { (library.PQgetCopyData)(raw, &raw mut self.chunk, 1) };
            match self.connection.held(get) {
                NOTHING_YET => input.more()?,
                END => break,
                length if length > 0 => {
                    // SAFETY: so many bytes, until the next call or the end of the value.
                    let chunk = unsafe {
                        std::slice::from_raw_parts(self.chunk.cast(), ports::count(length))
                    };
                    return Ok(Some(chunk));
                }
                _ => return Err(self.connection.unreachable()),
            }
        }
        let end = self.connection.read_end(self.patience);
        if matches!(end, Ok(()) | Err(Failure::Refused { .. })) {
            self.connection.is_done.set(false);
        }
        end.map(|()| None)
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
    }
}
