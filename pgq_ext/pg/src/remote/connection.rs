//! A connection, from its beginning to its end.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use super::answer::Answer;
use super::failure::{Failure, shown};
use super::libpq::{Conn, Libpq, libpq};
use super::memory::Ceiling;
use super::options::{Options, c_string, own_encoding};
use crate::latch::{self, Interest, WaitEvent};
use crate::text::Text;
use crate::{piece, process};

const EVENT: &CStr = c"PgqRemote";
const CONNECTION_OK: c_int = 0;
const CONNECTION_BAD: c_int = 1;
const POLLING_READING: c_int = 1;
const POLLING_WRITING: c_int = 2;
const POLLING_OK: c_int = 3;

/// A connection to another server.
pub struct Connection {
    pub(super) library: &'static Libpq,
    pub(super) raw: *mut Conn,
    event: WaitEvent,
    /// Nothing more can be asked.
    pub(super) is_done: Cell<bool>,
    /// What the library may take for a row or result, and up to where that is.
    room: Cell<u64>,
    ceiling: Cell<Ceiling>,
}

/// How long to wait for the other side.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// As long as this session may live: errors of its own are raised.
    Endless,
    /// So long for each row, result or end of sending; whatever else comes meanwhile. Errors of
    /// this session's own are returned.
    Silence(Duration),
}

impl Patience {
    /// From now on.
    pub(super) fn begin(self) -> Deadline {
        match self {
            Self::Endless => None,
            Self::Silence(limit) => Some(Instant::now() + limit),
        }
    }
}

/// When to stop waiting; none: never.
pub(super) type Deadline = Option<Instant>;

/// What the library may take for a row at most: PostgreSQL itself sends none longer than 1 GB,
/// which is read and handed over.
pub(super) const OF_LONG_ROW: u64 = 2200 << 20;
/// What it may take for anything else.
pub(super) const OF_ANSWER: u64 = 256 << 20;

impl Connection {
    /// Connect, in the database's encoding.
    pub fn open(options: &Options) -> Result<Self, Failure> {
        let pairs = options.with_ours(c"pgq", own_encoding());
        let connection = Self::start(&pairs, WaitEvent::named(EVENT))?;
        connection.get_ready(None)?;
        Ok(connection)
    }

    /// Connect in UTF-8, for [`Connection::rows`] and what is beside it; within this time, but for
    /// looking up names.
    pub fn open_within(
        options: &Options,
        application: &str,
        limit: Duration,
    ) -> Result<Self, Failure> {
        let application = CString::new(application).map_err(|_| Failure::BadLocation)?;
        let event = piece::beside(|| WaitEvent::named(EVENT)).map_err(Failure::Here)?;
        let connection = Self::start(&options.with_ours(&application, c"UTF8"), event)?;
        connection.get_ready(Some(Instant::now() + limit))?;
        Ok(connection)
    }

    fn start(pairs: &[(&CStr, &CStr)], event: WaitEvent) -> Result<Self, Failure> {
        let library = libpq().ok_or(Failure::NoLibrary)?;
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
        let ceiling = Cell::new(Ceiling::above_now(OF_ANSWER));
        Ok(Self {
            library,
            raw,
            event,
            is_done: Cell::new(false),
            room: Cell::new(OF_ANSWER),
            ceiling,
        })
    }

    fn get_ready(&self, deadline: Deadline) -> Result<(), Failure> {
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
            let interest = match wanted {
                POLLING_OK => break,
                POLLING_READING => Interest::Read,
                POLLING_WRITING => Interest::Write,
                _ => return Err(self.unreachable()),
            };
            self.wait(interest, deadline).map_err(|failure| match failure {
                Failure::Silent => Failure::Timeout,
                other => other,
            })?;
            // SAFETY: as above.
            wanted = self.held(|| unsafe { poll(self.raw) });
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

    /// True when nothing more can be asked: the connection is lost, or an answer was not read to
    /// its end.
    pub fn is_broken(&self) -> bool {
        // SAFETY: a connection.
        self.is_done.get() || unsafe { (self.library.PQstatus)(self.raw) } != CONNECTION_OK
    }

    /// What the other server has said of itself: `server_version`, `is_superuser` and others.
    pub fn parameter(&self, name: &CStr) -> Option<String> {
        // SAFETY: a connection and a C string; null or a C string that lives until the next call.
        let value = unsafe { (self.library.PQparameterStatus)(self.raw, name.as_ptr()) };
        // SAFETY: as above.
        (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) }.to_string_lossy().into_owned())
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
        self.give_room(OF_LONG_ROW);
        self.send(statement, arguments)?;
        let mut answer = None;
        while let Some(outcome) = self.next(Patience::Endless)? {
            answer = Some(outcome.value()?);
        }
        answer.ok_or(Failure::Shape)
    }

    fn send(&self, statement: Text, arguments: &[Option<Text>]) -> Result<(), Failure> {
        let statement = c_string(statement);
        let arguments: Vec<Option<CString>> =
            arguments.iter().map(|argument| argument.map(c_string)).collect();
        self.send_parameters(&statement, &arguments, &[], Patience::Endless)
    }

    /// Send a statement with parameters of these types; where none are given, of those that the
    /// other side finds.
    pub(super) fn send_parameters(
        &self,
        statement: &CStr,
        values: &[Option<CString>],
        types: &[u32],
        patience: Patience,
    ) -> Result<(), Failure> {
        assert!(types.is_empty() || types.len() == values.len(), "a type for each");
        let count = c_int::try_from(values.len()).map_err(|_| Failure::Shape)?;
        let values: Vec<*const c_char> = values
            .iter()
            .map(|value| value.as_ref().map_or(ptr::null(), |value| value.as_ptr()))
            .collect();
        // SAFETY: a connection, and so many C strings or nulls, and types if any; lengths and
        // formats are the library's own choice. It copies them.
        let is_sent = unsafe {
            (self.library.PQsendQueryParams)(
                self.raw,
                statement.as_ptr(),
                count,
                if types.is_empty() { ptr::null() } else { types.as_ptr() },
                values.as_ptr(),
                ptr::null(),
                ptr::null(),
                0,
            )
        };
        if is_sent == 0 {
            return Err(self.unreachable());
        }
        self.flush(patience)
    }

    /// Send what the library has not sent yet.
    pub(super) fn flush(&self, patience: Patience) -> Result<(), Failure> {
        let deadline = patience.begin();
        loop {
            // SAFETY: a connection.
            match unsafe { (self.library.PQflush)(self.raw) } {
                0 => return Ok(()),
                1 => self.wait(Interest::Both, deadline)?,
                _ => return Err(self.unreachable()),
            }
            self.consume()?;
        }
    }

    /// The next result; none when the statement has no more.
    pub(super) fn next(&self, patience: Patience) -> Result<Option<Answer>, Failure> {
        let mut input = Input::new(self, patience);
        while input.is_incomplete() {
            input.more()?;
        }
        // SAFETY: as above; it is not busy, so this does not wait.
        let raw = self.held(|| unsafe { (self.library.PQgetResult)(self.raw) });
        // SAFETY: as above, and nobody else's.
        Ok((!raw.is_null()).then(|| unsafe { Answer::new(self.library, raw) }))
    }

    /// Read what has come.
    fn consume(&self) -> Result<(), Failure> {
        // SAFETY: a connection, whose socket is not waited for.
        let is_alive = self.held(|| unsafe { (self.library.PQconsumeInput)(self.raw) }) != 0;
        if is_alive { Ok(()) } else { Err(self.unreachable()) }
    }

    /// From now on the library may take so much more memory for each row or result than this
    /// process has when the first of it is read.
    pub(super) fn give_room(&self, room: u64) {
        self.room.set(room);
        self.ceiling.set(Ceiling::above_now(room));
    }

    /// Run a function of the library's with no more memory than that.
    pub(super) fn held<R>(&self, body: impl FnOnce() -> R) -> R {
        self.ceiling.get().hold(body)
    }

    /// Notifications are nobody's here.
    fn forget_notifications(&self) {
        loop {
            // SAFETY: a connection; null or something that is the caller's.
            let notification = self.held(|| unsafe { (self.library.PQnotifies)(self.raw) });
            if notification.is_null() {
                return;
            }
            // SAFETY: as above.
            unsafe { (self.library.PQfreemem)(notification) };
        }
    }

    /// Wait for the socket.
    fn wait(&self, interest: Interest, deadline: Deadline) -> Result<(), Failure> {
        let socket = self.socket();
        match deadline {
            None => {
                latch::wait_for_socket(socket, interest, self.event);
                Ok(())
            }
            Some(deadline) => {
                let wait = || latch::wait_for_socket_until(socket, interest, deadline, self.event);
                match piece::beside(wait) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(Failure::Silent),
                    Err(failure) => Err(Failure::Here(failure)),
                }
            }
        }
    }

    /// It may be another one each time.
    fn socket(&self) -> c_int {
        // SAFETY: a connection.
        unsafe { (self.library.PQsocket)(self.raw) }
    }

    /// Act upon interrupts where there was nothing to wait for.
    pub(super) fn look_at_interrupts(&self) -> Result<(), Failure> {
        if process::interrupt_is_pending() {
            piece::beside(process::check_interrupts_in_query).map_err(Failure::Here)?;
        }
        Ok(())
    }

    pub(super) fn unreachable(&self) -> Failure {
        // SAFETY: a connection; its message is a C string that lives until the next call.
        let message = unsafe { CStr::from_ptr((self.library.PQerrorMessage)(self.raw)) };
        Failure::Unreachable(shown(message.to_bytes().trim_ascii_end()))
    }
}

/// What comes until a row or a result is complete.
pub(super) struct Input<'c> {
    connection: &'c Connection,
    deadline: Deadline,
    /// Reads since the last wait; none before the first.
    reads: Option<u32>,
}

impl<'c> Input<'c> {
    pub(super) fn new(connection: &'c Connection, patience: Patience) -> Self {
        Self { connection, deadline: patience.begin(), reads: None }
    }

    /// True while the library waits for the other side.
    fn is_incomplete(&self) -> bool {
        let Connection { library, raw, .. } = *self.connection;
        // SAFETY: a connection.
        self.connection.held(|| unsafe { (library.PQisBusy)(raw) } != 0)
    }

    /// Read more of it. Two reads go before each wait: with TLS the library may hold a record of
    /// which a read takes half, and nothing is left in the socket to wait for.
    pub(super) fn more(&mut self) -> Result<(), Failure> {
        let reads = match self.reads {
            None => {
                self.connection.give_room(self.connection.room.get());
                0
            }
            Some(2) => {
                self.connection.wait(Interest::Read, self.deadline)?;
                0
            }
            Some(reads) => reads,
        };
        self.reads = Some(reads + 1);
        self.connection.consume()?;
        self.connection.forget_notifications();
        Ok(())
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
