//! `COPY … FROM` what this process has at hand.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr;

use pgrx::{PgSqlErrorCode, pg_guard, pg_sys};

use super::call::SqlError;
use super::piece;
use super::session::Failure;
use super::snapshot::StatementSnapshot;
use super::string::converted_to_c;
use super::{constants, ports, xact};

/// Why nothing was copied.
#[derive(Debug)]
pub enum CopyError<E> {
    /// This server refuses the data, or the copy.
    Here(Failure),
    /// The source has failed.
    Source(E),
}

/// Where data come from, chunk by chunk; none at the end.
pub type Source<'s, E> = dyn FnMut() -> Result<Option<Vec<u8>>, E> + 's;

/// Copy rows into a table, or into these columns of it, as a statement of the open transaction in
/// pieces; how many. They are in text format and in UTF-8, cut into chunks anywhere.
///
/// The session's role needs what it needs for COPY. No setting but the table's own code decides
/// what the data mean, and those for dates and the like.
pub fn copy_in<E>(
    schema: &str,
    table: &str,
    columns: &[&str],
    source: &mut Source<'_, E>,
) -> Result<u64, CopyError<E>> {
    let mut failed = None;
    let mut next = || source().map_err(|error| failed = Some(error));
    let copied = piece::attempt(|| {
        xact::begin_statement();
        let columns: Vec<CString> = columns.iter().map(|column| converted_to_c(column)).collect();
        let _snapshot = StatementSnapshot::take();
        let (schema, table) = (converted_to_c(schema), converted_to_c(table));
        let feed = Feed { next: &mut next, chunk: Vec::new(), used: 0, has_ended: false };
        feeding(feed, || copy(&schema, &table, &columns))
    });
    match (copied, failed) {
        (_, Some(error)) => Err(CopyError::Source(error)),
        (Ok(rows), None) => Ok(rows),
        (Err(failure), None) => Err(CopyError::Here(failure)),
    }
}

/// What the callback reads from.
struct Feed<'f> {
    next: &'f mut dyn FnMut() -> Result<Option<Vec<u8>>, ()>,
    chunk: Vec<u8>,
    used: usize,
    has_ended: bool,
}

impl Feed<'_> {
    /// Fill a part of the buffer, but for the end at least one byte.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ()> {
        while self.used == self.chunk.len() && !self.has_ended {
            match (self.next)()? {
                Some(chunk) => (self.chunk, self.used) = (chunk, 0),
                None => self.has_ended = true,
            }
        }
        let left = &self.chunk[self.used..];
        let length = left.len().min(buffer.len());
        buffer[..length].copy_from_slice(&left[..length]);
        self.used += length;
        Ok(length)
    }
}

thread_local! {
    /// The callback has no argument.
    static FEED: Cell<*mut Feed<'static>> = const { Cell::new(ptr::null_mut()) };
}

/// Run `body` while the callback reads from this feed.
fn feeding<R>(mut feed: Feed<'_>, body: impl FnOnce() -> R) -> R {
    struct Ended;
    impl Drop for Ended {
        fn drop(&mut self) {
            FEED.set(ptr::null_mut());
        }
    }
    assert!(FEED.get().is_null(), "one copy at a time");
    let _ended = Ended;
    FEED.set(ptr::from_mut(&mut feed).cast());
    body()
}

/// What COPY does, once its statement is understood.
fn copy(schema: &CStr, table: &CStr, columns: &[CString]) -> u64 {
    // SAFETY: a transaction is open. What is made here lives in a context of its own, below the
    // transaction's, with which an error frees it; the relation is locked until the transaction
    // ends. The lists are of names and options, as the server's parser makes them.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(c"COPY FROM".as_ptr());
        let caller = pg_sys::CurrentMemoryContext;
        let context = pg_sys::AllocSetContextCreateExtended(
            caller,
            c"copy_in".as_ptr(),
            0,
            8 * 1024,
            8 * 1024 * 1024,
        );
        pg_sys::CurrentMemoryContext = context;
        let name = pg_sys::makeRangeVar(
            pg_sys::pstrdup(schema.as_ptr()),
            pg_sys::pstrdup(table.as_ptr()),
            -1,
        );
        let relation = pg_sys::table_openrv(name, constants::lock::ROW_EXCLUSIVE);
        check_rights((*relation).rd_id, table, columns);
        let parse = pg_sys::make_parsestate(ptr::null_mut());
        pg_sys::addRangeTableEntryForRelation(
            parse,
            relation,
            constants::lock::ROW_EXCLUSIVE,
            ptr::null_mut(),
            false,
            false,
        );
        let names = columns
            .iter()
            .fold(ptr::null_mut(), |list, column| pg_sys::lappend(list, string(column).cast()));
        let options = [(c"format", c"text"), (c"encoding", c"UTF8")];
        let options = options.into_iter().fold(ptr::null_mut(), |list, (name, value)| {
            let name = pg_sys::pstrdup(name.as_ptr());
            pg_sys::lappend(list, pg_sys::makeDefElem(name, string(value), -1).cast())
        });
        let state = ports::copy::begin(parse, relation, Some(read), names, options);
        let rows = pg_sys::CopyFrom(state);
        pg_sys::EndCopyFrom(state);
        pg_sys::free_parsestate(parse);
        pg_sys::relation_close(relation, constants::lock::NONE);
        pg_sys::CurrentMemoryContext = caller;
        pg_sys::MemoryContextDelete(context);
        // The next statement sees the rows.
        pg_sys::CommandCounterIncrement();
        rows
    }
}

/// # Safety
///
/// There is a current memory context, which outlives the node.
unsafe fn string(text: &CStr) -> *mut pg_sys::Node {
    // SAFETY: the server's own copy of a C string.
    unsafe { pg_sys::makeString(pg_sys::pstrdup(text.as_ptr())).cast() }
}

/// Raise an error unless the current role may copy into these columns, and no policy has a say.
fn check_rights(relation: pg_sys::Oid, table: &CStr, columns: &[CString]) {
    // SAFETY: the relation is open; looks rows of catalogs up. A column that is not there is left
    // for who copies to complain of.
    let is_watched = unsafe {
        let role = pg_sys::GetUserId();
        let allowed = pg_sys::AclResult::ACLCHECK_OK;
        let whole = || pg_sys::pg_class_aclcheck(relation, role, ports::INSERT) == allowed;
        let all = pg_sys::AclMaskHow::ACLMASK_ALL;
        let each = || match columns {
            [] => pg_sys::pg_attribute_aclcheck_all(relation, role, ports::INSERT, all) == allowed,
            _ => columns.iter().all(|column| {
                let number = pg_sys::get_attnum(relation, column.as_ptr());
                number == 0
                    || pg_sys::pg_attribute_aclcheck(relation, number, role, ports::INSERT)
                        == allowed
            }),
        };
        if !whole() && !each() {
            let denied = pg_sys::AclResult::ACLCHECK_NO_PRIV;
            pg_sys::aclcheck_error(denied, pg_sys::ObjectType::OBJECT_TABLE, table.as_ptr());
        }
        let policies = pg_sys::check_enable_rls(relation, pg_sys::InvalidOid, false);
        u32::try_from(policies) == Ok(pg_sys::CheckEnableRlsResult::RLS_ENABLED)
    };
    if is_watched {
        refuse(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "COPY FROM not supported with row-level security",
            Some("Let the role bypass it, or own the table."),
        );
    }
}

// Errors and panics of the source become errors of the server's here, and leave the frames of
// CopyFrom as those do.
#[pg_guard]
unsafe extern "C-unwind" fn read(buffer: *mut c_void, least: c_int, most: c_int) -> c_int {
    let feed = FEED.get();
    assert!(!feed.is_null(), "a copy is running");
    // SAFETY: set by `feeding`, whose frame is below this one; nobody else uses it meanwhile.
    let feed = unsafe { &mut *feed };
    // SAFETY: the server's buffer has room for `most` bytes, and reads those that are said to be
    // written.
    let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), ports::count(most)) };
    let least = ports::count(least);
    let mut filled = 0;
    while filled < least.max(1) {
        match feed.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(()) => refuse(
                PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
                "the source of the copy has failed",
                None,
            ),
        }
    }
    c_int::try_from(filled).expect("no more than there was room for")
}

fn refuse(code: PgSqlErrorCode, message: &str, hint: Option<&str>) -> ! {
    SqlError { code, message: message.to_owned(), hint: hint.map(str::to_owned) }.raise()
}
