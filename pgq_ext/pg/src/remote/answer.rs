//! What another server answers.

use std::ffi::{CStr, c_int};

use super::failure::{Failure, error_code, shown};
use super::libpq::{Libpq, Outcome};
use crate::session::Row;
use crate::text::Text;
use crate::{ports, string};

const EMPTY_QUERY: c_int = 0;
const COMMAND_OK: c_int = 1;
const TUPLES_OK: c_int = 2;
const COPY_OUT: c_int = 3;
const FATAL_ERROR: c_int = 7;
const SINGLE_TUPLE: c_int = 9;

/// What a result is, of those that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The end of a statement, with or without rows in it.
    Done,
    /// One row of those that come one by one.
    Row,
    /// Data will follow.
    CopyOut,
}

/// One result of a statement.
pub(super) struct Answer {
    library: &'static Libpq,
    raw: *mut Outcome,
}

impl Answer {
    /// Take a result over.
    ///
    /// # Safety
    ///
    /// `raw` is a result of the library's that nobody else clears.
    pub(super) unsafe fn new(library: &'static Libpq, raw: *mut Outcome) -> Self {
        Self { library, raw }
    }

    /// The one value that it is.
    pub(super) fn value(&self) -> Result<Option<Text>, Failure> {
        let library = self.library;
        // SAFETY: a result, here and below.
        let status = unsafe { (library.PQresultStatus)(self.raw) };
        match status {
            TUPLES_OK => {}
            FATAL_ERROR => return Err(self.refused()),
            // Not one of COPY, nor of anything that gives no rows.
            _ => return Err(Failure::Shape),
        }
        // SAFETY: as above.
        let (rows, columns) =
            unsafe { ((library.PQntuples)(self.raw), (library.PQnfields)(self.raw)) };
        if (rows, columns) != (1, 1) {
            return Err(Failure::Shape);
        }
        // SAFETY: the first column of the first row, of which there is one; its value is a C string
        // that lives as long as the result.
        let value = unsafe {
            if (library.PQgetisnull)(self.raw, 0, 0) != 0 {
                return Ok(None);
            }
            CStr::from_ptr((library.PQgetvalue)(self.raw, 0, 0)).to_bytes()
        };
        if string::is_valid(value) { Ok(Some(Text::new(value))) } else { Err(Failure::Encoding) }
    }

    /// What it is. An error of the other side's is one here.
    pub(super) fn kind(&self) -> Result<Kind, Failure> {
        // SAFETY: a result, here and below.
        match unsafe { (self.library.PQresultStatus)(self.raw) } {
            EMPTY_QUERY | COMMAND_OK | TUPLES_OK => Ok(Kind::Done),
            SINGLE_TUPLE => Ok(Kind::Row),
            COPY_OUT => Ok(Kind::CopyOut),
            FATAL_ERROR => Err(self.refused()),
            // COPY from here, or both ways; and what is not of this protocol.
            _ => Err(Failure::Protocol),
        }
    }

    /// Its rows, and how many bytes they have.
    pub(super) fn rows(&self) -> Result<(Vec<Row>, usize), Failure> {
        let library = self.library;
        // SAFETY: as above.
        let (rows, columns) =
            unsafe { ((library.PQntuples)(self.raw), (library.PQnfields)(self.raw)) };
        let mut size = 0;
        let mut field = |row, column| {
            // SAFETY: a field that the result has, here and below.
            if unsafe { (library.PQgetisnull)(self.raw, row, column) } != 0 {
                return Ok(None);
            }
            // SAFETY: a value of that length, which lives as long as the result.
            let value = unsafe {
                let length = (library.PQgetlength)(self.raw, row, column);
                let start = (library.PQgetvalue)(self.raw, row, column).cast::<u8>();
                std::slice::from_raw_parts(start, ports::count(length))
            };
            size += value.len();
            let value = std::str::from_utf8(value).map_err(|_| Failure::Encoding)?;
            Ok(Some(value.to_owned()))
        };
        let row = |row| (0..columns).map(|column| field(row, column)).collect();
        let rows = (0..rows).map(row).collect::<Result<_, _>>()?;
        Ok((rows, size))
    }

    fn refused(&self) -> Failure {
        let field = |code: u8| {
            // SAFETY: as above; a field that is missing is null.
            let text = unsafe { (self.library.PQresultErrorField)(self.raw, c_int::from(code)) };
            // SAFETY: a C string that lives as long as the result.
            (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
        };
        let Some(state) = field(b'C').and_then(|state| <&[u8; 5]>::try_from(state).ok()) else {
            // The library's own: the connection is lost.
            let message = field(b'M').unwrap_or(b"the connection is lost");
            return Failure::Unreachable(shown(message.trim_ascii_end()));
        };
        Failure::Refused {
            code: error_code(*state),
            sqlstate: String::from_utf8_lossy(state).into_owned(),
            message: shown(field(b'M').unwrap_or_default()),
            detail: field(b'D').map(shown),
            hint: field(b'H').map(shown),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: a result that nothing uses any more.
        unsafe { (self.library.PQclear)(self.raw) }
    }
}
