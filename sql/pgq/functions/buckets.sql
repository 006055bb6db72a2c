-- Buckets of pgq.unique_key and pgq.delayed: three tables for each of four lengths of time, which
-- take turns. What ends within an hour is in a table of that hour, within a day in one of that day,
-- and so on. So of three tables two are in use, that of the present hour and that of the next, and
-- the third holds the hour before: it can be emptied for the whole hour that follows.

create or replace function pgq._bucket_seconds(i_class integer)
returns double precision
language sql
immutable
strict
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._bucket_seconds(1)
--      How long the tables of a class are in turn: an hour, a day, 32 days, 366 days.
-- ----------------------------------------------------------------------
    select (array[3600, 86400, 2764800, 31622400]::double precision[])[i_class + 1]
$$;
comment on function pgq._bucket_seconds(integer) is
    'how long tables of a class of buckets take turns';

create or replace function pgq._bucket(i_now timestamptz, i_end timestamptz)
returns integer
language sql
immutable
strict
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._bucket(2)
--      Number of the bucket for what is stored at a time and done with at another.
-- ----------------------------------------------------------------------
    select min(c) * 3
           + mod(floor(extract(epoch from i_end) / pgq._bucket_seconds(min(c)))::bigint, 3)::integer
      from generate_series(0, 3) c
     where c = 3
        or extract(epoch from i_end) - extract(epoch from i_now) <= pgq._bucket_seconds(c)
$$;
comment on function pgq._bucket(timestamptz, timestamptz) is
    'number of the bucket for what is done with at a time';

create or replace function pgq._old_bucket(i_class integer, i_now timestamptz)
returns integer
language sql
immutable
strict
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._old_bucket(2)
--      Number of the bucket of a class that nothing is put into at a time.
-- ----------------------------------------------------------------------
    select i_class * 3
           + mod(floor(extract(epoch from i_now) / pgq._bucket_seconds(i_class))::bigint + 2,
                 3)::integer
$$;
comment on function pgq._old_bucket(integer, timestamptz) is
    'number of the bucket of a class that is not in use';

create or replace function pgq._old_buckets()
returns setof text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._old_buckets(0)
--      Buckets that can be emptied as far as the time goes, and are not empty.
-- Returns: names of tables, without schema
-- ----------------------------------------------------------------------
    select b.name
      from (select 'unique_' || pgq._old_bucket(c, now()) from generate_series(0, 2) c
             union all
            select 'delayed_' || pgq._old_bucket(c, now()) from generate_series(0, 3) c) b (name)
     where pg_relation_size(to_regclass('pgq.' || b.name)) > 0
     order by b.name
$$;
comment on function pgq._old_buckets() is 'buckets that may be emptied';

create or replace function pgq.maint_empty_buckets()
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.maint_empty_buckets(0)
--      Empty the buckets of pgq.unique_key and pgq.delayed whose rows are done with. One that
--      somebody uses at this moment, pg_dump for example, is left for the next time.
-- Returns: 0, always
-- Locks: access exclusive on the buckets (gives up)
-- Tables: pgq.unique_key, pgq.delayed, pgq.delayed_state, pgq.delayed_left
-- ----------------------------------------------------------------------
declare
    bucket  text;
    is_used boolean;
begin
    for bucket in select b from pgq._old_buckets() b loop
        begin
            execute format('lock table pgq.%I in access exclusive mode nowait', bucket);
            -- Whoever wrote to it has ended. Only a clock that went back leaves something here.
            if starts_with(bucket, 'unique_') then
                execute format('select exists (select 1 from pgq.%I where uk_expires > now())',
                               bucket)
                   into is_used;
            else
                is_used := pgq._has_undelivered(bucket);
            end if;
            if not is_used then
                execute format('truncate pgq.%I', bucket);
            end if;
        exception
            when lock_not_available then
                null;
        end;
    end loop;
    return 0;
end;
$$;
comment on function pgq.maint_empty_buckets() is 'empty buckets whose rows are done with';
