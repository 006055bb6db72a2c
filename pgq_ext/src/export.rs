//! The functions that SQL declarations in `sql/pgq` refer to. Symbols that PgQ 3.5 exported keep
//! their names.

use crate::batch::{events, page, sql, take, waiting};
use crate::event::{entry, queue_cache, send, unique};
use crate::tick::demand;
use crate::trigger::entry as trigger;
use crate::{cron, lock, own_relation, remote};

pgq_pg::sql_functions! {
    /// `pgq.insert_event(text, text, text)`
    pgq_insert_event3, pg_finfo_pgq_insert_event3 => entry::insert_event;
    /// `pgq.insert_event(text, text, text, text, text, text, text)`
    pgq_insert_event7, pg_finfo_pgq_insert_event7 => entry::insert_event;
    /// `pgq.insert_event_raw(…)`
    pgq_insert_event_raw, pg_finfo_pgq_insert_event_raw => entry::insert_event_raw;
    /// `pgq.insert_events(…)`
    pgq_insert_events, pg_finfo_pgq_insert_events => entry::insert_events;
    /// `pgq.send(text, text)`
    pgq_send_plain, pg_finfo_pgq_send_plain => send::send_plain;
    /// `pgq.send(text, jsonb)`
    pgq_send_plain_json, pg_finfo_pgq_send_plain_json => send::send_plain_json;
    /// `pgq.send(text, text, text, text, jsonb, timestamptz, text, interval)`
    pgq_send, pg_finfo_pgq_send => send::send;
    /// `pgq.send(text, text, jsonb, text, jsonb, timestamptz, text, interval)`
    pgq_send_json, pg_finfo_pgq_send_json => send::send_json;
    /// `pgq._send_batch(text, text, text[], text[], text[])`
    pgq_send_batch, pg_finfo_pgq_send_batch => send::send_batch;
    /// `pgq.current_event_table(text)`
    pgq_current_event_table, pg_finfo_pgq_current_event_table => entry::current_event_table;
    /// `pgq.get_batch_events(bigint)`
    pgq_get_batch_events, pg_finfo_pgq_get_batch_events => events::get_batch_events;
    /// `pgq._batch_has_events(bigint)`
    pgq_batch_has_events, pg_finfo_pgq_batch_has_events => events::batch_has_events;
    /// `pgq._window_has_events(integer, integer, bigint, bigint)`
    pgq_window_has_events, pg_finfo_pgq_window_has_events => events::window_has_events;
    /// `pgq._take_batch(text, text)`
    pgq_take_batch, pg_finfo_pgq_take_batch => take::take_batch;
    /// `pgq._tick_on_demand(text)`
    pgq_tick_on_demand, pg_finfo_pgq_tick_on_demand => demand::tick_on_demand;
    /// `pgq._page_end(integer, integer, bigint, bigint, bigint, integer, integer, integer)`
    pgq_page_end, pg_finfo_pgq_page_end => page::page_end;
    /// `pgq._page_events(integer, integer, bigint, bigint, bigint, bigint, integer, integer)`
    pgq_page_events, pg_finfo_pgq_page_events => page::page_events;
    /// `pgq._key_slot(bigint, text, integer)`
    pgq_key_slot, pg_finfo_pgq_key_slot => page::key_slot;
    /// `pgq._window_sql(integer, integer, bigint, bigint, text)`
    pgq_window_sql, pg_finfo_pgq_window_sql => sql::window_sql_function;
    /// `pgq._find_waiting(integer, text, text)`
    pgq_find_waiting, pg_finfo_pgq_find_waiting => waiting::find_waiting;
    /// `pgq._last_value(regclass)`
    pgq_last_value, pg_finfo_pgq_last_value => entry::last_value;
    /// `pgq._event_table(text)`
    pgq_event_table, pg_finfo_pgq_event_table => own_relation::event_table_function;
    /// `pgq._own_sequence(integer, text)`
    pgq_own_sequence, pg_finfo_pgq_own_sequence => own_relation::own_sequence_function;
    /// `pgq._sequence_value(integer, text)`
    pgq_sequence_value, pg_finfo_pgq_sequence_value => own_relation::sequence_value;
    /// `pgq.seq_getval(text)`
    pgq_seq_getval, pg_finfo_pgq_seq_getval => own_relation::seq_getval;
    /// `pgq._lock(text, integer)`
    pgq_lock, pg_finfo_pgq_lock => lock::lock_function;
    /// `pgq._lock_shared(text, integer)`
    pgq_lock_shared, pg_finfo_pgq_lock_shared => lock::lock_shared;
    /// `pgq._unlock(text, integer)`
    pgq_unlock, pg_finfo_pgq_unlock => lock::unlock;
    /// `pgq._claim_unique(bigint, bigint)`
    pgq_claim_unique, pg_finfo_pgq_claim_unique => unique::claim_unique;
    /// `pgq._next_cron(text, text, timestamptz)`
    pgq_next_cron, pg_finfo_pgq_next_cron => cron::next_cron;
    /// `pgq._try_lock(text, integer)`
    pgq_try_lock, pg_finfo_pgq_try_lock => lock::try_lock;
    /// `pgq._queue_changed()`
    pgq_queue_changed, pg_finfo_pgq_queue_changed => queue_cache::queue_changed;
    /// `londiste._ask(text, text, text[])`
    londiste_ask, pg_finfo_londiste_ask => remote::ask;
    /// `londiste._check_location(text)`
    londiste_check_location, pg_finfo_londiste_check_location => remote::check_location;
    /// `londiste._check_server_options(text[], oid)`
    londiste_check_server_options, pg_finfo_londiste_check_server_options =>
        remote::check_server_options;
    /// `pgq.logutriga()`
    pgq_logutriga, pg_finfo_pgq_logutriga => trigger::logutriga;
    /// `pgq.jsontriga()`
    pgq_jsontriga, pg_finfo_pgq_jsontriga => trigger::jsontriga;
    /// `pgq.sqltriga()`
    pgq_sqltriga, pg_finfo_pgq_sqltriga => trigger::sqltriga;
    /// `logtriga()` of databases that Skytools 2 has set up
    pgq_logtriga, pg_finfo_pgq_logtriga => trigger::logtriga;
}
