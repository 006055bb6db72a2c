-- Nodes that are half way to another provider. It belongs into no dump: a copy of a database is no
-- node that others know.

create table londiste.provider_change (
    queue_name      text        not null primary key references pgq_node.node_info (queue_name)
                                on delete cascade,
    new_provider    text        not null,
    former_provider text        not null,
    was_paused      boolean     not null,
    began           timestamptz not null default now(),
    check (new_provider <> former_provider)
);
