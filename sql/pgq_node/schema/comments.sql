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

comment on column pgq_node.node_location.queue_name is 'name of the queue, which is the set''s';
comment on column pgq_node.node_location.node_name is 'name of the node, unique in its set';
comment on column pgq_node.node_location.node_location is
    'how others connect to it; everybody in the set reads this, so no password';
comment on column pgq_node.node_location.dead is 'the node is lost for good';
comment on column pgq_node.node_info.queue_name is 'name of the queue, which is the set''s';
comment on column pgq_node.node_info.node_type is
    'root: takes events and makes ticks; branch: has a copy of the queue; leaf: has none';
comment on column pgq_node.node_info.node_name is 'name of this node';
comment on column pgq_node.node_info.worker_name is 'consumer that applies events here';
comment on column pgq_node.node_info.combined_queue is
    'of a leaf: queue of this database that its events are merged into';
comment on column pgq_node.node_info.node_attrs is
    'settings of the node, url-encoded: sync_watermark=NODE,NODE';
comment on column pgq_node.local_state.queue_name is 'name of the queue, which is the set''s';
comment on column pgq_node.local_state.consumer_name is
    'who keeps its position here: the worker, or another consumer of the set';
comment on column pgq_node.local_state.provider_node is 'node that it reads from';
comment on column pgq_node.local_state.last_tick_id is 'tick up to which it has applied everything';
comment on column pgq_node.local_state.cur_error is 'what it fails at; NULL: nothing';
comment on column pgq_node.local_state.paused is 'it is to wait';
comment on column pgq_node.local_state.uptodate is
    'it has seen the present state of this row and acts by it';
comment on column pgq_node.subscriber_info.queue_name is 'name of the queue, which is the set''s';
comment on column pgq_node.subscriber_info.subscriber_node is 'node that reads from this one';
comment on column pgq_node.subscriber_info.worker_name is
    'consumer on the queue that its worker is';
comment on column pgq_node.subscriber_info.watermark_name is
    'consumer on the queue that keeps what the subscriber, or a node behind it, has not passed';
comment on column pgq_node.consumer_seen.queue_name is 'name of the queue, which is the set''s';
comment on column pgq_node.consumer_seen.consumer_name is 'consumer of local_state';
comment on column pgq_node.consumer_seen.seen is 'when it last reported';
