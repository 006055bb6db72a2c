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
--      Lock the subscription whose batch it is, and see that the message is one that the holder of
--      the batch has.
-- Parameters:
--      i_batch_id  batch of the message
--      i_msg_id    the message; NULL: any
-- Returns: the page, all NULL if the batch was not handed out by pgq.receive(3), and the
--      subscription
-- Errors: 22004 NULL batch; 42704 no such batch, or message not in its page
-- Locks: row of the subscription
-- Tables: pgq.subscription, pgq.page
-- ----------------------------------------------------------------------
begin
    if i_batch_id is null then
        raise exception 'batch_id must not be NULL'
            using errcode = '22004',
                  hint = 'Each message has the id of its batch.';
    end if;
    select * into sub from pgq.subscription s where s.sub_batch = i_batch_id for update;
    if not found then
        raise exception 'batch % is not open', i_batch_id
            using errcode = '42704',
                  hint = 'It is acknowledged already, or somebody else has received its messages '
                         'since. Roll back what was done for them.';
    end if;
    select *
      into page
      from pgq.page p
     where p.page_queue = sub.sub_queue
       and p.page_consumer = sub.sub_consumer
       and p.page_batch = i_batch_id;
    if i_msg_id <= page.page_begin or i_msg_id > page.page_end then
        raise exception 'message % is not in the open page of batch %', i_msg_id, i_batch_id
            using errcode = '42704',
                  hint = case
                      when i_msg_id > page.page_end
                          then format('The last message that pgq.receive() gave is %s.',
                                      page.page_end)
                      else format('Messages up to %s are acknowledged.', page.page_begin)
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
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._ack(2)
--      What both forms of pgq.ack() do.
-- Parameters:
--      i_batch_id  batch of the messages
--      i_msg_id    the last one that is done; NULL: the last one of the page
-- ----------------------------------------------------------------------
declare
    held    record;
    batch   bigint;
begin
    select * into held from pgq._held_page(i_batch_id, i_msg_id);
    if (held.page).page_end is null then
        raise exception 'no messages of batch % have been received', i_batch_id
            using errcode = '55000',
                  hint = 'A batch of pgq.next_batch() is finished by pgq.finish_batch().';
    end if;

    if i_msg_id < (held.page).page_end then
        update pgq.page
           set page_begin = i_msg_id,
               page_aside = array(select id from unnest(page_aside) id where id > i_msg_id)
         where page_queue = (held.page).page_queue
           and page_consumer = (held.page).page_consumer;
    elsif (held.page).page_is_last then
        perform pgq.finish_batch(i_batch_id);
    else
        -- The rest goes on under another id, so that nobody acknowledges it by mistake who has
        -- seen this page only.
        batch := nextval('pgq.batch_id_seq');
        update pgq.subscription
           set sub_batch = batch
         where sub_queue = (held.sub).sub_queue
           and sub_consumer = (held.sub).sub_consumer;
        update pgq.page
           set page_batch = batch,
               page_begin = page_end,
               page_end = null,
               -- In a batch of pgq.next_batch() messages are put aside before their page is given.
               page_aside = array(select id from unnest(page_aside) id where id > page_end)
         where page_queue = (held.page).page_queue
           and page_consumer = (held.page).page_consumer;
    end if;
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
-- Errors: 22004 NULL; 42704 no such batch (any more); 55000 it was not received
-- Locks: row of the subscription
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
