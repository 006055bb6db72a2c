-- A queue, its consumers, a captured table, and where what they read is kept.
create extension pgq;
create extension pgq_coop;
create extension pgq_ext;
create extension pgq_node;

create table read_before (consumer text, data text);
create table expected (consumer text, data text);
create table open_before (consumer text, batch_id bigint, events text);
create table captured (id int primary key);

select pgq.create_queue(q) from unnest(array['q', 'changes', 'dropped']) q;
-- Ticks come when this says, so that batches are what this says.
select pgq.set_queue_config('q', key, value) from (values ('ticker_max_count', '1000000'),
    ('ticker_max_lag', '1 day'), ('ticker_idle_period', '1 day')) v (key, value);
select pgq.register_consumer('q', c) from unnest(array['open', 'behind', 'current', 'retrying']) c;
select pgq.register_consumer('changes', 'capturer');
select pgq_coop.register_subconsumer('q', 'group', m) from unnest(array['m1', 'm2']) m;
create trigger capture after insert on captured
    for each row execute function pgq.logutriga('changes');
select pgq.drop_queue('dropped');

-- Read batches to the end, or so many, and keep what was in them.
create function read(x_consumer text, x_batches int, x_into regclass) returns void
language plpgsql as $$
declare
    batch bigint;
begin
    for i in 1 .. x_batches loop
        if x_consumer = 'group' then
            batch := pgq_coop.next_batch('q', 'group', 'm1');
        else
            batch := pgq.next_batch('q', x_consumer);
        end if;
        exit when batch is null;
        execute format('insert into %s select %L, ev_data from pgq.get_batch_events(%s)',
            x_into, x_consumer, batch);
        if x_consumer = 'group' then
            perform pgq_coop.finish_batch(batch);
        else
            perform pgq.finish_batch(batch);
        end if;
    end loop;
end $$;
-- Events of a batch, to be compared.
create function events(x_batch bigint) returns text language sql as $$
    select string_agg(ev_id || ' ' || ev_txid || ' ' || ev_data, ',' order by ev_id)
      from pgq.get_batch_events(x_batch) $$;
