create or replace function pgq._deliver_left()
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._deliver_left(0)
--      Deliver delayed events that could not be when they were due, and can be now. A queue that
--      still takes none is asked again after a second, and does not stop the others.
-- Returns: number of events
-- Tables: pgq.delayed_left, pgq.delayed, pgq.queue, event tables
-- ----------------------------------------------------------------------
declare
    present timestamptz := clock_timestamp();
    queue   record;
    waiting pgq.delayed_left;
    message pgq.delayed;
    total   integer := 0;
    moved   integer;
begin
    for queue in
        select l.df_queue as id, q.queue_name as name,
               case
                   when q.queue_disable_insert
                        and current_setting('session_replication_role') <> 'replica'
                       then 0
                   when q.queue_per_tx_limit between 0 and 999 then q.queue_per_tx_limit
                   else 1000
               end as most
          from (select distinct df_queue
                  from pgq.delayed_left
                 where df_again <= present) l
          left join pgq.queue q on q.queue_id = l.df_queue
         order by l.df_queue
    loop
        begin
            moved := 0;
            for waiting in
                select *
                  from pgq.delayed_left l
                 where l.df_queue = queue.id
                   and l.df_again <= present
                 order by l.df_due, l.df_id
                 limit queue.most
            loop
                select *
                  into message
                  from pgq.delayed d
                 where d.dl_queue = waiting.df_queue
                   and d.dl_id = waiting.df_id
                   for update skip locked;
                if found then
                    perform pgq._deliver_one(message);
                    moved := moved + 1;
                elsif exists (select 1
                                from pgq.delayed d
                               where d.dl_queue = waiting.df_queue
                                 and d.dl_id = waiting.df_id) then
                    -- Somebody is cancelling it.
                    update pgq.delayed_left l
                       set df_again = present + interval '100 ms'
                     where l.df_queue = waiting.df_queue
                       and l.df_id = waiting.df_id;
                    continue;
                end if;
                delete from pgq.delayed_left l
                 where l.df_queue = waiting.df_queue
                   and l.df_id = waiting.df_id;
            end loop;
            total := total + moved;
        exception
            when others then
                queue.most := 0;
                raise warning 'maint_delayed: queue "%": %', queue.name, sqlerrm
                    using hint = 'Its delayed events wait, those of other queues do not.';
        end;
        if queue.most = 0 then
            update pgq.delayed_left l
               set df_again = present + interval '1 second'
             where l.df_queue = queue.id
               and l.df_again <= present;
        end if;
    end loop;
    return total;
end;
$$;
comment on function pgq._deliver_left() is
    'deliver delayed events that could not be when they were due';
