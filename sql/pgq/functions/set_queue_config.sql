create or replace function pgq.set_queue_config(
    x_queue_name    text,
    x_param_name    text,
    x_param_value   text)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.set_queue_config(3)
--      Change a setting of a queue.
-- Parameters:
--      x_queue_name    name of the queue
--      x_param_name    ticker_max_count, ticker_max_lag, ticker_idle_period, ticker_paused,
--                      rotation_period, external_ticker or batch_max_count; for messages that
--                      are not processed max_retries, retry_base, retry_max or
--                      dead_letter_queue; keep: how long events stay although all consumers
--                      have them; unique_for: for how long a unique key is not sent again;
--                      slot_lease: after what silence of a worker others get its slots, at
--                      least 1 s
--      x_param_value   the value as text
-- Returns: 1
-- Errors: 22004 NULL argument; 42704 no such queue; 22023 unknown setting or value out of range;
--      22P02, 22007, 22003 value is not of the setting's type; those of pgq._set_queue_option(3)
-- Locks: row of the queue
-- Tables: pgq.queue, pgq.queue_option
-- ----------------------------------------------------------------------
declare
    id      integer;
    kind    text;
    valid   boolean;
    lowest  integer := 1;
    least_time  interval := case x_param_name when 'slot_lease' then '1 second' else '0' end;
begin
    if x_queue_name is null or x_param_name is null then
        raise exception 'Invalid NULL value'
            using errcode = '22004',
                  hint = 'Name a queue and a parameter.';
    end if;

    select q.queue_id into id from pgq.queue q where q.queue_name = x_queue_name;
    if not found then
        raise exception 'No such event queue'
            using errcode = '42704',
                  hint = pgq._no_queue_hint(x_queue_name);
    end if;

    kind := case
        when x_param_name in ('ticker_max_count', 'batch_max_count', 'max_retries') then 'integer'
        when x_param_name in ('ticker_max_lag', 'ticker_idle_period', 'rotation_period',
                              'retry_base', 'retry_max', 'keep', 'unique_for', 'slot_lease')
            then 'interval'
        when x_param_name = 'dead_letter_queue' then 'text'
        when x_param_name in ('ticker_paused', 'external_ticker') then 'boolean'
    end;
    if kind is null then
        -- The stray "s" is PgQ's.
        raise exception 'cannot change parameter "%s"', x_param_name
            using errcode = '22023',
                  hint = 'Parameters are ticker_max_count, ticker_max_lag, ticker_idle_period, '
                         'ticker_paused, rotation_period,'
                         ' external_ticker and batch_max_count; max_retries, retry_base, '
                         'retry_max, dead_letter_queue, keep, unique_for and slot_lease.';
    end if;
    if x_param_value is null then
        raise exception 'query string argument of EXECUTE is null'
            using errcode = '22004',
                  hint = format('Parameter "%s" needs a value.', x_param_name);
    end if;

    if x_param_name = 'max_retries' then
        lowest := 0;
    end if;
    valid := case kind
        when 'text' then true
        when 'integer' then x_param_value::integer >= lowest
        when 'interval' then x_param_value::interval >= least_time
                             and (x_param_name <> 'unique_for'
                                  or x_param_value::interval <= '32 days')
        else x_param_value::boolean is not null
    end;
    if not valid then
        raise exception 'invalid value for parameter "%": "%"', x_param_name, x_param_value
            using errcode = '22023',
                  hint = case kind
                      when 'integer' then format('The value must be at least %s.', lowest)
                      else case x_param_name
                          when 'slot_lease' then 'The value must be at least one second.'
                          when 'unique_for'
                              then 'The value must not be negative, nor above 32 days.'
                          else 'The value must not be negative.'
                      end
                  end;
    end if;

    if x_param_name in ('max_retries', 'retry_base', 'retry_max', 'dead_letter_queue', 'keep',
                        'unique_for', 'slot_lease') then
        perform pgq._set_queue_option(id, x_param_name, x_param_value);
        return 1;
    end if;
    execute format('update pgq.queue set %I = $1::%s where queue_id = $2', 'queue_' || x_param_name,
                   kind)
      using x_param_value, id;
    return 1;
end;
$$;
comment on function pgq.set_queue_config(text, text, text) is 'change a setting of a queue';
