-- The roles pgq_reader, pgq_writer and pgq_admin, if the cluster has none yet.

select pgq.upgrade_schema();
