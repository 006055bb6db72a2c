-- Tables and sequences by patterns: attached, detached, copied anew.

create or replace function londiste._like(i_pattern text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._like(1)
--      A name or a pattern as LIKE has it.
-- Parameters:
--      i_pattern   raw name; * is any number of characters, ? is one; without a dot, the schema is
--                  public
-- Returns: the pattern, to be escaped by a backslash
-- Errors: 22004 NULL
-- ----------------------------------------------------------------------
begin
    if i_pattern is null then
        raise exception 'pattern must not be null'
            using errcode = '22004',
                  hint = '''*.*'' is all.';
    end if;
    return translate(regexp_replace(londiste.make_fqname(i_pattern), '([\\%_])', '\\\1', 'g'),
                     '*?', '%_');
end;
$$;
comment on function londiste._like(text) is 'a name or a pattern as LIKE has it';

create or replace function londiste._check_chosen(
    i_queue_name    text,
    i_pattern       text,
    i_found         bigint,
    i_what          text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._check_chosen(4)
--      Say so when nothing was chosen.
-- Parameters:
--      i_queue_name    queue
--      i_pattern       by which was chosen
--      i_found         how many were found
--      i_what          of what
-- Errors: 22004 NULL queue; 42704 this database is no node of the queue, or nothing fits
-- Tables: pgq_node.node_info (read)
-- ----------------------------------------------------------------------
begin
    if i_queue_name is null then
        raise exception 'queue must not be null'
            using errcode = '22004';
    end if;
    if not exists (select 1 from pgq_node.node_info n where n.queue_name = i_queue_name) then
        raise exception 'this database is no node of queue "%"', i_queue_name
            using errcode = '42704',
                  hint = 'Look at londiste.status().';
    end if;
    if i_found = 0 then
        raise exception 'no % fits "%"', i_what, i_pattern
            using errcode = '42704',
                  hint = format('Look at londiste.local_show_missing(%L), and at '
                                'londiste.table_info and londiste.seq_info.', i_queue_name);
    end if;
end;
$$;
comment on function londiste._check_chosen(text, text, bigint, text) is
    'say so when nothing was chosen';

create or replace function londiste.add_tables(
    in i_queue_name text,
    in i_pattern    text,
    in i_trg_args   text[] default '{}',
    out table_name  text,
    out ret_code    int4,
    out ret_note    text)
returns setof record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.add_tables(3)
--      Attach the tables that fit, of those that the node has not: on the root of the database's,
--      elsewhere of the queue's. They must be there.
-- Parameters:
--      i_queue_name    queue
--      i_pattern       name, or pattern with * and ?; without a dot, the schema is public
--      i_trg_args      options, see create_trigger and local_add_table
-- Returns: a row a table: what local_add_table says; from code 400 on nothing was done to it
-- Errors: 22004 NULL queue or pattern; 42704 this database is no node of the queue, or nothing
--      fits; those of local_add_table, which undo all
-- Locks, Tables: as local_add_table; in the order of the names
-- ----------------------------------------------------------------------
declare
    chosen  text[];
    fitting text := londiste._like(i_pattern);
begin
    select coalesce(array_agg(m.obj_name order by m.obj_name), '{}')
      into chosen
      from pgq_node.node_info n,
           lateral londiste.local_show_missing(n.queue_name) m
     where n.queue_name = i_queue_name
       and m.obj_kind = 'r'
       and m.obj_name like fitting;
    perform londiste._check_chosen(i_queue_name, i_pattern, cardinality(chosen),
                                   'table that could be added');
    return query
    select c.name, a.ret_code, a.ret_note
      from unnest(chosen) c(name),
           lateral londiste.local_add_table(i_queue_name, c.name, coalesce(i_trg_args, '{}')) a;
end;
$$;
comment on function londiste.add_tables(text, text, text[]) is
    'attach the tables that fit a pattern';

create or replace function londiste.add_sequences(
    in i_queue_name     text,
    in i_pattern        text,
    out sequence_name   text,
    out ret_code        int4,
    out ret_note        text)
returns setof record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.add_sequences(2)
--      Attach the sequences that fit, of those that the node has not: on the root of the
--      database's, elsewhere of the queue's. They must be there.
-- Parameters:
--      i_queue_name    queue
--      i_pattern       name, or pattern with * and ?; without a dot, the schema is public
-- Returns: a row a sequence: what local_add_seq says; from code 400 on nothing was done to it
-- Errors: 22004 NULL queue or pattern; 42704 this database is no node of the queue, or nothing
--      fits; those of local_add_seq, which undo all
-- Locks, Tables: as local_add_seq; in the order of the names
-- ----------------------------------------------------------------------
declare
    chosen  text[];
    fitting text := londiste._like(i_pattern);
begin
    select coalesce(array_agg(m.obj_name order by m.obj_name), '{}')
      into chosen
      from pgq_node.node_info n,
           lateral londiste.local_show_missing(n.queue_name) m
     where n.queue_name = i_queue_name
       and m.obj_kind = 'S'
       and m.obj_name like fitting;
    perform londiste._check_chosen(i_queue_name, i_pattern, cardinality(chosen),
                                   'sequence that could be added');
    return query
    select c.name, a.ret_code, a.ret_note
      from unnest(chosen) c(name),
           lateral londiste.local_add_seq(i_queue_name, c.name) a;
end;
$$;
comment on function londiste.add_sequences(text, text) is
    'attach the sequences that fit a pattern';

create or replace function londiste._attached(i_queue_name text, i_pattern text)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._attached(2)
--      The node's tables that fit.
-- Parameters:
--      i_queue_name    queue
--      i_pattern       name, or pattern with * and ?; without a dot, the schema is public
-- Returns: their names on the queue, in their order
-- Errors: 22004 NULL; 42704 this database is no node of the queue, or nothing fits
-- Tables: londiste.table_info, pgq_node.node_info (read)
-- ----------------------------------------------------------------------
declare
    chosen  text[];
    fitting text := londiste._like(i_pattern);
begin
    select coalesce(array_agg(t.table_name order by t.table_name), '{}')
      into chosen
      from londiste.table_info t
     where t.queue_name = i_queue_name
       and t.local
       and t.table_name like fitting;
    perform londiste._check_chosen(i_queue_name, i_pattern, cardinality(chosen),
                                   'table of this node');
    return chosen;
end;
$$;
comment on function londiste._attached(text, text) is 'the node''s tables that fit a pattern';

create or replace function londiste.remove_tables(
    in i_queue_name text,
    in i_pattern    text,
    out table_name  text,
    out ret_code    int4,
    out ret_note    text)
returns setof record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.remove_tables(2)
--      Detach the node's tables that fit; on the root, from the queue. They and their rows stay.
-- Parameters:
--      i_queue_name    queue
--      i_pattern       name, or pattern with * and ?; without a dot, the schema is public
-- Returns: a row a table: what local_remove_table says
-- Errors: 22004 NULL; 42704 this database is no node of the queue, or nothing fits; those of
--      local_remove_table, which undo all
-- Locks, Tables: as local_remove_table; in the order of the names
-- ----------------------------------------------------------------------
begin
    return query
    select c.name, r.ret_code, r.ret_note
      from unnest(londiste._attached(i_queue_name, i_pattern)) c(name),
           lateral londiste.local_remove_table(i_queue_name, c.name) r;
end;
$$;
comment on function londiste.remove_tables(text, text) is
    'detach the node''s tables that fit a pattern';

create or replace function londiste.remove_sequences(
    in i_queue_name     text,
    in i_pattern        text,
    out sequence_name   text,
    out ret_code        int4,
    out ret_note        text)
returns setof record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.remove_sequences(2)
--      Detach the node's sequences that fit; on the root, from the queue. They stay.
-- Parameters:
--      i_queue_name    queue
--      i_pattern       name, or pattern with * and ?; without a dot, the schema is public
-- Returns: a row a sequence: what local_remove_seq says
-- Errors: 22004 NULL; 42704 this database is no node of the queue, or nothing fits; those of
--      local_remove_seq, which undo all
-- Locks, Tables: as local_remove_seq; in the order of the names
-- ----------------------------------------------------------------------
declare
    chosen  text[];
    fitting text := londiste._like(i_pattern);
begin
    select coalesce(array_agg(s.seq_name order by s.seq_name), '{}')
      into chosen
      from londiste.seq_info s
     where s.queue_name = i_queue_name
       and s.local
       and s.seq_name like fitting;
    perform londiste._check_chosen(i_queue_name, i_pattern, cardinality(chosen),
                                   'sequence of this node');
    return query
    select c.name, r.ret_code, r.ret_note
      from unnest(chosen) c(name),
           lateral londiste.local_remove_seq(i_queue_name, c.name) r;
end;
$$;
comment on function londiste.remove_sequences(text, text) is
    'detach the node''s sequences that fit a pattern';

create or replace function londiste.resync(
    in i_queue_name text,
    in i_pattern    text,
    out table_name  text,
    out ret_code    int4,
    out ret_note    text)
returns setof record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.resync(2)
--      Have the node's worker copy the tables that fit anew. Rows that are here go when the copy
--      commits, unless skip_truncate is among the table's attributes.
-- Parameters:
--      i_queue_name    queue
--      i_pattern       name, or pattern with * and ?; without a dot, the schema is public
-- Returns: a row a table:
--      200     Table TABLE state set to NULL
-- Errors: 22004 NULL; 42704 this database is no node of the queue, or nothing fits; 55000 the node
--      is the root: nobody has rows for it; 23514 what a copy has dropped of a table has to be made
--      first
-- Locks: the tables' rows in table_info, in the order of their names
-- Tables: londiste.table_info
-- ----------------------------------------------------------------------
declare
    chosen  text[] := londiste._attached(i_queue_name, i_pattern);
begin
    if pgq_node.is_root_node(i_queue_name) then
        raise exception 'this node is the root of queue "%"', i_queue_name
            using errcode = '55000',
                  hint = 'Nobody has rows for the root. Call it on the node that is to copy.';
    end if;
    return query
    select c.name, r.ret_code, r.ret_note
      from unnest(chosen) c(name),
           lateral londiste.local_set_table_state(i_queue_name, c.name, null, null) r;
end;
$$;
comment on function londiste.resync(text, text) is
    'have the node''s worker copy tables that fit a pattern anew';
