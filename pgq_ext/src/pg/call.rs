//! Calls from SQL: argument access, results, errors, and the macro that exports a C function.

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

use super::text::{self, Text};
use super::trigger::ResultRow;

/// One call of an exported function.
pub(crate) struct Call(pg_sys::FunctionCallInfo);

/// What a function returns.
pub(crate) enum Returned {
    /// SQL NULL.
    Null,
    /// `boolean`.
    Bool(bool),
    /// `bigint`.
    Int8(i64),
    /// `oid` or `regclass`.
    Oid(pg_sys::Oid),
    /// `text`.
    Text(Text),
    /// The row that a trigger gives back.
    Row(ResultRow),
    /// Nothing more: a set-returning function has filled its row store, a trigger has no row to
    /// give.
    Done,
}

impl Call {
    /// # Safety
    ///
    /// `fcinfo` is what PostgreSQL passed to the exported function that is running.
    pub(crate) unsafe fn new(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        Self(fcinfo)
    }

    /// The raw call information, for other modules of the fence.
    pub(super) fn fcinfo(&self) -> pg_sys::FunctionCallInfo {
        self.0
    }

    /// Number of arguments passed.
    pub(crate) fn arg_count(&self) -> usize {
        // SAFETY: the pointer is valid during the call (contract of `new`).
        let nargs = unsafe { (*self.0).nargs };
        usize::try_from(nargs).unwrap_or(0)
    }

    /// The argument as it is; None for NULL or an argument that was not passed.
    pub(super) fn datum(&self, index: usize) -> Option<pg_sys::Datum> {
        if index >= self.arg_count() {
            return None;
        }
        // SAFETY: `index` is below nargs, and PostgreSQL allocates that many arguments behind the
        // header.
        let argument = unsafe { *(*self.0).args.as_ptr().add(index) };
        (!argument.isnull).then_some(argument.value)
    }

    /// A `text` argument. The SQL declaration makes it one.
    pub(crate) fn text(&self, index: usize) -> Option<Text> {
        // SAFETY: declared as text in SQL, not null, and alive during the call.
        self.datum(index).map(|datum| unsafe { Text::from_datum(datum) })
    }

    /// A `bigint` or `timestamptz` argument.
    pub(crate) fn int8(&self, index: usize) -> Option<i64> {
        self.datum(index).map(|datum| i64::from_ne_bytes(datum.value().to_ne_bytes()))
    }

    /// An `integer` argument.
    pub(crate) fn int4(&self, index: usize) -> Option<i32> {
        // SAFETY: reading an int4 out of a pass-by-value datum cannot fail.
        self.datum(index).and_then(|datum| unsafe { pgrx::FromDatum::from_datum(datum, false) })
    }

    /// An `oid` or `regclass` argument.
    pub(crate) fn oid(&self, index: usize) -> Option<pg_sys::Oid> {
        // SAFETY: reading an oid out of a pass-by-value datum cannot fail.
        self.datum(index).and_then(|datum| unsafe { pgrx::FromDatum::from_datum(datum, false) })
    }

    /// A `text[]` argument as its elements. NULL array: None. More than one dimension: Err.
    pub(crate) fn text_array(
        &self,
        index: usize,
    ) -> Option<Result<Vec<Option<Text>>, ManyDimensions>> {
        let datum = self.datum(index)?;
        // SAFETY: declared as text[] in SQL; detoasting gives a flat copy where one is needed.
        let array =
            unsafe { pg_sys::pg_detoast_datum(datum.cast_mut_ptr()) }.cast::<pg_sys::ArrayType>();
        // SAFETY: a detoasted array has its header inline.
        let dimensions = unsafe { (*array).ndim };
        if dimensions > 1 {
            return Some(Err(ManyDimensions));
        }
        // SAFETY: declared as text[] in SQL, and flat now.
        Some(Ok(unsafe { text::elements(array) }))
    }

    /// The table that the running trigger is on; None when the function was not called as a
    /// trigger.
    pub(crate) fn trigger_relation(&self) -> Option<pg_sys::Oid> {
        // SAFETY: the pointer is valid during the call (contract of `new`).
        let context = unsafe { (*self.0).context };
        // SAFETY: every node begins with its tag.
        if context.is_null() || unsafe { (*context).type_ } != pg_sys::NodeTag::T_TriggerData {
            return None;
        }
        // SAFETY: the tag says it is a TriggerData, whose relation is open during the call.
        Some(unsafe { (*(*context.cast::<pg_sys::TriggerData>()).tg_relation).rd_id })
    }

    /// Turn a result into what PostgreSQL expects, raising an error as an SQL error.
    pub(crate) fn finish<E: Into<SqlError>>(self, result: Result<Returned, E>) -> pg_sys::Datum {
        match result {
            Ok(Returned::Bool(value)) => pg_sys::Datum::from(value),
            Ok(Returned::Int8(value)) => pg_sys::Datum::from(value),
            Ok(Returned::Oid(value)) => pg_sys::Datum::from(value),
            Ok(Returned::Text(text)) => text.datum(),
            Ok(Returned::Row(row)) => row.datum(),
            Ok(Returned::Done) => pg_sys::Datum::null(),
            Ok(Returned::Null) => {
                // SAFETY: the pointer is valid during the call (contract of `new`).
                unsafe { (*self.0).isnull = true };
                pg_sys::Datum::null()
            }
            Err(error) => error.into().raise(),
        }
    }
}

/// A `text[]` argument had more than one dimension.
#[derive(Debug)]
pub(crate) struct ManyDimensions;

/// An error on its way to the client.
pub(crate) struct SqlError {
    /// SQLSTATE.
    pub(crate) code: PgSqlErrorCode,
    /// Primary message.
    pub(crate) message: String,
    /// Hint, a sentence.
    pub(crate) hint: Option<String>,
}

impl SqlError {
    /// Raise it; does not return.
    fn raise(self) -> ! {
        let mut report = ErrorReport::new(self.code, self.message, "pgq");
        if let Some(hint) = self.hint {
            report = report.set_hint(hint);
        }
        report.report(PgLogLevel::ERROR);
        unreachable!("reporting at level ERROR does not return")
    }
}

/// Export domain functions as C functions: `symbol => function`, where `function` takes a [`Call`]
/// and returns `Result<Returned, _>` with an error that converts into [`SqlError`].
macro_rules! c_functions {
    ($($(#[$doc:meta])* $symbol:ident, $finfo:ident => $function:path;)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// Only PostgreSQL calls it, with call information of a function declared as the SQL in
        /// `sql/pgq` does.
        #[unsafe(no_mangle)]
        #[pgrx::pg_guard]
        pub(crate) unsafe extern "C-unwind" fn $symbol(
            fcinfo: pgrx::pg_sys::FunctionCallInfo,
        ) -> pgrx::pg_sys::Datum {
            // SAFETY: passed on from PostgreSQL, used during this call only.
            let call = unsafe { $crate::pg::call::Call::new(fcinfo) };
            let result = $function(&call);
            call.finish(result)
        }

        /// Calling convention of the function above.
        #[unsafe(no_mangle)]
        pub(crate) extern "C" fn $finfo() -> &'static pgrx::pg_sys::Pg_finfo_record {
            const V1: pgrx::pg_sys::Pg_finfo_record =
                pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
            &V1
        }
    )*};
}
pub(crate) use c_functions;
