//! Calls from SQL: argument access, results, errors, and the macro that exports C functions.

use std::ffi::CStr;

use pgq_core::encode::opaque;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{IntoDatum, PgLogLevel, PgSqlErrorCode};

use super::ports;
use super::procedure::{self, Caller};
use super::text::{self, Text};

/// One call of an exported function.
pub struct Call(pg_sys::FunctionCallInfo);

/// What a function returns.
pub enum Returned {
    /// SQL NULL.
    Null,
    /// `boolean`.
    Bool(bool),
    /// `integer`.
    Int4(i32),
    /// `bigint`.
    Int8(i64),
    /// The one INOUT parameter of a procedure, a `bigint` of this name.
    Out(&'static CStr, Option<i64>),
    /// `oid` or `regclass`.
    Oid(pg_sys::Oid),
    /// `text`.
    Text(Text),
    /// `bigint[]`.
    Int8Array(Vec<i64>),
    /// The row that a trigger gives back.
    Row(ResultRow),
    /// Nothing more: a set-returning function has filled its row store, a trigger has no row to
    /// give.
    Done,
}

/// The row that a trigger gives back to the executor.
pub struct ResultRow(pub(crate) pg_sys::HeapTuple);

impl Call {
    /// Wrap the call information of the running call.
    ///
    /// # Safety
    ///
    /// `fcinfo` is what PostgreSQL passed to the exported function that is running.
    pub unsafe fn new(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        Self(fcinfo)
    }

    /// The raw call information, for other modules of the fence.
    pub(crate) fn fcinfo(&self) -> pg_sys::FunctionCallInfo {
        self.0
    }

    /// Number of arguments passed.
    pub fn arg_count(&self) -> usize {
        // SAFETY: the pointer is valid during the call (contract of `new`).
        let nargs = unsafe { (*self.0).nargs };
        ports::count(nargs)
    }

    /// The argument as it is; None for NULL or an argument that was not passed.
    pub(crate) fn datum(&self, index: usize) -> Option<pg_sys::Datum> {
        if index >= self.arg_count() {
            return None;
        }
        // SAFETY: `index` is below nargs, and PostgreSQL allocates that many arguments behind the
        // header.
        let argument = unsafe { *(*self.0).args.as_ptr().add(index) };
        (!argument.isnull).then_some(argument.value)
    }

    /// True for an argument that was passed and is not NULL.
    pub fn is_given(&self, index: usize) -> bool {
        self.datum(index).is_some()
    }

    /// A `text` argument. The SQL declaration makes it one.
    pub fn text(&self, index: usize) -> Option<Text> {
        // SAFETY: declared as text in SQL, not null, and alive during the call.
        self.datum(index).map(|datum| unsafe { Text::from_datum(datum) })
    }

    /// The same as a Rust string, see [`super::string`].
    pub fn string(&self, index: usize) -> Option<String> {
        let text = self.text(index)?;
        Some(text.with_bytes(|bytes| opaque::decode(bytes).into_owned()))
    }

    /// A `jsonb` argument in its text form.
    pub fn jsonb(&self, index: usize) -> Option<Text> {
        let datum = self.datum(index)?;
        // SAFETY: declared as jsonb in SQL and not null; the function gives a C string in the
        // current memory context.
        let text = unsafe {
            CStr::from_ptr(pg_sys::OidOutputFunctionCall(pg_sys::F_JSONB_OUT.into(), datum))
        };
        Some(Text::new(text.to_bytes()))
    }

    /// A `bigint` or `timestamptz` argument.
    pub fn int8(&self, index: usize) -> Option<i64> {
        self.datum(index).map(|datum| i64::from_ne_bytes(datum.value().to_ne_bytes()))
    }

    /// An `integer` argument.
    pub fn int4(&self, index: usize) -> Option<i32> {
        // SAFETY: reading an int4 out of a pass-by-value datum cannot fail.
        self.datum(index).and_then(|datum| unsafe { pgrx::FromDatum::from_datum(datum, false) })
    }

    /// A `boolean` argument.
    pub fn bool(&self, index: usize) -> Option<bool> {
        self.datum(index).map(|datum| datum.value() & 0xff != 0)
    }

    /// An `interval` argument in microseconds, months counted as 30 days.
    pub fn interval(&self, index: usize) -> Option<i64> {
        let datum = self.datum(index)?;
        // SAFETY: declared as interval in SQL, which is passed by reference, and not null.
        let interval = unsafe { *datum.cast_mut_ptr::<pg_sys::Interval>() };
        let days = i64::from(interval.month) * 30 + i64::from(interval.day);
        Some(days.saturating_mul(86_400_000_000).saturating_add(interval.time))
    }

    /// How a procedure was called.
    pub fn caller(&self) -> Caller {
        // SAFETY: the call information is that of the running call (contract of `new`).
        unsafe { procedure::caller(self.0) }
    }

    /// An `oid` or `regclass` argument.
    pub fn oid(&self, index: usize) -> Option<pg_sys::Oid> {
        // SAFETY: reading an oid out of a pass-by-value datum cannot fail.
        self.datum(index).and_then(|datum| unsafe { pgrx::FromDatum::from_datum(datum, false) })
    }

    /// A `text[]` argument as its elements. NULL array: None. More than one dimension: Err.
    pub fn text_array(&self, index: usize) -> Option<Result<Vec<Option<Text>>, ManyDimensions>> {
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
    pub fn trigger_relation(&self) -> Option<pg_sys::Oid> {
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
    pub fn finish<E: Into<SqlError>>(self, result: Result<Returned, E>) -> pg_sys::Datum {
        match result {
            Ok(Returned::Bool(value)) => pg_sys::Datum::from(value),
            Ok(Returned::Int4(value)) => pg_sys::Datum::from(value),
            Ok(Returned::Int8(value)) => pg_sys::Datum::from(value),
            Ok(Returned::Out(name, value)) => record(name, value),
            Ok(Returned::Oid(value)) => pg_sys::Datum::from(value),
            Ok(Returned::Text(text)) => text.datum(),
            Ok(Returned::Int8Array(values)) => values.into_datum().expect("a vector is not NULL"),
            Ok(Returned::Row(row)) => pg_sys::Datum::from(row.0),
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

/// A row of one column.
fn record(name: &CStr, value: Option<i64>) -> pg_sys::Datum {
    let mut values = [value.map_or(pg_sys::Datum::null(), pg_sys::Datum::from)];
    let mut nulls = [value.is_none()];
    // SAFETY: a row type of one bigint and a row of it, made in the caller's memory.
    unsafe {
        let descriptor = pg_sys::CreateTemplateTupleDesc(1);
        pg_sys::TupleDescInitEntry(descriptor, 1, name.as_ptr(), pg_sys::INT8OID, -1, 0);
        let descriptor = pg_sys::BlessTupleDesc(descriptor);
        let tuple = pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)
    }
}

/// A `text[]` argument had more than one dimension.
#[derive(Debug)]
pub struct ManyDimensions;

/// An error on its way to the client.
pub struct SqlError {
    /// SQLSTATE.
    pub code: PgSqlErrorCode,
    /// Primary message.
    pub message: String,
    /// Hint, a sentence.
    pub hint: Option<String>,
}

impl SqlError {
    /// Raise it; does not return.
    pub fn raise(self) -> ! {
        let mut report = ErrorReport::new(self.code, self.message, "pgq");
        if let Some(hint) = self.hint {
            report = report.set_hint(hint);
        }
        report.report(PgLogLevel::ERROR);
        unreachable!("reporting at level ERROR does not return")
    }
}

/// Exports functions of the crate as C functions for SQL: `symbol, pg_finfo_symbol => function`,
/// where `function` takes a [`Call`] and returns `Result<Returned, _>` with an error that converts
/// into [`SqlError`].
#[macro_export]
macro_rules! sql_functions {
    ($($(#[$doc:meta])* $symbol:ident, $finfo:ident => $function:path;)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// Only PostgreSQL calls it, with call information of a function declared as the SQL in
        /// `sql/` does.
        #[unsafe(no_mangle)]
        #[pgrx::pg_guard]
        pub(crate) unsafe extern "C-unwind" fn $symbol(
            fcinfo: $crate::pgrx::pg_sys::FunctionCallInfo,
        ) -> $crate::pgrx::pg_sys::Datum {
            // SAFETY: passed on from PostgreSQL, used during this call only.
            let call = unsafe { $crate::call::Call::new(fcinfo) };
            let result = $function(&call);
            call.finish(result)
        }

        /// Calling convention of the function above.
        #[unsafe(no_mangle)]
        pub(crate) extern "C" fn $finfo() -> &'static $crate::pgrx::pg_sys::Pg_finfo_record {
            const V1: $crate::pgrx::pg_sys::Pg_finfo_record =
                $crate::pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
            &V1
        }
    )*};
}
