//! A transaction in pieces: one that a background worker keeps open between statements, while it
//! reads elsewhere what the next one is about.
//!
//! Nothing here raises an error. After one in a statement the innermost savepoint is undone, or
//! without one the transaction, there and then: locks and memory are given back. What is left has
//! *failed*: everything but [`roll_back`] and [`abort`] answers 25P02, as to a client.
//!
//! The session is the role's from its beginning, see [`crate::process::connect_as`].

mod statement;

use std::cell::Cell;

use core::ffi::c_int;
use pgrx::pg_sys;

use crate::session::{self, Failure};
use crate::{ports, xact};

pub use self::statement::{execute, rows, run};

/// How far the transaction of this process is.
#[derive(Clone, Copy)]
struct Progress {
    is_open: bool,
    savepoints: c_int,
    /// A statement has failed, and what it did is undone up to the innermost savepoint.
    has_failed: bool,
}

const NONE: Progress = Progress { is_open: false, savepoints: 0, has_failed: false };

thread_local! {
    static PROGRESS: Cell<Progress> = const { Cell::new(NONE) };
    /// A piece is running, which nothing within it may end.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Begin a transaction.
pub fn begin() -> Result<(), Failure> {
    if xact::is_open() || is_open() {
        return Err(Failure::new("25001", "a transaction is open already"));
    }
    PROGRESS.set(Progress { is_open: true, ..NONE });
    let result = session::caught(session::begin);
    if result.is_err() {
        abort();
    }
    result
}

/// Commit it. Refused where a statement has failed or a savepoint is open. After an error nothing
/// is open, either.
pub fn commit() -> Result<(), Failure> {
    assert_none_runs();
    let outermost = || match xact::level() {
        1 => Ok(()),
        level => Err(Failure::new("25000", format!("a commit at level {level} of savepoints"))),
    };
    let result =
        usable().and_then(|()| outermost()).and_then(|()| session::caught(session::commit));
    if result.is_err() {
        abort();
    }
    PROGRESS.set(NONE);
    ports::report_statistics();
    result
}

/// Undo all of it, at whatever level it is; also when nothing is open.
pub fn abort() {
    assert_none_runs();
    // SAFETY: made for any state of the transaction; errors have been taken out of the server's
    // error stack by the guards that turned them into results.
    unsafe { pg_sys::AbortOutOfAnyTransaction() };
    PROGRESS.set(NONE);
    ports::report_statistics();
}

/// True from [`begin`] to [`commit`] or [`abort`].
pub fn is_open() -> bool {
    PROGRESS.get().is_open
}

/// Set a savepoint.
pub fn savepoint() -> Result<(), Failure> {
    // SAFETY: a transaction is open; without a name it allocates nothing that would stay.
    attempt(|| unsafe { pg_sys::BeginInternalSubTransaction(std::ptr::null()) })?;
    change(|progress| progress.savepoints += 1);
    Ok(())
}

/// Forget the innermost savepoint, and keep what was done since.
pub fn release() -> Result<(), Failure> {
    has_savepoint()?;
    // SAFETY: a subtransaction that `savepoint` began is the innermost one: what statements begin
    // they end.
    attempt(|| unsafe { pg_sys::ReleaseCurrentSubTransaction() })?;
    change(|progress| progress.savepoints -= 1);
    Ok(())
}

/// Undo what was done since the innermost savepoint, and forget that.
pub fn roll_back() -> Result<(), Failure> {
    has_savepoint()?;
    if !PROGRESS.get().has_failed {
        undo();
    }
    change(|progress| {
        progress.savepoints -= 1;
        progress.has_failed = false;
    });
    Ok(())
}

/// Run something else in the transaction that may raise errors, as one piece.
pub fn attempt<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    usable()?;
    assert_none_runs();
    beside(body)
}

/// Run something that may raise errors, whether a transaction is open or not. If one is, an error
/// is one of it; but within a piece that is for the piece to say.
pub(crate) fn beside<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    if IS_RUNNING.get() {
        return session::caught(body);
    }
    IS_RUNNING.set(true);
    let result = session::caught(body);
    IS_RUNNING.set(false);
    if result.is_err() && usable().is_ok() {
        undo();
        change(|progress| progress.has_failed = true);
    }
    result
}

fn assert_none_runs() {
    assert!(!IS_RUNNING.get(), "one piece at a time");
}

/// An error unless statements can be run.
fn usable() -> Result<(), Failure> {
    match PROGRESS.get() {
        Progress { is_open: false, .. } => Err(Failure::new("25P01", "no transaction is open")),
        Progress { has_failed: true, .. } => {
            Err(Failure::new("25P02", "a statement of the transaction has failed"))
        }
        _ => Ok(()),
    }
}

fn has_savepoint() -> Result<(), Failure> {
    assert_none_runs();
    match PROGRESS.get().savepoints {
        0 => Err(Failure::new("3B001", "there is no savepoint")),
        _ => Ok(()),
    }
}

/// Undo the innermost savepoint, with all subtransactions that an error has left open in it.
fn undo() {
    let savepoints = PROGRESS.get().savepoints;
    if savepoints == 0 {
        // SAFETY: as in `abort`.
        unsafe { pg_sys::AbortOutOfAnyTransaction() };
        return;
    }
    // The transaction itself is level 1, so the innermost savepoint is one more than there are.
    while xact::level() > savepoints {
        // SAFETY: subtransactions are open at this level, as the loop says; none was made by a
        // SAVEPOINT of SQL, which SPI refuses.
        unsafe { pg_sys::RollbackAndReleaseCurrentSubTransaction() };
    }
}

fn change(change: impl FnOnce(&mut Progress)) {
    let mut progress = PROGRESS.get();
    change(&mut progress);
    PROGRESS.set(progress);
}
