-- Comments on what is not a function; in both scripts, since older versions had none.

comment on schema pgq_node is
    'cascades: queues copied from node to node with the same ticks and event ids';
comment on table pgq_node.node_location is
    'all nodes of the sets that this database is a node of, and how to connect to them';
comment on table pgq_node.node_info is 'the node that this database is, per queue';
comment on table pgq_node.local_state is
    'consumers that keep their position here: the node''s worker and others';
comment on table pgq_node.subscriber_info is 'nodes that read from this one';
comment on table pgq_node.consumer_seen is 'when each consumer last reported here; not dumped';
