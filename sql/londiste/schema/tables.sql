-- What this node replicates, one row a queue and object. upgrade_schema() adds the trigger and the
-- check, as it does for older versions.

create schema londiste;

create table londiste.table_info (
    nr              serial  not null,
    queue_name      text    not null references pgq_node.node_info (queue_name) on delete cascade,
    table_name      text    not null,
    local           boolean not null default false,
    merge_state     text,
    custom_snapshot text,
    dropped_ddl     text,
    table_attrs     text,
    dest_table      text,
    primary key (queue_name, table_name)
);

create table londiste.seq_info (
    nr              serial  not null,
    queue_name      text    not null references pgq_node.node_info (queue_name) on delete cascade,
    seq_name        text    not null,
    local           boolean not null default false,
    last_value      int8    not null,
    primary key (queue_name, seq_name)
);

create table londiste.applied_execute (
    queue_name      text        not null,
    execute_file    text        not null,
    execute_time    timestamptz not null default now(),
    execute_sql     text        not null,
    execute_attrs   text,
    primary key (execute_file)
);

create table londiste.pending_fkeys (
    from_table      text    not null,
    to_table        text    not null,
    fkey_name       text    not null,
    fkey_def        text    not null,
    primary key (from_table, fkey_name)
);
