-- Sequences of the node. What the root publishes is ahead of what it has given out, so that a node
-- that takes over gives out nothing twice.

create or replace function londiste.local_add_seq(
    in i_queue_name text,
    in i_seq_name   text,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.local_add_seq(2)
--      Attach a sequence to the node. It is set forward to what was published, also on a root that
--      was none then, and on the root its value is published. pgq_admin gets the right to read it
--      if the caller can give that: maintenance, which publishes later values of a root, and of
--      what becomes one, runs as pgq_admin.
-- Parameters:
--      i_queue_name    queue
--      i_seq_name      raw name
-- Returns:
--      200     Sequence added: SEQUENCE
--      201     Sequence already added: SEQUENCE
--      400     Sequence not found: SEQUENCE (there is none here)
--      404     Unknown sequence: SEQUENCE (the queue does not have it)
-- Errors: 42704 queue does not exist: QUEUE; 42501 no right to read or set the sequence
-- Locks: the sequence's row in seq_info
-- Tables: londiste.seq_info; on the root the queue's event table
-- ----------------------------------------------------------------------
declare
    full_name   text := londiste.make_fqname(i_seq_name);
    sequence    oid := londiste.find_seq_oid(full_name);
    info        londiste.seq_info;
    is_known    boolean;
begin
    if sequence is null then
        ret_code := 400;
        ret_note := format('Sequence not found: %s', full_name);
        return;
    end if;
    select i.*
      into info
      from londiste.seq_info i
     where i.queue_name = i_queue_name
       and i.seq_name = full_name
       for update;
    is_known := found;
    if info.local then
        ret_code := 201;
        ret_note := format('Sequence already added: %s', full_name);
        return;
    end if;

    if pgq_node.is_root_node(i_queue_name) then
        if is_known then
            perform londiste._reach_value(full_name, info.last_value);
        end if;
        insert into londiste.seq_info as i (queue_name, seq_name, local, last_value)
        values (i_queue_name, full_name, true, pgq.seq_getval(full_name))
            on conflict (queue_name, seq_name) do update
           set local = true;
        perform londiste.root_check_seqs(i_queue_name);
    elsif not is_known then
        ret_code := 404;
        ret_note := format('Unknown sequence: %s', full_name);
        return;
    else
        update londiste.seq_info i
           set local = true
         where i.queue_name = i_queue_name
           and i.seq_name = full_name;
        perform londiste._reach_value(full_name, info.last_value);
    end if;
    if not has_sequence_privilege('pgq_admin', sequence, 'select')
       and pg_has_role((select c.relowner from pg_class c where c.oid = sequence), 'usage')
    then
        execute format('grant select on sequence %s to pgq_admin', sequence::regclass);
    end if;
    ret_code := 200;
    ret_note := format('Sequence added: %s', full_name);
end;
$$;
comment on function londiste.local_add_seq(text, text) is 'attach a sequence to the node';

create or replace function londiste.local_remove_seq(
    in i_queue_name text,
    in i_seq_name   text,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.local_remove_seq(2)
--      Detach a sequence from the node. On the root it is forgotten everywhere.
-- Parameters:
--      i_queue_name    queue
--      i_seq_name      raw name
-- Returns:
--      200     Sequence removed: SEQUENCE
--      400     Sequence not found: SEQUENCE (root)
--      404     Sequence not found: SEQUENCE
-- Errors: 42704 queue does not exist: QUEUE; on the root those of pgq.insert_event
-- Locks: the sequence's row in seq_info
-- Tables: londiste.seq_info; on the root the queue's event table
-- ----------------------------------------------------------------------
declare
    full_name   text := londiste.make_fqname(i_seq_name);
begin
    if pgq_node.is_root_node(i_queue_name) then
        select r.ret_code, r.ret_note
          into ret_code, ret_note
          from londiste.global_remove_seq(i_queue_name, full_name) r;
        return;
    end if;
    update londiste.seq_info i
       set local = false
     where i.queue_name = i_queue_name
       and i.seq_name = full_name
       and i.local;
    ret_code := case when found then 200 else 404 end;
    ret_note := format('Sequence %s: %s', case when found then 'removed' else 'not found' end,
                       full_name);
end;
$$;
comment on function londiste.local_remove_seq(text, text) is 'detach a sequence from the node';

create or replace function londiste.global_remove_seq(
    in i_queue_name text,
    in i_seq_name   text,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.global_remove_seq(2)
--      Forget a sequence. The root publishes that.
-- Parameters:
--      i_queue_name    queue
--      i_seq_name      raw name
-- Returns:
--      200     Sequence removed: SEQUENCE
--      400     Sequence not found: SEQUENCE
-- Errors: 42704 queue does not exist: QUEUE; on the root those of pgq.insert_event
-- Locks: the sequence's row in seq_info
-- Tables: londiste.seq_info; on the root the queue's event table
-- ----------------------------------------------------------------------
declare
    full_name   text := londiste.make_fqname(i_seq_name);
begin
    delete from londiste.seq_info i
     where i.queue_name = i_queue_name
       and i.seq_name = full_name;
    if not found then
        ret_code := 400;
        ret_note := 'Sequence not found: ' || full_name;
        return;
    end if;
    if pgq_node.is_root_node(i_queue_name) then
        perform londiste.root_notify_change(i_queue_name, 'londiste.remove-seq', full_name);
    end if;
    ret_code := 200;
    ret_note := 'Sequence removed: ' || full_name;
end;
$$;
comment on function londiste.global_remove_seq(text, text) is 'forget a sequence of a queue';
