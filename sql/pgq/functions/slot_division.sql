-- Who has which slots. A worker has its slots as long as its lease lasts: until then nobody else
-- takes them. There is no coordinator: each worker, when it receives, sees how many workers there
-- are, gives up what it has too much, unless it is at work on it, and takes what is free up to its
-- part. Rows that are locked are passed by, so nobody waits for anybody here.

create or replace function pgq._slot_lease(
    i_queue_id      integer,
    i_consumer_id   integer,
    i_worker        text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._slot_lease(3)
--      Renew the lease of a worker, if a third of it is over, or begin it. Who comes anew sweeps
--      those out whose lease is over. Whose slots were taken over meanwhile is last in line again.
-- Parameters:
--      i_queue_id, i_consumer_id   the consumer
--      i_worker                    the worker
-- Locks: row of the worker, when it is written
-- Tables: pgq.slot_worker, pgq.queue_option, pgq.slot
-- ----------------------------------------------------------------------
declare
    present timestamptz := clock_timestamp();
    lease   interval := (pgq._queue_option(i_queue_id)).opt_slot_lease;
    ends    timestamptz;
begin
    select w.worker_until
      into ends
      from pgq.slot_worker w
     where w.worker_queue = i_queue_id
       and w.worker_consumer = i_consumer_id
       and w.worker_name = i_worker;
    if not found then
        delete from pgq.slot_worker w
         where (w.worker_queue, w.worker_consumer, w.worker_name) in (
                   select o.worker_queue, o.worker_consumer, o.worker_name
                     from pgq.slot_worker o
                    where o.worker_queue = i_queue_id
                      and o.worker_consumer = i_consumer_id
                      and o.worker_until < present
                      for update skip locked);
        insert into pgq.slot_worker
        values (i_queue_id, i_consumer_id, i_worker, present, present + lease)
            on conflict do nothing;
    elsif ends < present + lease * 2 / 3 then
        -- Another session of the worker may be doing so.
        perform 1
           from pgq.slot_worker w
          where w.worker_queue = i_queue_id
            and w.worker_consumer = i_consumer_id
            and w.worker_name = i_worker
            for update skip locked;
        if found then
            update pgq.slot_worker
               set worker_since = case
                       when worker_until < present
                            and not exists (select 1
                                              from pgq.slot s
                                             where s.slot_queue = i_queue_id
                                               and s.slot_consumer = i_consumer_id
                                               and s.slot_worker = i_worker)
                           then present
                       else worker_since
                   end,
                   worker_until = present + lease
             where worker_queue = i_queue_id
               and worker_consumer = i_consumer_id
               and worker_name = i_worker;
        end if;
    end if;
end;
$$;
comment on function pgq._slot_lease(integer, integer, text) is 'renew the lease of a worker';

create or replace function pgq._slot_is_free(slot pgq.slot, i_worker text)
returns boolean
language sql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._slot_is_free(2)
--      True if a worker may take a slot: nobody has it whose lease lasts, nor the worker itself.
-- Tables: pgq.slot_worker
-- ----------------------------------------------------------------------
    select slot.slot_worker is null
           or (slot.slot_worker <> i_worker
               and not exists (select 1
                                 from pgq.slot_worker w
                                where w.worker_queue = slot.slot_queue
                                  and w.worker_consumer = slot.slot_consumer
                                  and w.worker_name = slot.slot_worker
                                  and w.worker_until > clock_timestamp()))
$$;
comment on function pgq._slot_is_free(pgq.slot, text) is 'true if a worker may take a slot';

create or replace function pgq._slot_is_out(slot pgq.slot)
returns boolean
language sql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._slot_is_out(1)
--      True if messages of a slot have been received and are not acknowledged.
-- Tables: pgq.subscription, pgq.page
-- ----------------------------------------------------------------------
    select exists (select 1
                     from pgq.subscription m,
                          pgq._last_page(slot.slot_queue, slot.slot_member) p
                    where m.sub_queue = slot.slot_queue
                      and m.sub_consumer = slot.slot_member
                      and m.sub_batch = p.page_batch
                      and p.page_end is not null)
$$;
comment on function pgq._slot_is_out(pgq.slot) is
    'true if messages of a slot have been received and are not acknowledged';

create or replace function pgq._slot_divide(
    i_queue_id      integer,
    i_consumer_id   integer,
    i_worker        text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._slot_divide(3)
--      Renew the lease of a worker, and have it have its part of the slots: as many as each other
--      one, and one more if it is among those that were there first. What is locked is looked at
--      again by a new statement, which sees what others did before.
-- Parameters:
--      i_queue_id, i_consumer_id   the consumer
--      i_worker                    the worker
-- Locks: rows of the worker, and of slots that it takes or gives up
-- Tables: pgq.slot, pgq.slot_worker, pgq.subscription, pgq.page
-- ----------------------------------------------------------------------
declare
    has     integer;
    due     integer;
    places  integer[];
begin
    perform pgq._slot_lease(i_queue_id, i_consumer_id, i_worker);
    select s.has, coalesce(s.count / w.count + (w.place <= s.count % w.count)::integer, 0)
      into has, due
      from (select count(*)::integer as count,
                   count(*) filter (where l.slot_worker = i_worker)::integer as has
              from pgq.slot l
             where l.slot_queue = i_queue_id
               and l.slot_consumer = i_consumer_id) s
      left join (
              select o.worker_name, (count(*) over ())::integer as count,
                     row_number() over (order by o.worker_since, o.worker_name) as place
                from pgq.slot_worker o
               where o.worker_queue = i_queue_id
                 and o.worker_consumer = i_consumer_id
                 and (o.worker_until > clock_timestamp() or o.worker_name = i_worker)) w
        on w.worker_name = i_worker;

    if has > due then
        places := array(select s.slot_number
                          from pgq.slot s
                         where s.slot_queue = i_queue_id
                           and s.slot_consumer = i_consumer_id
                           and s.slot_worker = i_worker
                           and not pgq._slot_is_out(s)
                         order by s.slot_number desc
                         limit has - due
                           for update skip locked);
        -- Another session of the worker may have received before the lock.
        update pgq.slot s
           set slot_worker = null
         where s.slot_queue = i_queue_id
           and s.slot_consumer = i_consumer_id
           and s.slot_number = any (places)
           and not pgq._slot_is_out(s);
    elsif has < due then
        places := array(select s.slot_number
                          from pgq.slot s
                         where s.slot_queue = i_queue_id
                           and s.slot_consumer = i_consumer_id
                           and pgq._slot_is_free(s, i_worker)
                         order by s.slot_number
                         limit due - has
                           for update skip locked);
        update pgq.slot s
           set slot_worker = i_worker
         where s.slot_queue = i_queue_id
           and s.slot_consumer = i_consumer_id
           and s.slot_number = any (places)
           and pgq._slot_is_free(s, i_worker);
    end if;
end;
$$;
comment on function pgq._slot_divide(integer, integer, text) is
    'have a worker have its part of the slots';
