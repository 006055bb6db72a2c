//! A connection, from its beginning to its end.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use pgrx::pg_sys;

use super::answer::Answer;
use super::failure::Failure;
use super::libpq::{Conn, Libpq, libpq};
use super::options::{Options, c_string};
use crate::latch::{self, Interest, WaitEvent};
use crate::setting;
use crate::text::Text;

const CONNECTION_OK: c_int = 0;
const CONNECTION_BAD: c_int = 1;
const POLLING_READING: c_int = 1;
const POLLING_WRITING: c_int = 2;
const POLLING_OK: c_int = 3;

/// A connection to another server.
pub struct Connection {
    library: &'static Libpq,
    raw: *mut Conn,
    event: WaitEvent,
}

impl Connection {
    /// Connect.
    pub fn open(options: &Options) -> Result<Self, Failure> {
        let library = libpq().ok_or(Failure::NoLibrary)?;
        let pairs = options.with_ours();
        let pointers = |part: fn(&(&CStr, &CStr)) -> *const c_char| -> Vec<*const c_char> {
            pairs.iter().map(part).chain([ptr::null()]).collect()
        };
        let (keys, values) =
            (pointers(|(key, _)| key.as_ptr()), pointers(|(_, value)| value.as_ptr()));
        // SAFETY: counts a file that the server does not open itself; given back in `drop`.
        if !unsafe { pg_sys::AcquireExternalFD() } {
            return Err(Failure::NoFile);
        }
        // SAFETY: two arrays of C strings that a null pointer ends; the library copies them.
        let raw = unsafe { (library.PQconnectStartParams)(keys.as_ptr(), values.as_ptr(), 0) };
        // It has taken the file; from here on the value gives it back.
        let connection = Self { library, raw, event: WaitEvent::named(c"PgqRemote") };
        connection.get_ready()?;
        Ok(connection)
    }

    fn get_ready(&self) -> Result<(), Failure> {
        let Libpq { PQstatus: status, PQconnectPoll: poll, .. } = self.library;
        if self.raw.is_null() {
            return Err(Failure::Unreachable("out of memory".to_owned()));
        }
        // SAFETY: a connection; the function lives as long as the process and does nothing.
        unsafe { (self.library.PQsetNoticeProcessor)(self.raw, ignore, ptr::null_mut()) };
        // SAFETY: a connection, here and below.
        if unsafe { status(self.raw) } == CONNECTION_BAD {
            return Err(self.unreachable());
        }
        let mut wanted = POLLING_WRITING;
        loop {
            match wanted {
                POLLING_OK => break,
                POLLING_READING => self.wait(Interest::Read),
                POLLING_WRITING => self.wait(Interest::Write),
                _ => return Err(self.unreachable()),
            }
            // SAFETY: as above.
            wanted = unsafe { poll(self.raw) };
        }
        // SAFETY: as above. Afterwards nothing waits, the goodbye of `drop` included.
        let is_set = unsafe { (self.library.PQsetnonblocking)(self.raw, 1) } == 0;
        // SAFETY: as above.
        if is_set && unsafe { status(self.raw) } == CONNECTION_OK {
            Ok(())
        } else {
            Err(self.unreachable())
        }
    }

    /// True when the other server wanted a password and got one.
    pub fn used_password(&self) -> bool {
        // SAFETY: a connection.
        unsafe { (self.library.PQconnectionUsedPassword)(self.raw) != 0 }
    }

    /// Run one statement, in a transaction of its own, and return the one value that it gives.
    ///
    /// After a failure the connection is of no use.
    pub fn ask(
        &mut self,
        statement: Text,
        arguments: &[Option<Text>],
    ) -> Result<Option<Text>, Failure> {
        self.send(statement, arguments)?;
        let mut answer = None;
        while let Some(outcome) = self.next()? {
            answer = Some(outcome.value()?);
        }
        answer.ok_or(Failure::Shape)
    }

    fn send(&self, statement: Text, arguments: &[Option<Text>]) -> Result<(), Failure> {
        let statement = c_string(statement);
        let arguments: Vec<Option<CString>> =
            arguments.iter().map(|argument| argument.map(c_string)).collect();
        let values: Vec<*const c_char> = arguments
            .iter()
            .map(|argument| argument.as_ref().map_or(ptr::null(), |value| value.as_ptr()))
            .collect();
        let count = c_int::try_from(values.len()).map_err(|_| Failure::Shape)?;
        // SAFETY: a connection, and so many C strings or nulls; types, lengths and formats are the
        // library's own choice. It copies them.
        let is_sent = unsafe {
            (self.library.PQsendQueryParams)(
                self.raw,
                statement.as_ptr(),
                count,
                ptr::null(),
                values.as_ptr(),
                ptr::null(),
                ptr::null(),
                0,
            )
        };
        if is_sent == 0 {
            return Err(self.unreachable());
        }
        loop {
            // SAFETY: a connection.
            match unsafe { (self.library.PQflush)(self.raw) } {
                0 => return Ok(()),
                1 => self.wait(Interest::Both),
                _ => return Err(self.unreachable()),
            }
            self.read()?;
        }
    }

    fn next(&self) -> Result<Option<Answer>, Failure> {
        // SAFETY: a connection.
        while unsafe { (self.library.PQisBusy)(self.raw) } != 0 {
            self.wait(Interest::Read);
            self.read()?;
        }
        // SAFETY: as above; it is not busy, so this does not wait.
        let raw = unsafe { (self.library.PQgetResult)(self.raw) };
        // SAFETY: as above, and nobody else's.
        Ok((!raw.is_null()).then(|| unsafe { Answer::new(self.library, raw) }))
    }

    fn read(&self) -> Result<(), Failure> {
        // SAFETY: a connection, whose socket is not waited for.
        let is_alive = unsafe { (self.library.PQconsumeInput)(self.raw) } != 0;
        if is_alive { Ok(()) } else { Err(self.unreachable()) }
    }

    // Raises an error when this session is to stop.
    fn wait(&self, interest: Interest) {
        // SAFETY: a connection; it may have another socket each time.
        let socket = unsafe { (self.library.PQsocket)(self.raw) };
        latch::wait_for_socket(socket, interest, self.event);
    }

    fn unreachable(&self) -> Failure {
        // SAFETY: a connection; its message is a C string that lives until the next call.
        let message = unsafe { CStr::from_ptr((self.library.PQerrorMessage)(self.raw)) };
        Failure::Unreachable(setting::for_message(message.to_bytes().trim_ascii_end()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: a connection that nothing uses any more, or null; the file was counted in `open`.
        // Neither raises errors nor looks at interrupts, so an error may be unwinding: the first is
        // not of the server, the second takes one from a number.
        unsafe {
            (self.library.PQfinish)(self.raw);
            pg_sys::ReleaseExternalFD();
        }
    }
}

// Notices of the other side are nobody's here; the library would write them to standard error.
unsafe extern "C" fn ignore(_argument: *mut c_void, _message: *const c_char) {}
