-- State of the nodes that this database is. One queue is one set of nodes; each database is at most
-- one node of it.

create schema pgq_node;

create table pgq_node.node_location (
    queue_name      text    not null,
    node_name       text    not null,
    node_location   text    not null,
    dead            boolean not null default false,
    primary key (queue_name, node_name)
);

create table pgq_node.node_info (
    queue_name      text    not null primary key,
    node_type       text    not null check (node_type in ('root', 'branch', 'leaf')),
    node_name       text    not null,
    worker_name     text,
    combined_queue  text,
    node_attrs      text,
    foreign key (queue_name, node_name) references pgq_node.node_location (queue_name, node_name),
    check (case
               when node_type = 'root' then worker_name is not null and combined_queue is null
               when node_type = 'branch' then worker_name is not null and combined_queue is null
               when node_type = 'leaf' then worker_name is not null
               else false
           end)
);

create table pgq_node.local_state (
    queue_name      text    not null references pgq_node.node_info (queue_name),
    consumer_name   text    not null,
    provider_node   text    not null,
    last_tick_id    bigint  not null,
    cur_error       text,
    paused          boolean not null default false,
    uptodate        boolean not null default false,
    primary key (queue_name, consumer_name),
    foreign key (queue_name, provider_node) references pgq_node.node_location (queue_name,
                                                                               node_name)
);

create table pgq_node.subscriber_info (
    queue_name      text    not null references pgq_node.node_info (queue_name),
    subscriber_node text    not null,
    worker_name     text    not null references pgq.consumer (co_name),
    watermark_name  text    not null references pgq.consumer (co_name),
    primary key (queue_name, subscriber_node),
    foreign key (queue_name, subscriber_node) references pgq_node.node_location (queue_name,
                                                                                 node_name)
);
