create or replace function pgq.cancel(queue text, msg_id bigint)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.cancel(2)
--      Cancel a message that was sent with deliver_at and is not delivered yet. Its unique key is
--      free again. Waits for somebody else who is cancelling it.
-- Parameters:
--      queue       name of the queue
--      msg_id      what pgq.send(8) returned
-- Returns: true cancelled; false: it is an event of the queue already, is cancelled, or was never
--      sent so
-- Errors: 22004 NULL argument; 42704 no such queue; 25001 in repeatable read or serializable, where
--      what was delivered since is not seen
-- Locks: the row of the message, until the transaction ends: nobody else waits for it, and it is
--      delivered all the same after a rollback
-- Tables: pgq.queue, pgq.delayed, pgq.delayed_state, pgq.delayed_left, pgq.unique_key
-- ----------------------------------------------------------------------
declare
    id      integer;
    state   pgq.delayed_state;
    message pgq.delayed;
    is_there boolean;
begin
    if queue is null or msg_id is null then
        raise exception '% must not be NULL', case when queue is null then 'queue' else 'msg_id' end
            using errcode = '22004',
                  hint = 'Name the queue and the message, as pgq.send() returned it.';
    end if;
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        raise exception 'pgq.cancel must be called in a READ COMMITTED transaction'
            using errcode = '25001',
                  hint = 'begin isolation level read committed; select pgq.cancel(...); commit;';
    end if;
    id := pgq._queue_id(queue);
    loop
        -- Nothing is delivered meanwhile.
        perform pgq._lock('delayed', 0);
        state := pgq._delayed_state();
        select *
          into message
          from pgq.delayed d
         where d.dl_queue = id
           and d.dl_id = msg_id
           and (pgq._undelivered(d.dl_due, d.dl_queue, d.dl_id, d.dl_txid, state)
                or exists (select 1
                             from pgq.delayed_left l
                            where l.df_queue = id
                              and l.df_id = msg_id))
           for update of d skip locked;
        if found then
            delete from pgq.delayed d where d.dl_queue = id and d.dl_id = msg_id;
            delete from pgq.unique_key u
             where u.uk_hash = message.dl_unique
               and u.uk_id = msg_id;
            perform pgq._unlock('delayed', 0);
            return true;
        end if;
        is_there := exists (
            select 1
              from pgq.delayed d
             where d.dl_queue = id
               and d.dl_id = msg_id
               and (pgq._undelivered(d.dl_due, d.dl_queue, d.dl_id, d.dl_txid, state)
                    or exists (select 1
                                 from pgq.delayed_left l
                                where l.df_queue = id
                                  and l.df_id = msg_id)));
        perform pgq._unlock('delayed', 0);
        if not is_there then
            return false;
        end if;
        -- Somebody else cancels it; without the lock, which all deliveries need.
        perform 1 from pgq.delayed d where d.dl_queue = id and d.dl_id = msg_id for update;
    end loop;
end;
$$;
comment on function pgq.cancel(text, bigint) is 'cancel a message that is not delivered yet';
