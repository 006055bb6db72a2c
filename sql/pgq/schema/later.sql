-- Where pgq.send() keeps what is not an event yet, and what is to be sent once. Nothing in these
-- tables is deleted row by row: each is a set of buckets, by when a row is done with, and a bucket
-- whose rows are all done with is emptied by TRUNCATE. pgq._bucket() chooses it.
--
-- A key that is to be sent once cannot be guarded by a unique index: its rows are in several
-- buckets. Nor by an advisory lock until the transaction ends: a thousand keys in one transaction
-- would fill the lock table of the server. So who sends takes a lock of that key for a moment only,
-- looks into the buckets at rows of transactions that are in progress, too, waits for such a
-- transaction without the lock, and has written its own row before it gives the lock back.
--
-- A delayed event is delivered once, without a mark on its row: pgq.delayed_state has a place in
-- their order, and the snapshot that went with it. What is before the place and seen by the
-- snapshot is delivered; what the snapshot does not see was committed later, and is not.

create table pgq.unique_key (
    uk_hash     bigint      not null,
    uk_check    bigint      not null,
    uk_id       bigint      not null,
    uk_expires  timestamptz not null
);
comment on table pgq.unique_key is
    'keys that are sent once for a while; its rows are in tables unique_0 to unique_8';
comment on column pgq.unique_key.uk_hash is 'first half of what is kept of queue and key';
comment on column pgq.unique_key.uk_check is 'second half of it';
comment on column pgq.unique_key.uk_id is 'the event that was sent';
comment on column pgq.unique_key.uk_expires is 'until when the key is not sent again';

create table pgq.delayed (
    dl_due      timestamptz not null,
    dl_queue    integer     not null,
    dl_id       bigint      not null,
    dl_txid     bigint      not null,
    dl_time     timestamptz not null,
    dl_unique   bigint,
    dl_type     text,
    dl_data     text,
    dl_extra1   text,
    dl_extra2   text
);
comment on table pgq.delayed is
    'events that are not due yet, and some that were; its rows are in tables delayed_0 to '
    'delayed_11';
comment on column pgq.delayed.dl_due is 'when it becomes an event of the queue';
comment on column pgq.delayed.dl_queue is 'the queue';
comment on column pgq.delayed.dl_id is 'the id that it has then: ev_id';
comment on column pgq.delayed.dl_txid is 'transaction that sent it';
comment on column pgq.delayed.dl_time is 'when it was sent: ev_time';
comment on column pgq.delayed.dl_unique is 'uk_hash of its unique key';
comment on column pgq.delayed.dl_type is 'ev_type';
comment on column pgq.delayed.dl_data is 'ev_data';
comment on column pgq.delayed.dl_extra1 is 'ev_extra1';
comment on column pgq.delayed.dl_extra2 is 'ev_extra2';

-- One row, once something was delivered. As in pgq.page its number is another one with each change,
-- and it is found from the end of the index, past versions that cannot be removed yet.
create table pgq.delayed_state (
    ds_round    bigint          not null,
    ds_due      timestamptz     not null,
    ds_queue    integer         not null,
    ds_id       bigint          not null,
    ds_snapshot txid_snapshot   not null,

    constraint delayed_state_pkey primary key (ds_round)
);
comment on table pgq.delayed_state is 'how far delayed events are delivered';
comment on column pgq.delayed_state.ds_round is 'how often it was changed';
comment on column pgq.delayed_state.ds_due is 'up to this time, and in it';
comment on column pgq.delayed_state.ds_queue is 'up to this queue, and in it';
comment on column pgq.delayed_state.ds_id is 'up to this event';
comment on column pgq.delayed_state.ds_snapshot is 'of those that this snapshot sees';

create table pgq.delayed_left (
    df_queue    integer     not null,
    df_id       bigint      not null,
    df_due      timestamptz not null,
    df_again    timestamptz not null,

    constraint delayed_left_pkey primary key (df_queue, df_id)
);
comment on table pgq.delayed_left is
    'delayed events that were due and could not be delivered: somebody was cancelling them, or '
    'their queue took none';
comment on column pgq.delayed_left.df_queue is 'the queue';
comment on column pgq.delayed_left.df_id is 'the event';
comment on column pgq.delayed_left.df_due is 'when it was due';
comment on column pgq.delayed_left.df_again is 'when that is tried again';

do $$
declare
    bucket  text;
    said    record;
begin
    for n in 0 .. 8 loop
        bucket := 'unique_' || n;
        execute format('create table pgq.%I () inherits (pgq.unique_key)', bucket);
        execute format('create index %I on pgq.%I (uk_hash)', bucket || '_hash_idx', bucket);
        execute format('comment on table pgq.%I is %L', bucket, 'a bucket of pgq.unique_key');
        perform pg_catalog.pg_extension_config_dump(format('pgq.%I', bucket)::regclass, '');
    end loop;
    for n in 0 .. 11 loop
        bucket := 'delayed_' || n;
        execute format('create table pgq.%I () inherits (pgq.delayed)', bucket);
        execute format('create index %I on pgq.%I (dl_due, dl_queue, dl_id)', bucket || '_due_idx',
                       bucket);
        execute format('create index %I on pgq.%I (dl_txid)', bucket || '_txid_idx', bucket);
        execute format('create index %I on pgq.%I (dl_queue, dl_id)', bucket || '_id_idx', bucket);
        execute format('comment on table pgq.%I is %L', bucket, 'a bucket of pgq.delayed');
        -- What is delivered would come again where it is restored.
        perform pg_catalog.pg_extension_config_dump(format('pgq.%I', bucket)::regclass, format(
            'where coalesce((select (dl_due, dl_queue, dl_id) > (s.ds_due, s.ds_queue, s.ds_id) '
                                'or not txid_visible_in_snapshot(dl_txid, s.ds_snapshot) '
                              'from pgq.delayed_state s order by s.ds_round desc limit 1), true) '
               'or exists (select 1 from pgq.delayed_left l '
                          'where l.df_queue = dl_queue and l.df_id = dl_id)'));
    end loop;
    for said in
        select i.inhrelid::regclass as bucket, a.attname as name,
               pg_catalog.col_description(i.inhparent, a.attnum) as text
          from pg_catalog.pg_inherits i
          join pg_catalog.pg_attribute a on a.attrelid = i.inhparent and a.attnum > 0
         where i.inhparent in ('pgq.unique_key'::regclass, 'pgq.delayed'::regclass)
    loop
        execute format('comment on column %s.%I is %L', said.bucket, said.name, said.text);
    end loop;
end;
$$;
