//! What another server answers.

use std::ffi::{CStr, c_int};

use pgrx::PgSqlErrorCode;

use super::failure::Failure;
use super::libpq::{Libpq, Outcome};
use crate::text::Text;
use crate::{setting, string};

const TUPLES_OK: c_int = 2;
const FATAL_ERROR: c_int = 7;

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
            return Failure::Unreachable(setting::for_message(message.trim_ascii_end()));
        };
        Failure::Refused {
            code: error_code(*state),
            sqlstate: String::from_utf8_lossy(state).into_owned(),
            message: setting::for_message(field(b'M').unwrap_or_default()),
            hint: field(b'H').map(setting::for_message),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: a result that nothing uses any more.
        unsafe { (self.library.PQclear)(self.raw) }
    }
}

// MAKE_SQLSTATE: six bits a character.
fn error_code(state: [u8; 5]) -> PgSqlErrorCode {
    let bits = |character: u8| i32::from(character.wrapping_sub(b'0') & 0x3f);
    let code = state.into_iter().rev().fold(0, |code, character| code << 6 | bits(character));
    PgSqlErrorCode::from(code)
}
