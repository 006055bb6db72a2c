create or replace function pgq._grant_perms_from(
    src_schema  text,
    src_table   text,
    dst_schema  text,
    dst_table   text)
returns integer
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._grant_perms_from(4)
--      Give one table the privileges of another, the owner's own among them. Read from the access
--      control list itself, since information_schema does not know of MAINTAIN.
-- Parameters: schema and name of both tables
-- Returns: 1
-- Errors: 42P01 no such table
-- ----------------------------------------------------------------------
declare
    r record;
begin
    for r in
        select case
                   when a.grantee = 0 then 'public'
                   else quote_ident(pg_get_userbyid(a.grantee))
               end as grantee,
               string_agg(a.privilege_type, ', ' order by a.place) as privileges,
               a.grantee <> 0 and (a.is_grantable or a.grantee = c.relowner) as is_grantable
          from pg_catalog.pg_class c,
               lateral aclexplode(coalesce(c.relacl, acldefault('r', c.relowner)))
                   with ordinality a (grantor, grantee, privilege_type, is_grantable, place)
         where c.oid = format('%I.%I', src_schema, src_table)::regclass
         group by 1, 3
         order by min(a.place)
    loop
        execute format('grant %s on table %I.%I to %s%s', r.privileges, dst_schema, dst_table,
                       r.grantee,
                       case when r.is_grantable then ' with grant option' else '' end);
    end loop;
    return 1;
end;
$$;
comment on function pgq._grant_perms_from(text, text, text, text) is
    'give one table the privileges of another';

create or replace function pgq.grant_perms(x_queue_name text)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.grant_perms(1)
--      Set the privileges of a queue's sequences and event tables. The tables get those of
--      pgq.event_template.
-- Parameters:
--      x_queue_name    name of the queue
-- Returns: 1
-- Errors: 42704 no such queue; XX001 the row names something that is no part of a queue
-- Tables: pgq.queue
-- ----------------------------------------------------------------------
declare
    queue   pgq.queue;
    tab     regclass;
begin
    select * into queue from pgq.queue q where q.queue_name = x_queue_name;
    if not found then
        raise exception 'Queue not found'
            using errcode = '42704',
                  hint = pgq._no_queue_hint(x_queue_name);
    end if;

    execute format('grant select on sequence %s to public',
                   pgq._own_sequence(queue.queue_id, queue.queue_tick_seq));
    execute format('grant select on sequence %s to public',
                   pgq._own_sequence(queue.queue_id, queue.queue_event_seq));
    execute format('grant usage on sequence %s to pgq_admin',
                   pgq._own_sequence(queue.queue_id, queue.queue_event_seq));

    for tab in
        select pgq._event_table(queue.queue_data_pfx || n.suffix)
          from (select '' as suffix
                 union all
                select '_' || i from generate_series(0, queue.queue_ntables - 1) i) n
    loop
        perform pgq._grant_perms_from('pgq', 'event_template', n.nspname, c.relname)
           from pg_catalog.pg_class c
           join pg_catalog.pg_namespace n on n.oid = c.relnamespace
          where c.oid = tab;
    end loop;

    return 1;
end;
$$;
comment on function pgq.grant_perms(text) is
    'set the privileges of a queue''s sequences and event tables';
