//! The symbols of this crate that the server looks up by name. SQL declares the functions in
//! `sql/pgq/functions/worker.sql`.

use crate::{dirty, launcher, state, wait, worker};

pgq_pg::worker_mains! {
    /// Main function of the launcher.
    pgq_launcher_main => launcher::main;
    /// Main function of a database's worker; the argument is the number of its slot.
    pgq_worker_main => worker::main;
}

pgq_pg::sql_functions! {
    /// `pgq._worker_state() returns json`
    pgq_worker_state, pg_finfo_pgq_worker_state => state::worker_state;
    /// `pgq._worker_control(start boolean) returns integer`: start or stop the worker of this
    /// database.
    pgq_worker_control, pg_finfo_pgq_worker_control => state::worker_control;
    /// `pgq._announce() returns void`: this database has the extension, once the transaction has
    /// committed.
    pgq_announce, pg_finfo_pgq_announce => dirty::announce;
    /// `pgq._mark_dirty(queue_id integer) returns void`: have the queue looked at when the
    /// transaction has committed.
    pgq_mark_dirty, pg_finfo_pgq_mark_dirty => dirty::mark_dirty_function;
    /// `pgq.wait_batch(i_queue_name text, i_consumer_name text, i_timeout interval, inout batch_id
    /// bigint, i_skip_empty boolean)`
    pgq_wait_batch, pg_finfo_pgq_wait_batch => wait::wait_batch;
}
