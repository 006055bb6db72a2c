create or replace function pgq.drop_queue(x_queue_name text, x_force bool)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.drop_queue(2)
--      Drop a queue with its events, ticks, tables and sequences. Dead letters that went to it go
--      to pgq.dead_letter from now on.
-- Parameters:
--      x_queue_name    name of the queue
--      x_force         true: unregister its consumers first, and drop their dead letters, whose
--                      numbers notices say; false or NULL: refuse while there are any
-- Returns: 1
-- Errors: 42704 no such queue; 55000 there are consumers, delayed events or schedules; 2BP01
--      other objects depend on an event table; XX001 the row names something that is no part of a
--      queue
-- Locks: the queue's ticker lock, its rotation lock, then its row; access exclusive on the event
--      tables
-- Tables: pgq.queue, pgq.tick, pgq.subscription, pgq.consumer, pgq.retry_queue, pgq.dead_letter,
--      pgq.page, pgq.aside, pgq.queue_option, pgq.delayed, pgq.schedule
-- ----------------------------------------------------------------------
declare
    queue       pgq.queue;
    id          integer;
    names       text;
    consumer    text;
    relation    regclass;
    waiting     bigint;
begin
    select q.queue_id into id from pgq.queue q where q.queue_name = x_queue_name;
    if found then
        perform pgq._lock('ticks', id);
        -- Nobody registers meanwhile. With that the row needs no stronger lock, and foreign keys
        -- can look at it.
        perform pgq._lock('rotation', id);
    end if;
    select * into queue from pgq.queue q where q.queue_name = x_queue_name for no key update;
    if not found then
        raise exception 'No such event queue'
            using errcode = '42704',
                  hint = pgq._no_queue_hint(x_queue_name);
    end if;

    if x_force then
        for consumer in
            select c.co_name
              from pgq.subscription s
              join pgq.consumer c on c.co_id = s.sub_consumer
             where s.sub_queue = queue.queue_id
               and c.co_id > 0 -- slots go with their consumers
        loop
            perform pgq._unregister_consumer(x_queue_name, consumer, true);
        end loop;
        -- Of consumers that somebody has removed by hand.
        delete from pgq.dead_letter d where d.dl_queue = queue.queue_id;
    else
        select string_agg(format('"%s"', c.co_name), ', ' order by c.co_name)
          into consumer
          from pgq.subscription s
          join pgq.consumer c on c.co_id = s.sub_consumer
         where s.sub_queue = queue.queue_id
           and c.co_id > 0;
        if consumer is not null then
            raise exception 'cannot drop queue, consumers still attached'
                using errcode = '55000',
                      detail = format('Consumers of queue "%s": %s.', x_queue_name, consumer),
                      hint = format('Unregister them with pgq.unregister_consumer(), or have '
                                    'pgq.drop_queue(%L, true) do so.'
                                    ' What they have not read is lost.', x_queue_name);
        end if;
    end if;

    -- They go when they are due, or with their bucket.
    select count(*)
      into waiting
      from pgq.delayed d
     where d.dl_queue = queue.queue_id
       and (pgq._undelivered(d.dl_due, d.dl_queue, d.dl_id, d.dl_txid, pgq._delayed_state())
            or exists (select 1
                         from pgq.delayed_left l
                        where l.df_queue = d.dl_queue
                          and l.df_id = d.dl_id));
    if waiting > 0 and not coalesce(x_force, false) then
        raise exception 'queue "%" has delayed events: %', x_queue_name, waiting
            using errcode = '55000',
                  hint = format('To drop them with it: select pgq.drop_queue(%L, true).',
                                x_queue_name);
    elsif waiting > 0 then
        raise notice '% delayed events of queue "%" are dropped', waiting, x_queue_name;
    end if;

    select string_agg(format('"%s"', s.sc_name), ', ' order by s.sc_name)
      into names
      from pgq.schedule s
     where s.sc_queue = queue.queue_id;
    if names is not null and not coalesce(x_force, false) then
        raise exception 'queue "%" has schedules: %', x_queue_name, names
            using errcode = '55000',
                  hint = format('Remove them with pgq.unschedule(); to drop them with it: select '
                                'pgq.drop_queue(%L, true).', x_queue_name);
    elsif names is not null then
        raise notice 'schedules of queue "%" are dropped: %', x_queue_name, names;
        delete from pgq.schedule s where s.sc_queue = queue.queue_id;
    end if;

    -- Rows before tables, as maintenance has them that puts events back.
    delete from pgq.retry_queue r where r.ev_queue = queue.queue_id;
    delete from pgq.aside a where a.as_queue = queue.queue_id;
    delete from pgq.page p where p.page_queue = queue.queue_id;
    -- The children first. What is gone already is left out.
    for relation in
        select pgq._event_table(queue.queue_data_pfx || n.suffix)
          from (select 0 as place, '_' || i as suffix
                  from generate_series(0, queue.queue_ntables - 1) i
                 union all
                select 1, '') n
         where to_regclass(pgq.quote_fqname(queue.queue_data_pfx || n.suffix)) is not null
         order by n.place
    loop
        execute format('drop table %s', relation);
    end loop;
    delete from pgq.tick t where t.tick_queue = queue.queue_id;
    for relation in
        select pgq._own_sequence(queue.queue_id, s.name)
          from unnest(array[queue.queue_tick_seq, queue.queue_event_seq]) s (name)
         where to_regclass(pgq.quote_fqname(s.name)) is not null
    loop
        execute format('drop sequence %s', relation);
    end loop;
    delete from pgq.queue_option o where o.opt_queue = queue.queue_id;
    update pgq.queue_option o
       set opt_dead_letter_queue = null
     where o.opt_dead_letter_queue = x_queue_name;
    delete from pgq.queue q where q.queue_id = queue.queue_id;

    return 1;
end;
$$;
comment on function pgq.drop_queue(text, bool) is 'drop a queue; true: even if it has consumers';

create or replace function pgq.drop_queue(x_queue_name text)
returns integer
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.drop_queue(1)
--      Drop a queue that has no consumers. See pgq.drop_queue(2).
-- Parameters:
--      x_queue_name    name of the queue
-- Returns: 1
-- Errors: 42704 no such queue; 55000 there are consumers
-- ----------------------------------------------------------------------
begin
    return pgq.drop_queue(x_queue_name, false);
end;
$$;
comment on function pgq.drop_queue(text) is 'drop a queue that has no consumers';
