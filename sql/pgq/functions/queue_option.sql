create or replace function pgq._queue_option(i_queue_id integer)
returns pgq.queue_option
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._queue_option(1)
--      Settings of a queue for messages that are not processed, and for what is kept. This is the
--      place of the defaults.
-- Parameters:
--      i_queue_id  the queue
-- Tables: pgq.queue_option
-- ----------------------------------------------------------------------
    select i_queue_id, coalesce(o.opt_max_retries, 5), coalesce(o.opt_retry_base, '1 second'),
           coalesce(o.opt_retry_max, '1 hour'), o.opt_dead_letter_queue,
           coalesce(o.opt_keep, '0'), coalesce(o.opt_unique_for, '1 hour'),
           coalesce(o.opt_slot_lease, '30 seconds')
      from (values (1)) always
      left join pgq.queue_option o on o.opt_queue = i_queue_id
$$;
comment on function pgq._queue_option(integer) is
    'settings of a queue for messages that are not processed';

create or replace function pgq._set_queue_option(
    i_queue_id  integer,
    i_param     text,
    i_value     text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._set_queue_option(3)
--      Change a setting of pgq.queue_option, for pgq.set_queue_config(3), which has checked it. A
--      dead-letter queue is held by consumer "dead_letters", as the client's are.
-- Parameters:
--      i_queue_id  the queue
--      i_param     name of the setting
--      i_value     its value as text
-- Errors: 42704 the dead-letter queue does not exist; 22023 it is the queue itself
-- Tables: pgq.queue_option
-- ----------------------------------------------------------------------
declare
    kind    text;
begin
    if i_param = 'dead_letter_queue' and i_value <> '' then
        perform 1 from pgq.queue q where q.queue_id = i_queue_id and q.queue_name = i_value;
        if found then
            raise exception 'queue "%" cannot be its own dead-letter queue', i_value
                using errcode = '22023',
                      hint = 'Its consumers would get their dead letters again. The empty name '
                             'means table pgq.dead_letter.';
        end if;
        perform pgq.register_consumer(i_value, 'dead_letters');
    end if;

    select format_type(a.atttypid, null)
      into kind
      from pg_catalog.pg_attribute a
     where a.attrelid = 'pgq.queue_option'::regclass
       and a.attname = 'opt_' || i_param;
    insert into pgq.queue_option
    select (pgq._queue_option(i_queue_id)).*
        on conflict do nothing;
    execute format('update pgq.queue_option set %I = nullif($1, '''')::%s where opt_queue = $2',
                   'opt_' || i_param, kind)
      using i_value, i_queue_id;
end;
$$;
comment on function pgq._set_queue_option(integer, text, text) is
    'change a setting of pgq.queue_option';
