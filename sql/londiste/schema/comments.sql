-- Comments on what is not a function; in both scripts, since older versions had none.

comment on schema londiste is 'replication of tables and sequences over cascaded queues';
comment on table londiste.table_info is
    'tables that are known on a queue, and whether and how this node has them';
comment on table londiste.seq_info is
    'sequences that are known on a queue, and the last value that was published';
comment on table londiste.applied_execute is 'scripts that EXECUTE has run here';
comment on table londiste.pending_fkeys is
    'foreign keys that were dropped for initial copies, until they can be restored';
