-- Comments on what is not a function; in both scripts, since older versions had none.

comment on schema londiste is 'replication of tables and sequences over cascaded queues';
comment on table londiste.table_info is
    'tables that are known on a queue, and whether and how this node has them';
comment on table londiste.seq_info is
    'sequences that are known on a queue, and the last value that was published';
comment on table londiste.applied_execute is 'scripts that EXECUTE has run here';
comment on table londiste.worker is
    'nodes of this database that are worked for inside the server, and as whom';
comment on table londiste.worker_error is 'with what workers inside the server fail';
comment on table londiste.table_copy is
    'copies of tables that have begun, and how much is expected of them';
comment on table londiste.provider_change is 'nodes that are half way to another provider';
comment on foreign data wrapper londiste_fdw is
    'nodes by name: how workers inside the server connect to them';
comment on table londiste.pending_fkeys is
    'foreign keys that were dropped for initial copies, until they can be restored';

comment on column londiste.table_info.nr is 'order in which tables were added';
comment on column londiste.table_info.queue_name is 'name of the queue, which is the set''s';
comment on column londiste.table_info.table_name is 'name on the queue: schema.table, unquoted';
comment on column londiste.table_info.local is 'this node has the table';
comment on column londiste.table_info.merge_state is
    'NULL: waits for its initial copy; in-copy, catching-up, wanna-sync:TICK, do-sync:TICK: is '
    'copied; ok: the worker applies its changes';
comment on column londiste.table_info.custom_snapshot is
    'snapshot of the provider that the copy was made with: events that it sees are left out';
comment on column londiste.table_info.dropped_ddl is
    'indexes and keys that were dropped for the copy, as SQL that makes them again';
comment on column londiste.table_info.table_attrs is
    'how this node handles the table (handler, copy_node, skip_truncate, ...), url-encoded';
comment on column londiste.table_info.dest_table is
    'name of the table on this node; NULL: as on the queue';
comment on column londiste.seq_info.nr is 'order in which sequences were added';
comment on column londiste.seq_info.queue_name is 'name of the queue, which is the set''s';
comment on column londiste.seq_info.seq_name is 'name on the queue: schema.sequence, unquoted';
comment on column londiste.seq_info.local is 'this node has the sequence';
comment on column londiste.seq_info.last_value is
    'value that was published last; on the root ahead of what the sequence gave out';
comment on column londiste.applied_execute.queue_name is 'queue that the script came by';
comment on column londiste.applied_execute.execute_file is
    'name of the script; it runs once a name';
comment on column londiste.applied_execute.execute_time is 'when it ran here';
comment on column londiste.applied_execute.execute_sql is 'the script';
comment on column londiste.applied_execute.execute_attrs is
    'conditions at its top (which tables it needs, ...), url-encoded';
comment on column londiste.pending_fkeys.from_table is 'table that the key belongs to';
comment on column londiste.pending_fkeys.to_table is 'table that it refers to';
comment on column londiste.pending_fkeys.fkey_name is 'name of the key';
comment on column londiste.pending_fkeys.fkey_def is 'statement that makes it again';
comment on column londiste.worker.nr is 'number of the row; its processes are told by it';
comment on column londiste.worker.queue_name is 'queue whose node is worked for';
comment on column londiste.worker.worker_role is
    'oid of the role whose session the worker is: of whoever wrote the row';
comment on column londiste.worker.parallel_copies is 'tables that are copied at once';
comment on column londiste.worker.database_oid is
    'database in which it was asked for; in a copy of it the row asks for nothing';
comment on column londiste.worker.system_id is 'server in which it was asked for, likewise';
comment on column londiste.worker_error.queue_name is 'queue';
comment on column londiste.worker_error.consumer_name is
    'who fails: the node''s worker, or a table''s copy';
comment on column londiste.worker_error.sqlstate is 'code of the error, where a server gave one';
comment on column londiste.worker_error.event_id is 'event that is at fault, where that is known';
comment on column londiste.worker_error.message is 'what is wrong';
comment on column londiste.worker_error.first_time is 'since when';
comment on column londiste.worker_error.last_time is 'when it was tried last';
comment on column londiste.worker_error.attempts is 'how often it was tried';
comment on column londiste.table_copy.queue_name is 'queue';
comment on column londiste.table_copy.table_name is 'name of the table on the queue';
comment on column londiste.table_copy.began is 'when rows began to come, the last time they did';
comment on column londiste.table_copy.expected_rows is
    'rows of the provider''s table by its statistics; NULL: it was never analyzed';
comment on column londiste.table_copy.expected_bytes is
    'size of the provider''s table on disk, without indexes';
comment on column londiste.provider_change.queue_name is 'queue';
comment on column londiste.provider_change.new_provider is 'node from which it is to read';
comment on column londiste.provider_change.former_provider is 'node from which it has read';
comment on column londiste.provider_change.was_paused is 'its worker was paused before';
comment on column londiste.provider_change.began is 'since when';
