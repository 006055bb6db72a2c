-- Which nodes of this database are worked for inside the server, and with what that fails. None of
-- it belongs into a dump: a copy of a database must not work as the first.

create table londiste.worker (
    nr              serial      not null unique check (nr > 0),
    queue_name      text        not null references pgq_node.node_info (queue_name)
                                on delete cascade,
    worker_role     oid         not null check (worker_role <> 0),
    parallel_copies int4        not null default 1 check (parallel_copies between 1 and 64),
    database_oid    oid         not null,
    system_id       int8        not null,
    primary key (queue_name)
);

create table londiste.worker_error (
    queue_name      text        not null references pgq_node.node_info (queue_name)
                                on delete cascade,
    consumer_name   text        not null,
    sqlstate        text,
    event_id        int8,
    message         text        not null,
    first_time      timestamptz not null default now(),
    last_time       timestamptz not null default now(),
    attempts        int8        not null default 1,
    primary key (queue_name, consumer_name)
);

create trigger worker_identity before insert or update on londiste.worker
    for each row execute function londiste._worker_identity();
alter table londiste.worker enable always trigger worker_identity;

create trigger worker_changed after insert or update or delete or truncate on londiste.worker
    for each statement execute function londiste._workers_changed();
alter table londiste.worker enable always trigger worker_changed;

-- How a node is connected to, by its name; docs/replication.md says how.
create foreign data wrapper londiste_fdw validator londiste._check_server_options;
