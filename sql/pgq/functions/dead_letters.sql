create or replace function pgq.dead_letters(
    in  queue           text,
    in  consumer        text default null,
    out consumer_name   text,
    out msg_id          bigint,
    out type            text,
    out payload         text,
    out key             text,
    out headers         jsonb,
    out retry_count     integer,
    out created_at      timestamptz,
    out extra3          text,
    out extra4          text,
    out reason          text,
    out first_failed    timestamptz,
    out last_failed     timestamptz,
    out times           integer)
returns setof record
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.dead_letters(2)
--      Messages that consumers of a queue have given up.
-- Parameters:
--      queue       name of the queue
--      consumer    of this consumer only; NULL: of all
-- Returns: a row for each message and consumer, in order of their ids
-- Errors: 42704 no such queue
-- Tables: pgq.dead_letter, pgq.queue, pgq.consumer
-- ----------------------------------------------------------------------
declare
    id  integer := pgq._queue_id(queue);
begin
    return query
    select c.co_name, d.dl_msg_id, d.dl_type, d.dl_payload, d.dl_extra1, pgq._headers(d.dl_extra2),
           d.dl_retry_count, d.dl_created_at, d.dl_extra3, d.dl_extra4, d.dl_reason,
           d.dl_first_failed, d.dl_last_failed, d.dl_count
      from pgq.dead_letter d
      join pgq.consumer c on c.co_id = d.dl_consumer
     where d.dl_queue = id
       and (consumer is null or c.co_name = consumer)
     order by d.dl_msg_id, c.co_name;
end;
$$;
comment on function pgq.dead_letters(text, text) is 'messages that consumers have given up';

create or replace function pgq._subscription_of(i_queue text, i_consumer text)
returns pgq.subscription
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._subscription_of(2)
--      Subscription whose dead letters are to be given back or dropped.
-- Errors: 42704 no such queue, or the consumer is not subscribed to it
-- Tables: pgq.queue, pgq.consumer, pgq.subscription
-- ----------------------------------------------------------------------
declare
    id  integer := pgq._queue_id(i_queue);
    sub pgq.subscription;
begin
    select s.*
      into sub
      from pgq.consumer c
      join pgq.subscription s on s.sub_consumer = c.co_id
     where s.sub_queue = id
       and c.co_name = i_consumer;
    if not found then
        raise exception 'Not subscriber to queue: %/%', i_queue, coalesce(i_consumer, 'NULL')
            using errcode = '42704',
                  hint = 'Consumers are listed by pgq.get_consumer_info().';
    end if;
    return sub;
end;
$$;
comment on function pgq._subscription_of(text, text) is
    'subscription whose dead letters are to be given back or dropped';

create or replace function pgq.dead_replay(
    queue       text,
    consumer    text,
    ids         bigint[] default null)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.dead_replay(3)
--      Give dead letters to their consumer, and to no other, again, as if they had not failed yet.
-- Parameters:
--      queue       name of the queue
--      consumer    name of the consumer
--      ids         which messages; NULL: all
-- Returns: number of messages. One that waits to come again already stays a letter.
-- Errors: 42704 no such queue, or the consumer is not subscribed to it
-- Locks: rows of the letters
-- Tables: pgq.dead_letter, pgq.retry_queue, pgq.subscription
-- ----------------------------------------------------------------------
declare
    sub         pgq.subscription := pgq._subscription_of(queue, consumer);
    replayed    bigint;
begin
    -- One statement, of one snapshot: what is given is what is deleted.
    with letter as (
        select d.*
          from pgq.dead_letter d
         where d.dl_queue = sub.sub_queue
           and d.dl_consumer = sub.sub_consumer
           and (ids is null or d.dl_msg_id = any (ids))
           for update
    ), given as (
        insert into pgq.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_owner, ev_type,
                                     ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
        select now(), l.dl_queue, l.dl_msg_id, l.dl_created_at, sub.sub_id, l.dl_type, l.dl_payload,
               l.dl_extra1, l.dl_extra2, l.dl_extra3, l.dl_extra4
          from letter l
            on conflict (ev_owner, ev_id) do nothing
        returning ev_id
    ), gone as (
        delete from pgq.dead_letter d
         using given g
         where d.dl_queue = sub.sub_queue
           and d.dl_consumer = sub.sub_consumer
           and d.dl_msg_id = g.ev_id
        returning 1
    )
    select count(*) into replayed from gone;
    return replayed;
end;
$$;
comment on function pgq.dead_replay(text, text, bigint[]) is
    'give dead letters to their consumer again; returns their number';

create or replace function pgq.dead_purge(
    queue       text,
    consumer    text,
    older_than  interval,
    ids         bigint[] default null)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.dead_purge(4)
--      Drop dead letters.
-- Parameters:
--      queue       name of the queue
--      consumer    name of the consumer
--      older_than  those that were given up, for the last time, at least so long ago
--      ids         of these messages only; NULL: of all
-- Returns: number of letters
-- Errors: 22004 NULL time; 42704 no such queue, or the consumer is not subscribed to it
-- Locks: rows of the letters
-- Tables: pgq.dead_letter, pgq.subscription
-- ----------------------------------------------------------------------
declare
    sub     pgq.subscription;
    purged  bigint;
begin
    if older_than is null then
        raise exception 'older_than must not be NULL'
            using errcode = '22004',
                  hint = 'Zero drops all dead letters of the consumer.';
    end if;
    sub := pgq._subscription_of(queue, consumer);
    delete from pgq.dead_letter d
     where d.dl_queue = sub.sub_queue
       and d.dl_consumer = sub.sub_consumer
       and (ids is null or d.dl_msg_id = any (ids))
       and d.dl_last_failed <= now() - older_than;
    get diagnostics purged = row_count;
    return purged;
end;
$$;
comment on function pgq.dead_purge(text, text, interval, bigint[]) is 'drop dead letters';
