-- pgq_admin may update pgq.queue, where the names of a queue's tables and sequences are. Functions that run as the owner and
-- grant, or drop, what is named there make sure first that it is part of a queue.

create or replace function pgq._event_table(i_name text)
returns regclass as $$
-- ----------------------------------------------------------------------
-- Function: pgq._event_table(1)
--      The table of that name, if it is an event table.
-- Parameters: i_name - raw name, see pgq.quote_fqname
-- Returns: the table; NULL if there is none
-- Errors: XX001 it does not inherit from pgq.event_template
-- ----------------------------------------------------------------------
declare
    v_table regclass := to_regclass(pgq.quote_fqname(i_name));
begin
    if v_table is not null and not exists (
            with recursive parent (relid) as (
                select v_table::oid
                 union
                select i.inhparent from parent p join pg_catalog.pg_inherits i on i.inhrelid = p.relid
            )
            select 1 from parent p where p.relid = 'pgq.event_template'::regclass and p.relid <> v_table) then
        raise exception 'relation "%" is not an event table', i_name using errcode = 'XX001';
    end if;
    return v_table;
end;
$$ language plpgsql set search_path = pg_catalog, pg_temp;

comment on function pgq._event_table(text) is 'the table of that name, if it is an event table';

create or replace function pgq._own_sequence(i_name text)
returns regclass as $$
-- ----------------------------------------------------------------------
-- Function: pgq._own_sequence(1)
--      The sequence of that name, if it can be one of a queue.
-- Parameters: i_name - raw name, see pgq.quote_fqname
-- Returns: the sequence; NULL if there is none
-- Errors: XX001 it is not in schema pgq, or part of the extension itself
-- ----------------------------------------------------------------------
declare
    v_sequence regclass := to_regclass(pgq.quote_fqname(i_name));
begin
    if v_sequence is not null and not exists (
            select 1
              from pg_catalog.pg_class c
             where c.oid = v_sequence
               and c.relkind = 'S'
               and c.relnamespace = 'pgq'::regnamespace
               and not exists (select 1 from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = 'e')) then
        raise exception 'relation "%" is not a sequence of a queue', i_name using errcode = 'XX001';
    end if;
    return v_sequence;
end;
$$ language plpgsql set search_path = pg_catalog, pg_temp;

comment on function pgq._own_sequence(text) is 'the sequence of that name, if it can be one of a queue';
