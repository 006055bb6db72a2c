//! The symbols of this crate that the server looks up by name. SQL declares the functions in
//! `sql/pgq/functions/worker.sql`.

use pgrx::pg_guard;
use pgrx::pg_sys;
use pgrx::{FromDatum, IntoDatum};

use super::procedure::{self, Caller};
use super::text;
use crate::{launcher, state, wait, worker};

/// Main function of the launcher.
#[pg_guard]
#[unsafe(no_mangle)]
pub(crate) extern "C-unwind" fn pgq_launcher_main(_argument: pg_sys::Datum) {
    launcher::main();
}

/// Main function of a database's worker; the argument is the number of its slot.
#[pg_guard]
#[unsafe(no_mangle)]
pub(crate) extern "C-unwind" fn pgq_worker_main(argument: pg_sys::Datum) {
    worker::main(argument.value());
}

/// Declares a function for SQL: its version-1 record, and the function itself around one of ours.
macro_rules! sql_functions {
    ($($(#[$doc:meta])* $name:ident, $record:ident => $body:path;)*) => {$(
        #[doc(hidden)]
        #[unsafe(no_mangle)]
        pub(crate) extern "C" fn $record() -> &'static pg_sys::Pg_finfo_record {
            const RECORD: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
            &RECORD
        }

        $(#[$doc])*
        ///
        /// # Safety
        /// Called by the server only.
        #[pg_guard]
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C-unwind" fn $name(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
            // SAFETY: the server calls as the function is declared.
            unsafe { $body(call) }
        }
    )*};
}

sql_functions! {
    /// `pgq._worker_state() returns json`
    pgq_worker_state, pg_finfo_pgq_worker_state => worker_state;
    /// `pgq._worker_control(start boolean) returns integer`: start or stop the worker of this
    /// database.
    pgq_worker_control, pg_finfo_pgq_worker_control => worker_control;
    /// `pgq._announce() returns void`: this database has the extension, once the transaction has
    /// committed.
    pgq_announce, pg_finfo_pgq_announce => announce;
    /// `pgq._mark_dirty(queue_id integer) returns void`: have the queue looked at when the
    /// transaction has committed.
    pgq_mark_dirty, pg_finfo_pgq_mark_dirty => mark_dirty;
    /// `pgq.wait_batch(i_queue_name text, i_consumer_name text, i_timeout interval, inout batch_id
    /// bigint, i_skip_empty boolean)`
    pgq_wait_batch, pg_finfo_pgq_wait_batch => wait_batch;
}

unsafe fn worker_state(_call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    text::to_datum(&state::json())
}

unsafe fn worker_control(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: declared strict with one boolean.
    let start = unsafe { argument::<bool>(call, 0) }.unwrap_or(false);
    state::control(start).into_datum().unwrap_or(pg_sys::Datum::from(0))
}

unsafe fn announce(_call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    crate::dirty::announce();
    pg_sys::Datum::from(0)
}

unsafe fn mark_dirty(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: declared strict with one integer.
    if let Some(queue) = unsafe { argument::<i32>(call, 0) } {
        crate::mark_dirty(queue);
    }
    pg_sys::Datum::from(0)
}

unsafe fn wait_batch(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: declared with these types.
    let (queue, consumer, limit) =
        unsafe { (text_argument(call, 0), text_argument(call, 1), interval(call, 2)) };
    // SAFETY: as above; development versions declared it without this one.
    let skip_empty = unsafe { argument::<bool>(call, 4) }.unwrap_or(false);
    // SAFETY: this is the call's own argument.
    let caller: Caller = unsafe { procedure::caller(call) };
    let batch = wait::batch(queue.as_deref(), consumer.as_deref(), limit, skip_empty, caller);
    // SAFETY: a transaction is open.
    unsafe { record_of(batch) }
}

/// An argument, or none when it is null.
///
/// # Safety
/// The function is declared with at least `index` + 1 arguments, and this one of the type that `T`
/// stands for.
unsafe fn argument<T: FromDatum>(call: pg_sys::FunctionCallInfo, index: usize) -> Option<T> {
    // SAFETY: the promise above.
    unsafe {
        let argument = (*call).args.as_slice((*call).nargs.try_into().unwrap_or(0)).get(index)?;
        T::from_datum(argument.value, argument.isnull)
    }
}

/// A text argument, or none when it is null.
///
/// # Safety
/// As for [`argument`].
unsafe fn text_argument(call: pg_sys::FunctionCallInfo, index: usize) -> Option<String> {
    // SAFETY: the promise above.
    unsafe {
        let argument = (*call).args.as_slice((*call).nargs.try_into().unwrap_or(0)).get(index)?;
        (!argument.isnull).then(|| text::from_datum(argument.value))
    }
}

/// An interval argument in microseconds, months counted as 30 days; none when it is null.
///
/// # Safety
/// As for [`argument`].
unsafe fn interval(call: pg_sys::FunctionCallInfo, index: usize) -> Option<i64> {
    // SAFETY: the promise above; an interval is passed by reference.
    let interval = unsafe {
        let argument = (*call).args.as_slice((*call).nargs.try_into().unwrap_or(0)).get(index)?;
        if argument.isnull {
            return None;
        }
        *argument.value.cast_mut_ptr::<pg_sys::Interval>()
    };
    let days = i64::from(interval.month) * 30 + i64::from(interval.day);
    Some(days.saturating_mul(86_400_000_000).saturating_add(interval.time))
}

/// The result of a procedure with one INOUT bigint.
///
/// # Safety
/// A transaction is open.
unsafe fn record_of(value: Option<i64>) -> pg_sys::Datum {
    // SAFETY: a tuple of one column, made in the caller's memory.
    unsafe {
        let descriptor = pg_sys::CreateTemplateTupleDesc(1);
        pg_sys::TupleDescInitEntry(descriptor, 1, c"batch_id".as_ptr(), pg_sys::INT8OID, -1, 0);
        let descriptor = pg_sys::BlessTupleDesc(descriptor);
        let mut values = [value.into_datum().unwrap_or(pg_sys::Datum::from(0))];
        let mut nulls = [value.is_none()];
        let tuple = pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)
    }
}
