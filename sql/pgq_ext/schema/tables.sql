-- What consumers of queues elsewhere have done in this database. Nothing here needs extension pgq
-- in the same database. upgrade_schema() adds the defaults, as it does for older versions.

create schema pgq_ext;

create table pgq_ext.completed_tick (
    consumer_id     text    not null,
    subconsumer_id  text    not null,
    last_tick_id    bigint  not null,
    primary key (consumer_id, subconsumer_id)
);

create table pgq_ext.completed_batch (
    consumer_id     text    not null,
    subconsumer_id  text    not null,
    last_batch_id   bigint  not null,
    primary key (consumer_id, subconsumer_id)
);

create table pgq_ext.completed_event (
    consumer_id     text    not null,
    subconsumer_id  text    not null,
    batch_id        bigint  not null,
    event_id        bigint  not null,
    primary key (consumer_id, subconsumer_id, batch_id, event_id)
);

create table pgq_ext.partial_batch (
    consumer_id     text    not null,
    subconsumer_id  text    not null,
    cur_batch_id    bigint  not null,
    primary key (consumer_id, subconsumer_id)
);
