create or replace function pgq._last_page(i_queue_id integer, i_consumer_id integer)
returns pgq.page
language sql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._last_page(2)
--      What is noted of a subscription in pgq.page, for who has locked it. From the end of the
--      index: the versions before are not looked at.
-- Tables: pgq.page
-- ----------------------------------------------------------------------
    select p.*
      from pgq.page p
     where p.page_queue = i_queue_id
       and p.page_consumer = i_consumer_id
     order by p.page_queue desc, p.page_consumer desc, p.page_id desc
     limit 1
$$;
comment on function pgq._last_page(integer, integer) is 'what is noted of a subscription''s pages';

create or replace function pgq._own_page(sub pgq.subscription)
returns pgq.page
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._own_page(1)
--      The row of a subscription in pgq.page, for who has locked it; a new one if it has none. Rows
--      of subscriptions that are gone, as members of a group are whose batch was taken over, go
--      then.
-- Tables: pgq.page, pgq.subscription
-- ----------------------------------------------------------------------
declare
    page    pgq.page := pgq._last_page(sub.sub_queue, sub.sub_consumer);
begin
    if page.page_id is null then
        delete from pgq.page
         where page_id in (select p.page_id
                             from pgq.page p
                            where p.page_queue = sub.sub_queue
                              and not exists (select 1
                                                from pgq.subscription s
                                               where s.sub_queue = p.page_queue
                                                 and s.sub_consumer = p.page_consumer)
                              for update skip locked);
        insert into pgq.page as p (page_queue, page_consumer, page_id, page_batch)
        values (sub.sub_queue, sub.sub_consumer, nextval('pgq.batch_id_seq'),
                coalesce(sub.sub_batch, 0))
        returning p.* into page;
        -- Who has an older snapshot, and no row in it, cannot lock the subscription now (40001).
        update pgq.subscription s
           set sub_active = now()
         where s.sub_queue = sub.sub_queue
           and s.sub_consumer = sub.sub_consumer;
    end if;
    return page;
end;
$$;
comment on function pgq._own_page(pgq.subscription) is 'the row of a subscription in pgq.page';

create or replace function pgq._forget_aside(
    sub     pgq.subscription,
    page    pgq.page,
    i_tick  bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._forget_aside(3)
--      A subscription goes on to another batch: forget what was put aside in the one before, unless
--      that is another member's of its group now.
-- Parameters:
--      sub     the subscription
--      page    its row in pgq.page
--      i_tick  the tick that its batch begins at now
-- Tables: pgq.aside, pgq.subscription
-- ----------------------------------------------------------------------
begin
    if page.page_aside > 0 and page.page_tick is distinct from i_tick then
        if sub.sub_consumer < 0 then
            -- Slots go on at the same time, and a batch of one is not that of another: what all are
            -- past.
            delete from pgq.aside a
             where a.as_queue = sub.sub_queue
               and a.as_sub = sub.sub_id
               and a.as_tick < (select min(case
                                               when s.sub_consumer = sub.sub_consumer then i_tick
                                               else s.sub_last_tick
                                           end)
                                  from pgq.subscription s
                                 where s.sub_queue = sub.sub_queue
                                   and s.sub_id = sub.sub_id
                                   and s.sub_consumer < 0);
            return;
        end if;
        delete from pgq.aside a
         where a.as_queue = sub.sub_queue
           and a.as_sub = sub.sub_id
           and a.as_tick = page.page_tick
           and not exists (select 1
                             from pgq.subscription s
                            where s.sub_queue = sub.sub_queue
                              and s.sub_id = sub.sub_id
                              and s.sub_consumer <> sub.sub_consumer
                              and s.sub_last_tick = page.page_tick);
    end if;
end;
$$;
comment on function pgq._forget_aside(pgq.subscription, pgq.page, bigint) is
    'forget what was put aside in the batch before';

create or replace function pgq._page_holder(
    in  i_id    bigint,
    out page    pgq.page,
    out sub     pgq.subscription)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._page_holder(1)
--      Lock the subscription that a page is handed out to, and the page.
-- Parameters:
--      i_id    number of the page
-- Returns: both; NULL if it is not handed out (any more)
-- Errors: 40001 under a snapshot that is older than the page's last change
-- Locks: row of the subscription, then that of the page
-- Tables: pgq.subscription, pgq.page
-- ----------------------------------------------------------------------
declare
    known   pgq.page;
    owner   pgq.subscription;
begin
    select * into known from pgq.page p where p.page_id = i_id and p.page_end is not null;
    if not found then
        return;
    end if;
    select *
      into owner
      from pgq.subscription s
     where s.sub_queue = known.page_queue
       and s.sub_consumer = known.page_consumer
       for update;
    -- Whoever had the lock may have changed it.
    select *
      into known
      from pgq.page p
     where p.page_id = i_id
       and p.page_end is not null
       and p.page_batch = owner.sub_batch
       for update;
    if found then
        page := known;
        sub := owner;
    end if;
end;
$$;
comment on function pgq._page_holder(bigint) is 'lock a page that is handed out';

create or replace function pgq._held_page(
    in  i_batch_id  bigint,
    in  i_msg_id    bigint,
    out page        pgq.page,
    out sub         pgq.subscription)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._held_page(2)
--      Lock the subscription whose page or batch it is, and see that the message is one that its
--      holder has.
-- Parameters:
--      i_batch_id  number of a page that pgq.receive(3) gave, or id of a batch of pgq.next_batch(2)
--                  of which no page is out
--      i_msg_id    the message; NULL: any
-- Returns: the page, all NULL if nothing is noted of the batch, and the subscription
-- Errors: 22004 NULL batch; 42704 no such batch, or message not in its page; 40001 as
--      pgq._page_holder(1)
-- Locks: row of the subscription, row of the page
-- Tables: pgq.subscription, pgq.page
-- ----------------------------------------------------------------------
declare
    holder  record;
    is_open boolean;
begin
    if i_batch_id is null then
        raise exception 'batch_id must not be NULL'
            using errcode = '22004',
                  hint = 'Each message has the id of its batch.';
    end if;
    select * into holder from pgq._page_holder(i_batch_id);
    page := holder.page;
    sub := holder.sub;
    is_open := sub.sub_batch is not null;
    if not is_open then
        select * into sub from pgq.subscription s where s.sub_batch = i_batch_id for update;
        is_open := found;
        page := pgq._last_page(sub.sub_queue, sub.sub_consumer);
        if (page).page_batch is distinct from i_batch_id then
            page := null;
        end if;
        -- A page of it is somebody else's now.
        is_open := is_open and (page).page_end is null;
    end if;
    if not is_open then
        raise exception 'batch % is not open', i_batch_id
            using errcode = '42704',
                  hint = 'It is acknowledged already, or somebody else has received its messages '
                         'since. Roll back what was done for them.';
    end if;
    if i_msg_id <= (page).page_begin or i_msg_id > (page).page_end then
        raise exception 'message % is not in the open page of batch %', i_msg_id, i_batch_id
            using errcode = '42704',
                  hint = case
                      when i_msg_id > (page).page_end
                          then format('The last message that pgq.receive() gave is %s.',
                                      (page).page_end)
                      else format('Messages up to %s are acknowledged.', (page).page_begin)
                  end;
    end if;
end;
$$;
comment on function pgq._held_page(bigint, bigint) is
    'lock a batch and see that a message is in its page';

create or replace function pgq._ack(i_batch_id bigint, i_msg_id bigint)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._ack(2)
--      What both forms of pgq.ack() do. But at the end of the batch that is written in pgq.page
--      alone: pgq.subscription has an index on its batch, and others look at it all the time.
-- Parameters:
--      i_batch_id  batch of the messages
--      i_msg_id    the last one that is done; NULL: the last one of the page
-- Tables: pgq.subscription, pgq.page
-- ----------------------------------------------------------------------
declare
    held    record;
    is_all  boolean;
begin
    select * into held from pgq._held_page(i_batch_id, i_msg_id);
    if (held.page).page_end is null then
        raise exception 'no messages of batch % have been received', i_batch_id
            using errcode = '55000',
                  hint = 'A batch of pgq.next_batch() is finished by pgq.finish_batch().';
    end if;

    is_all := coalesce(i_msg_id = (held.page).page_end, true);
    if is_all and (held.page).page_is_last then
        perform pgq.finish_batch((held.sub).sub_batch);
        return 1;
    end if;
    -- Without an end it is no longer handed out, and nobody finds it by its number.
    update pgq.page
       set page_begin = coalesce(i_msg_id, page_end),
           page_end = case when not is_all then page_end end
     where page_id = (held.page).page_id;
    return 1;
end;
$$;
comment on function pgq._ack(bigint, bigint) is 'what both forms of pgq.ack() do';

create or replace function pgq.ack(batch_id bigint)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.ack(1)
--      Everything that the last pgq.receive() of this batch has returned is done, except what
--      pgq.nack() has put aside. Who was overtaken is refused: the messages have been received
--      again, or acknowledged.
-- Parameters:
--      batch_id    as the messages have it
-- Returns: 1
-- Errors: 22004 NULL; 42704 no such batch (any more); 55000 it was not received; 40001 under a
--      snapshot that is older than the page's last change
-- Locks: row of the subscription, row of the page
-- Tables: pgq.subscription, pgq.page
-- ----------------------------------------------------------------------
begin
    return pgq._ack(batch_id, null);
end;
$$;
comment on function pgq.ack(bigint) is 'the messages that were received are done';

create or replace function pgq.ack(batch_id bigint, msg_id bigint)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.ack(2)
--      The messages up to this one, which is included, are done. See pgq.ack(1).
-- Parameters:
--      batch_id    as the message has it
--      msg_id      the message
-- Returns: 1
-- Errors: as pgq.ack(1); 42704 the message is not in the page, or acknowledged already
-- Locks, Tables: as pgq.ack(1)
-- ----------------------------------------------------------------------
begin
    if msg_id is null then
        raise exception 'msg_id must not be NULL'
            using errcode = '22004',
                  hint = 'pgq.ack(batch_id) acknowledges all messages that were received.';
    end if;
    return pgq._ack(batch_id, msg_id);
end;
$$;
comment on function pgq.ack(bigint, bigint) is 'messages up to this one are done';
