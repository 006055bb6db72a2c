//! The symbols of this crate that the server looks up by name. SQL declares the functions in
//! `sql/pgq/functions/worker.sql`.

use crate::{cascade, control, dirty, launcher, state, wait, worker};

pgq_pg::worker_mains! {
    /// Main function of the launcher.
    pgq_launcher_main => launcher::main;
    /// Main function of a database's worker; the argument is the number of its slot.
    pgq_worker_main => worker::main;
    /// Main function of a node's worker; what it is told is in the process's extra bytes.
    pgq_londiste_worker_main => cascade::worker_main;
    /// Main function of a table's copy; the argument is the table's number.
    pgq_londiste_copy_main => cascade::copier_main;
}

pgq_pg::sql_functions! {
    /// `pgq._worker_server()`: one row about the server.
    pgq_worker_server, pg_finfo_pgq_worker_server => state::worker_server;
    /// `pgq._worker_databases()`: a row for each database with a worker.
    pgq_worker_databases, pg_finfo_pgq_worker_databases => state::worker_databases;
    /// `pgq._worker_waiters()`: a row for each queue of this database that is waited for.
    pgq_worker_waiters, pg_finfo_pgq_worker_waiters => state::worker_waiters;
    /// `pgq._worker_problems()`: a row for each thing that fails in this database.
    pgq_worker_problems, pg_finfo_pgq_worker_problems => state::worker_problems;
    /// `pgq._worker_control(start boolean) returns integer`: start or stop the worker of this
    /// database.
    pgq_worker_control, pg_finfo_pgq_worker_control => control::worker_control;
    /// `pgq._announce() returns void`: this database has the extension, once the transaction has
    /// committed.
    pgq_announce, pg_finfo_pgq_announce => dirty::announce;
    /// `pgq._mark_dirty(queue_id integer) returns void`: have the queue looked at when the
    /// transaction has committed.
    pgq_mark_dirty, pg_finfo_pgq_mark_dirty => dirty::mark_dirty_function;
    /// `pgq._wake_waiters(queue_id integer) returns void`: have those who wait for the queue look
    /// when the transaction has committed.
    pgq_wake_waiters, pg_finfo_pgq_wake_waiters => dirty::wake_waiters_function;
    /// `pgq._delayed_changed()`: have the worker look for delayed events when the transaction has
    /// committed.
    pgq_delayed_changed, pg_finfo_pgq_delayed_changed => dirty::delayed_changed;
    /// `londiste._workers_changed()`: have the worker look at londiste.worker when the transaction
    /// has committed.
    londiste_workers_changed, pg_finfo_londiste_workers_changed => dirty::workers_changed;
    /// `pgq.wait_batch(i_queue_name text, i_consumer_name text, i_timeout interval, inout batch_id
    /// bigint, i_skip_empty boolean)`
    pgq_wait_batch, pg_finfo_pgq_wait_batch => wait::wait_batch;
    /// `pgq._wait_tick(i_queue_name text, i_since bigint, i_timeout interval, i_tell boolean)`
    pgq_wait_tick, pg_finfo_pgq_wait_tick => wait::wait_tick;
}
