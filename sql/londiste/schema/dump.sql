-- The contents belong into dumps of the database; with them what the two sequences gave out, since
-- tables are listed in the order in which they were added. In both scripts: upstream left the
-- sequences out.

select pg_catalog.pg_extension_config_dump('londiste.table_info', '');
select pg_catalog.pg_extension_config_dump('londiste.seq_info', '');
select pg_catalog.pg_extension_config_dump('londiste.applied_execute', '');
select pg_catalog.pg_extension_config_dump('londiste.pending_fkeys', '');
select pg_catalog.pg_extension_config_dump('londiste.table_info_nr_seq', '');
select pg_catalog.pg_extension_config_dump('londiste.seq_info_nr_seq', '');
