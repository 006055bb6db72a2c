-- What copies have begun, and how much is expected of them. It belongs into no dump: a copy that is
-- restored begins anew.

create table londiste.table_copy (
    queue_name      text        not null,
    table_name      text        not null,
    began           timestamptz not null default clock_timestamp(),
    expected_rows   int8        check (expected_rows >= 0),
    expected_bytes  int8        check (expected_bytes >= 0),
    primary key (queue_name, table_name),
    foreign key (queue_name, table_name) references londiste.table_info (queue_name, table_name)
        on delete cascade
);
