-- Everybody may ask what things are called and see the tables. londiste_reader reads a provider's
-- lists, londiste_writer does all work on a node. Both roles may be missing where nobody could make
-- them. These run with more rights than their caller has: set_session_replication_role();
-- _processes() and _copies_in(), which show of other sessions that they work for a node, and how
-- much a copy has brought; and, when a node goes and its rows here with it, table_info_trigger(),
-- which PostgreSQL then runs as these tables' owner.

grant usage on schema londiste to public;

revoke all on all routines in schema londiste from public, pgq_admin;

grant execute on function
    londiste.find_column_types(text),
    londiste.find_table_fkeys(text),
    londiste.find_rel_oid(text, text),
    londiste.find_table_oid(text),
    londiste.find_seq_oid(text),
    londiste.is_replica_func(oid),
    londiste.quote_fqname(text),
    londiste.make_fqname(text),
    londiste.split_fqname(text),
    londiste.version()
to public;

grant execute on function
    londiste.periodic_maintenance(),
    londiste.root_check_seqs(text, bigint),
    londiste.root_check_seqs(text)
to pgq_admin;

revoke all on
    londiste.table_info, londiste.seq_info, londiste.applied_execute, londiste.pending_fkeys
from public, pgq_admin;

grant select on
    londiste.table_info, londiste.seq_info, londiste.applied_execute, londiste.pending_fkeys
to public;

grant select, insert, update, delete on
    londiste.table_info, londiste.seq_info, londiste.applied_execute, londiste.pending_fkeys,
    londiste.worker, londiste.worker_error, londiste.table_copy, londiste.provider_change
to pgq_admin;

grant usage on sequence londiste.worker_nr_seq to pgq_admin;

do $$
begin
    if exists (select 1 from pg_catalog.pg_roles where rolname = 'londiste_reader') then
        revoke all on all routines in schema londiste from londiste_reader;
        grant execute on function
            londiste.get_seq_list(text),
            londiste.get_table_list(text),
            londiste._coordinate_copy(text, text),
            londiste.status(text),
            londiste.table_status(text),
            londiste.worker_status(text),
            londiste._processes(),
            londiste._copies_in(),
            londiste._state_of(boolean, text)
        to londiste_reader;
        revoke all on all tables in schema londiste from londiste_reader;
        grant select on
            londiste.table_info, londiste.seq_info, londiste.applied_execute,
            londiste.pending_fkeys, londiste.worker, londiste.worker_error,
            londiste.table_copy, londiste.provider_change
        to londiste_reader;
    end if;

    if exists (select 1 from pg_catalog.pg_roles where rolname = 'londiste_writer') then
        revoke all on all routines in schema londiste from londiste_writer;
        grant execute on all routines in schema londiste to londiste_writer;
        revoke execute on function
            londiste.find_column_types(text),
            londiste.find_table_fkeys(text),
            londiste.find_rel_oid(text, text),
            londiste.find_table_oid(text),
            londiste.find_seq_oid(text),
            londiste.is_replica_func(oid),
            londiste.quote_fqname(text),
            londiste.make_fqname(text),
            londiste.split_fqname(text),
            londiste.version()
        from londiste_writer;
        revoke all on all tables in schema londiste from londiste_writer;
        grant usage on sequence londiste.table_info_nr_seq, londiste.seq_info_nr_seq
        to londiste_writer;
    end if;
end;
$$;
