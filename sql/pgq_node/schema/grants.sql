-- The tables can be read by readers and writers and are the administrator's; functions follow who
-- calls them: workers and consumers write on their own node (pgq_writer) and read from their
-- provider (pgq_reader).

grant usage on schema pgq_node to public;

revoke all on all functions in schema pgq_node from public, pgq_reader, pgq_writer, pgq_admin;

grant execute on function
    pgq_node.is_root_node(text),
    pgq_node.is_leaf_node(text),
    pgq_node.version()
to public;

grant execute on function
    pgq_node.get_node_info(text),
    pgq_node.get_consumer_info(text),
    pgq_node.get_consumer_state(text, text),
    pgq_node.get_queue_locations(text),
    pgq_node.get_subscriber_info(text),
    pgq_node.register_subscriber(text, text, text, int8),
    pgq_node.unregister_subscriber(text, text),
    pgq_node.set_subscriber_watermark(text, text, bigint),
    pgq_node.node_health(text, interval)
to pgq_reader, pgq_writer, pgq_admin;

grant execute on function
    pgq_node.register_consumer(text, text, text, int8),
    pgq_node.unregister_consumer(text, text),
    pgq_node.change_consumer_provider(text, text, text),
    pgq_node.set_consumer_uptodate(text, text, boolean),
    pgq_node.set_consumer_paused(text, text, boolean),
    pgq_node.set_consumer_completed(text, text, int8),
    pgq_node.set_consumer_error(text, text, text)
to pgq_writer, pgq_admin;

grant execute on function
    pgq_node.create_node(text, text, text, text, text, bigint, text),
    pgq_node.drop_node(text, text),
    pgq_node.demote_root(text, int4, text),
    pgq_node.cancel_demote(text),
    pgq_node.promote_branch(text),
    pgq_node.set_node_attrs(text, text),
    pgq_node.get_worker_state(text),
    pgq_node.set_global_watermark(text, bigint),
    pgq_node.set_partition_watermark(text, text, bigint),
    pgq_node.register_location(text, text, text, boolean),
    pgq_node.unregister_location(text, text),
    pgq_node.maint_watermark(text),
    pgq_node.upgrade_schema()
to pgq_admin;

revoke all on
    pgq_node.node_location,
    pgq_node.node_info,
    pgq_node.local_state,
    pgq_node.subscriber_info,
    pgq_node.consumer_seen
from public, pgq_reader, pgq_writer, pgq_admin;

grant select on
    pgq_node.node_location,
    pgq_node.node_info,
    pgq_node.local_state,
    pgq_node.subscriber_info,
    pgq_node.consumer_seen
to pgq_reader, pgq_writer;

grant select, insert, update, delete on
    pgq_node.node_location,
    pgq_node.node_info,
    pgq_node.local_state,
    pgq_node.subscriber_info,
    pgq_node.consumer_seen
to pgq_admin;
