//! Writing an object on the other host.

use std::io::{self, Seek, SeekFrom, Write};

use crate::repo::ssh::connection::Connection;
use crate::repo::ssh::protocol::Request;
use crate::size::wide;

/// How much is sent at a time.
const BUFFER: usize = 256 << 10;

/// Sends what is written to it.
pub(super) struct RemoteSink<'a> {
    connection: &'a mut Connection,
    buffer: Vec<u8>,
    position: u64,
}

impl<'a> RemoteSink<'a> {
    /// At the beginning of a new object.
    pub(super) fn new(connection: &'a mut Connection) -> Self {
        Self { connection, buffer: Vec::with_capacity(BUFFER), position: 0 }
    }

    /// Send what is still here.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.connection.say(&Request::Write, &self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for RemoteSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = (BUFFER - self.buffer.len()).min(bytes.len());
        self.buffer.extend_from_slice(bytes.get(..room).expect("there are that many"));
        self.position += wide(room);
        if self.buffer.len() == BUFFER {
            self.finish()?;
        }
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.finish()
    }
}

impl Seek for RemoteSink<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(_) => None,
        };
        let target = target.ok_or(io::ErrorKind::InvalidInput)?;
        if target != self.position {
            self.finish()?;
            self.connection.say(&Request::Seek { to: target }, &[])?;
            self.position = target;
        }
        Ok(target)
    }
}
