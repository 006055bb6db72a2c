-- Dead letters: events that a consumer has given up, in a queue of their own (see docs/client.md).
-- A queue is a dead-letter queue when the consumer "dead_letters" is registered on it; what was
-- committed after its position is a letter.

create or replace function pgq._dead_letters(
    in  i_limit     integer,
    out queue_name  text,
    out letters     bigint,
    out oldest      timestamptz)
returns setof record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._dead_letters(1)
--      Dead-letter queues, and how many letters each has. Counted by the index on ev_txid, from the
--      holder's position on.
-- Parameters:
--      i_limit     count no further
-- Returns: a row for each of these queues, but for one whose tables are damaged, which other
--      findings name
-- Locks: access share on the event tables of these queues
-- Tables: pgq.consumer, pgq.subscription, pgq.queue, pgq.tick, event tables of these queues
-- ----------------------------------------------------------------------
declare
    queue   record;
    statement   text;
begin
    for queue in
        select q.queue_name as name, q.queue_data_pfx, q.queue_ntables, t.tick_snapshot
          from pgq.consumer c
          join pgq.subscription s on s.sub_consumer = c.co_id
          join pgq.queue q on q.queue_id = s.sub_queue
          join pgq.tick t on t.tick_queue = s.sub_queue and t.tick_id = s.sub_last_tick
         where c.co_name = 'dead_letters'
         order by q.queue_name
    loop
        begin
            -- What belongs to another subscriber of the queue, and comes to it again, is no letter.
            select string_agg(format('select ev_time from %s where ev_owner is null and ev_txid %s',
                                     t.name, r.condition), ' union all ')
              into statement
              from (select pgq._event_table(queue.queue_data_pfx || '_' || n) as name
                      from generate_series(0, queue.queue_ntables - 1) n) t,
                   (values ('>= $1'), ('= any ($2)')) r (condition);
            execute format('select count(*), min(l.ev_time) from (%s limit %s) l', statement,
                           i_limit)
               into letters, oldest
              using txid_snapshot_xmax(queue.tick_snapshot),
              array(select txid_snapshot_xip(queue.tick_snapshot));
            queue_name := queue.name;
            return next;
        exception
            when data_corrupted or undefined_table or undefined_column then
                null;
        end;
    end loop;
end;
$$;
comment on function pgq._dead_letters(integer) is
    'dead-letter queues, and how many letters each has';

create or replace function pgq._health_dead_letters(
    out queue_name  text,
    out severity    text,
    out code        text,
    out finding     text,
    out since       timestamptz,
    out remedy      text)
returns setof record
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._health_dead_letters(0)
--      Findings about events that were given up and wait for somebody to decide about them.
-- ----------------------------------------------------------------------
    select d.queue_name, 'info', 'dead_letters',
           case
               when d.letters = 1 then '1 dead letter waits'
               when d.letters < 10000 then format('%s dead letters wait', d.letters)
               else '10000 dead letters or more wait'
           end || ' for a decision, the oldest for ' || date_trunc('second', now() - d.oldest),
           d.oldest,
           format('See them with "pgq dead list %s"; "pgq dead replay" gives them to their '
                  'consumer again.', d.queue_name)
      from pgq._dead_letters(10000) d
     where d.letters > 0
     union all
    select l.name, 'info', 'dead_letters',
           case when l.letters = 1 then '1 dead letter of' else l.letters || ' dead letters of' end
               || ' consumer "' || l.consumer || '" in pgq.dead_letter, the oldest for '
               || date_trunc('second', now() - l.oldest),
           l.oldest,
           format('select * from pgq.dead_letters(%L, %L) shows them; pgq.dead_replay(%1$L, %2$L) '
                  'gives them to the consumer again.', l.name, l.consumer)
      from (select q.queue_name, c.co_name, count(*), min(d.dl_first_failed)
              from pgq.dead_letter d
              join pgq.queue q on q.queue_id = d.dl_queue
              join pgq.consumer c on c.co_id = d.dl_consumer
             group by q.queue_name, c.co_name) l (name, consumer, letters, oldest)
$$;
comment on function pgq._health_dead_letters() is 'findings about dead letters';
