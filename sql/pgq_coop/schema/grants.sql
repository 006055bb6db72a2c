-- Every function is for pgq_reader, and version() for everybody.

grant usage on schema pgq_coop to public;

revoke all on all functions in schema pgq_coop from public, pgq_reader, pgq_writer, pgq_admin;

grant execute on function
    pgq_coop.register_subconsumer(text, text, text),
    pgq_coop.unregister_subconsumer(text, text, text, integer),
    pgq_coop.next_batch(text, text, text),
    pgq_coop.next_batch(text, text, text, interval),
    pgq_coop.next_batch_custom(text, text, text, interval, int4, interval),
    pgq_coop.next_batch_custom(text, text, text, interval, int4, interval, interval),
    pgq_coop.finish_batch(bigint)
to pgq_reader;

grant execute on function pgq_coop.version() to public;
