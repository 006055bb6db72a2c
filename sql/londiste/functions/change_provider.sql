-- A node reads from another node than before. Each step is a transaction and can be run again.

create or replace function londiste._provider_at(
    i_queue_name    text,
    i_node_name     text,
    i_provider      text,
    i_location      text,
    i_worker        text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._provider_at(5)
--      Look whether a node can be the provider of another one.
-- Parameters:
--      i_queue_name    queue
--      i_node_name     who is to read
--      i_provider      from whom
--      i_location      how to connect to that one
--      i_worker        the worker of who is to read
-- Errors: 55000 it is another node, a leaf, reads from the node itself, or has a consumer of that
--      name; those of _node_at
-- ----------------------------------------------------------------------
declare
    above   json := londiste._node_at(i_location, i_queue_name);
    seen    text[] := '{}';
    holder  text;
begin
    if above ->> 'node_name' <> i_provider then
        raise exception 'the location of node "%" leads to node "%"', i_provider,
                        above ->> 'node_name'
            using errcode = '55000',
                  hint = 'Correct it: pgq_node.register_location().';
    end if;
    if above ->> 'node_type' = 'leaf' then
        raise exception 'node "%" is a leaf', i_provider
            using errcode = '55000',
                  hint = 'Nobody can read from it. Choose the root or a branch.';
    end if;
    while above ->> 'node_type' <> 'root' loop
        seen := seen || (above ->> 'node_name');
        above := londiste._node_at(above ->> 'provider_location', i_queue_name);
        if above ->> 'node_name' = any (seen || i_node_name) then
            raise exception 'node "%" reads from node "%" itself, or in a circle', i_provider,
                            i_node_name
                using errcode = '55000',
                      hint = 'Choose a node that is nearer to the root.';
        end if;
    end loop;
    -- Two consumers of one name would be one.
    holder := londiste._ask(i_location,
                            'select coalesce(pg_catalog.max(coalesce(s.node_name, '''')), $3)
                               from pgq.get_consumer_info($1, $2) c
                               left join pgq_node.get_subscriber_info($1) s
                                 on s.worker_name operator(pg_catalog.=) c.consumer_name
                              where c.consumer_name is not null',
                            i_queue_name, i_worker, i_node_name);
    if holder <> i_node_name then
        raise exception 'node "%" has a consumer "%" that is not node "%"', i_provider, i_worker,
                        i_node_name
            using errcode = '55000',
                  hint = 'Workers of a set need names of their own.';
    end if;
end;
$$;
comment on function londiste._provider_at(text, text, text, text, text) is
    'look whether a node can be the provider of another one';

create or replace function londiste._subscribe_at(
    i_queue_name    text,
    i_node_name     text,
    i_location      text,
    i_worker        text,
    i_tick          bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._subscribe_at(5)
--      Have a provider know this node as a subscriber at its tick. What an earlier attempt has left
--      at another tick is replaced.
-- Parameters:
--      i_queue_name    queue
--      i_node_name     this node
--      i_location      how to connect to the provider
--      i_worker        this node's worker
--      i_tick          what the node has
-- Errors: 55000 the provider refuses; those of _ask
-- ----------------------------------------------------------------------
declare
    own     text;
    place   text;
    answer  json;
begin
    select l.node_location
      into strict own
      from pgq_node.node_location l
     where l.queue_name = i_queue_name
       and l.node_name = i_node_name;
    answer := londiste._ask(i_location,
                            'select pg_catalog.row_to_json(r)::pg_catalog.text
                               from pgq_node.register_location($1, $2, $3, false) r',
                            i_queue_name, i_node_name, own);
    if (answer ->> 'ret_code')::int4 < 400 then
        place := londiste._ask(i_location,
                               'select pg_catalog.max(c.last_tick)::pg_catalog.text
                                  from pgq.get_consumer_info($1, $2) c',
                               i_queue_name, i_worker);
        if place = i_tick::text then
            return;
        end if;
        if place is not null then
            perform londiste._ask(i_location,
                                  'select pg_catalog.row_to_json(r)::pg_catalog.text
                                     from pgq_node.unregister_subscriber($1, $2) r',
                                  i_queue_name, i_node_name);
        end if;
        answer := londiste._ask(i_location,
                                'select pg_catalog.row_to_json(r)::pg_catalog.text
                                   from pgq_node.register_subscriber($1, $2, $3,
                                            $4::pg_catalog.int8) r',
                                i_queue_name, i_node_name, i_worker, i_tick::text);
    end if;
    if (answer ->> 'ret_code')::int4 >= 300 then
        raise exception 'the provider refuses node "%": %', i_node_name, answer ->> 'ret_note'
            using errcode = '55000',
                  hint = 'Look at pgq_node.get_node_info() and pgq_node.subscriber_info there.';
    end if;
end;
$$;
comment on function londiste._subscribe_at(text, text, text, text, bigint) is
    'have a provider know this node as a subscriber';

create or replace function londiste._end_provider_change(
    i_queue_name    text,
    i_worker        text,
    i_other         text,
    i_node_name     text,
    i_was_paused    boolean)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._end_provider_change(5)
--      The end of a change, or of one that was given up: the other provider forgets the node, and
--      its worker goes on. A provider that cannot be asked is a warning: it keeps events for the
--      node.
-- Parameters:
--      i_queue_name    queue
--      i_worker        the node's worker
--      i_other         from whom the node does not read
--      i_node_name     this node
--      i_was_paused    leave the worker at rest
-- Locks, Tables: as pgq_node.set_consumer_paused; londiste.provider_change
-- ----------------------------------------------------------------------
declare
    location    text;
begin
    select l.node_location
      into location
      from pgq_node.node_location l
     where l.queue_name = i_queue_name
       and l.node_name = i_other
       and not l.dead;
    if found then
        begin
            perform londiste._ask(location,
                                  'select pg_catalog.row_to_json(r)::pg_catalog.text
                                     from pgq_node.unregister_subscriber($1, $2) r',
                                  i_queue_name, i_node_name);
        exception when others then
            -- Not a cancel, which is no "other".
            raise warning 'node "%" is not told to forget node "%": %', i_other, i_node_name,
                          sqlerrm
                using hint = 'pgq_node.unregister_subscriber() there, else it keeps events.';
        end;
    end if;
    if not i_was_paused then
        perform pgq_node.set_consumer_paused(i_queue_name, i_worker, false);
    end if;
    delete from londiste.provider_change p where p.queue_name = i_queue_name;
end;
$$;
comment on function londiste._end_provider_change(text, text, text, text, boolean) is
    'the end of a change of the provider';

create or replace function londiste._change_provider(i_queue_name text, i_provider text)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._change_provider(2)
--      The next step of a change, which is seen by what is done.
-- Parameters:
--      i_queue_name    queue
--      i_provider      node
-- Returns: for what is waited, empty for nothing; null when nothing is left to do
-- Errors: as change_provider
-- Locks: the lock of takeovers of the set, until the end of the transaction
-- Tables: londiste.provider_change, worker; pgq_node.node_info, node_location, local_state
-- ----------------------------------------------------------------------
declare
    node        record;
    change      londiste.provider_change;
    location    text;
    is_dead     boolean;
    top         bigint;
begin
    if i_queue_name is null or i_provider is null then
        raise exception 'queue and provider must not be null'
            using errcode = '22004';
    end if;
    if not pg_try_advisory_xact_lock(
        hashtextextended('pgq londiste takeover ' || i_queue_name, 0))
    then
        raise exception 'the node changes its place in the set already'
            using errcode = '55000',
                  hint = 'Wait until the takeover or change of provider has ended.';
    end if;
    select i.* into node from pgq_node.get_node_info(i_queue_name) i;
    if node.node_name is null then
        raise exception 'this database is no node of queue "%"', i_queue_name
            using errcode = '42704',
                  hint = 'Look at londiste.status().';
    end if;
    select p.* into change from londiste.provider_change p where p.queue_name = i_queue_name;
    if node.provider_node = i_provider then
        if change.queue_name is not null then
            perform londiste._end_provider_change(
                i_queue_name, node.worker_name,
                case change.new_provider
                    when i_provider then change.former_provider
                    else change.new_provider
                end,
                node.node_name, change.was_paused);
        end if;
        return null;
    end if;
    if node.node_type = 'root' or node.node_name = i_provider then
        raise exception 'node "%" cannot read from node "%"', node.node_name, i_provider
            using errcode = '55000',
                  hint = 'The root reads from nobody, and nobody from himself.';
    end if;
    if change.new_provider <> i_provider then
        raise exception 'node "%" is half way to node "%"', node.node_name, change.new_provider
            using errcode = '55000',
                  hint = format('Call it with that node to go on, or with "%s" to stay there.',
                                node.provider_node);
    end if;
    select l.node_location, l.dead
      into location, is_dead
      from pgq_node.node_location l
     where l.queue_name = i_queue_name
       and l.node_name = i_provider;
    if not found or is_dead then
        raise exception 'queue "%" has no live node "%"', i_queue_name, i_provider
            using errcode = case when is_dead then '55000' else '42704' end,
                  hint = 'Look at pgq_node.node_location.';
    end if;
    if exists (select 1 from londiste.worker w where w.queue_name = i_queue_name)
       and not exists (
               select 1
                 from pg_foreign_server s
                 join pg_foreign_data_wrapper w on w.oid = s.srvfdw
                where s.srvname = i_provider
                  and w.fdwname = 'londiste_fdw')
    then
        raise exception 'there is no foreign server for node "%"', i_provider
            using errcode = '55000',
                  hint = 'The worker inside the server connects by one: CREATE SERVER ... FOREIGN '
                         'DATA WRAPPER londiste_fdw.';
    end if;

    if change.queue_name is null then
        perform londiste._provider_at(i_queue_name, node.node_name, i_provider, location,
                                      node.worker_name);
    elsif not node.worker_paused or not node.worker_uptodate then
        -- Whoever had it go on meanwhile may not know of this.
        perform pgq_node.set_consumer_paused(i_queue_name, node.worker_name, true);
        return format('worker "%s" to rest: does it run?', node.worker_name);
    end if;
    top := londiste._ask(location,
                         'select coalesce(pg_catalog.max(q.last_tick_id), 0)::pg_catalog.text
                            from pgq.get_queue_info($1) q',
                         i_queue_name);
    if top < node.worker_last_tick then
        return format('node "%s" to have tick %s: does its worker run?', i_provider,
                      node.worker_last_tick);
    end if;
    if change.queue_name is null then
        insert into londiste.provider_change (queue_name, new_provider, former_provider, was_paused)
        values (i_queue_name, i_provider, node.provider_node, node.worker_paused);
        perform pgq_node.set_consumer_paused(i_queue_name, node.worker_name, true);
        return '';
    end if;
    perform londiste._subscribe_at(i_queue_name, node.node_name, location, node.worker_name,
                                   node.worker_last_tick);
    perform pgq_node.change_consumer_provider(i_queue_name, node.worker_name, i_provider);
    return '';
end;
$$;
comment on function londiste._change_provider(text, text) is
    'the next step of a change of the provider';

create or replace procedure londiste.change_provider(
    i_queue_name    text,
    i_provider      text,
    i_timeout       interval default null)
language plpgsql
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.change_provider(3)
--      Have this database's node read from another node of the set. Each step commits, so not to be
--      called in a transaction: the node's worker rests, when the other node has all that it has;
--      the other one learns of it, the former one forgets it, and the worker goes on, unless it
--      was paused before. An interrupted call is gone on with by the same call, and given up by one
--      with the present provider; status() says moving_to meanwhile. Takes a superuser, as
--      create_branch says.
-- Parameters:
--      i_queue_name    queue
--      i_provider      the other node
--      i_timeout       longest time to wait for workers; null: as long as it takes
-- Errors: 22004 NULL argument; 2D000 it is called in a transaction; 42704 this database is no node
--      of the queue, or the set has no such node; 55000 the time is over; the node is the root; the
--      other is a leaf, dead, reads from this one, or refuses; a takeover runs; the worker inside
--      the server has no foreign server for it; those of _ask
-- Locks: the lock of takeovers of the set, step by step
-- Tables: londiste.provider_change; pgq_node.local_state; and elsewhere as register_subscriber
-- ----------------------------------------------------------------------
declare
    began   pg_catalog.timestamptz := pg_catalog.clock_timestamp();
    waits   pg_catalog.text;
begin
    loop
        waits := londiste._change_provider(i_queue_name, i_provider);
        commit;
        exit when waits is null;
        continue when waits operator(pg_catalog.=) '';
        if pg_catalog.clock_timestamp()
           operator(pg_catalog.>) (began operator(pg_catalog.+) i_timeout)
        then
            raise exception 'the provider is not changed: it waits for %', waits
                using errcode = '55000',
                      hint = 'The same call goes on; one with the present provider gives up.';
        end if;
        perform pg_catalog.pg_sleep(0.1);
    end loop;
end;
$$;
comment on procedure londiste.change_provider(text, text, interval) is
    'have this database''s node read from another node';
