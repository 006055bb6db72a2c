-- Values of sequences, from the root to the nodes.

create or replace function londiste._reach_value(i_seq_name text, i_value int8)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._reach_value(2)
--      Set a sequence forward to a value, or to its end if that comes before: what it would give
--      out after it is an error there as here, and no reason for replication to stop. Where there
--      is no such sequence, nothing happens but a warning.
-- Parameters:
--      i_seq_name  raw name
--      i_value     value to reach
-- Errors: 42501 no right to set the sequence
-- ----------------------------------------------------------------------
declare
    last_one    int8;
begin
    select s.seqmax into last_one from pg_sequence s
     where s.seqrelid = londiste.find_seq_oid(i_seq_name);
    if not found then
        raise warning 'sequence "%" does not exist', i_seq_name
            using hint = 'Create it, or detach it with londiste.local_remove_seq().';
        return;
    end if;
    perform pgq.seq_setval(i_seq_name, least(i_value, last_one));
end;
$$;
comment on function londiste._reach_value(text, int8) is
    'set a sequence forward to a value, or to its end';

create or replace function londiste.global_update_seq(
    in i_queue_name text,
    in i_seq_name   text,
    in i_value      int8,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.global_update_seq(3)
--      Note a published value, and that the queue has the sequence. If the node has it, it is set
--      forward to the value, never back.
-- Parameters:
--      i_queue_name    queue
--      i_seq_name      raw name
--      i_value         value
-- Returns:
--      200     Sequence updated
--      402     Must not run on root node
--      404     Set not found: QUEUE
-- Errors: 23502 sequence or value is null; 42501 no right to set the sequence
-- Locks: the sequence's row in seq_info
-- Tables: londiste.seq_info, pgq_node.node_info (read)
-- ----------------------------------------------------------------------
declare
    full_name   text := londiste.make_fqname(i_seq_name);
    kind        text;
    is_here     boolean;
begin
    select n.node_type into kind from pgq_node.node_info n where n.queue_name = i_queue_name;
    if not found then
        ret_code := 404;
        ret_note := format('Set not found: %s', i_queue_name);
        return;
    elsif kind = 'root' then
        ret_code := 402;
        ret_note := 'Must not run on root node';
        return;
    end if;

    insert into londiste.seq_info as i (queue_name, seq_name, last_value)
    values (i_queue_name, full_name, i_value)
        on conflict (queue_name, seq_name) do update
       set last_value = excluded.last_value
    returning i.local into is_here;
    if is_here then
        perform londiste._reach_value(full_name, i_value);
    end if;
    ret_code := 200;
    ret_note := 'Sequence updated';
end;
$$;
comment on function londiste.global_update_seq(text, text, int8) is
    'note a published value of a sequence, and set it forward';

create or replace function londiste.root_check_seqs(
    in i_queue_name text,
    in i_buffer     int8,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.root_check_seqs(2)
--      Publish new values of sequences that come near to what was published. One that is gone, or
--      that the caller may not read, is named in a warning, and the others go on. A right on its
--      schema is not needed. One that another session works on is left for the next time.
-- Parameters:
--      i_queue_name    queue
--      i_buffer        how many values before the published one a new one is published, which is
--                      then three times as many ahead; null and less than 10 mean 10000
-- Returns:
--      100     Sequences updated
--      402     Not a root node
--      404     Queue not found: QUEUE
-- Errors: those of pgq.insert_event
-- Locks: rows of seq_info whose value is published; none is waited for
-- Tables: londiste.seq_info, pgq_node.node_info (read); the queue's event table
-- ----------------------------------------------------------------------
declare
    kind        text;
    buffer      int8 := case when i_buffer >= 10 then i_buffer else 10000 end;
    seq         record;
    present     int8;
    ahead       int8;
begin
    select n.node_type into kind from pgq_node.node_info n where n.queue_name = i_queue_name;
    if not found then
        ret_code := 404;
        ret_note := format('Queue not found: %s', i_queue_name);
        return;
    elsif kind <> 'root' then
        ret_code := 402;
        ret_note := 'Not a root node';
        return;
    end if;

    for seq in
        select i.seq_name, i.last_value, c.oid, c.relnamespace as schema, s.seqstart, s.seqmax
          from londiste.seq_info i
          left join pg_class c on c.oid = londiste.find_seq_oid(i.seq_name)
          left join pg_sequence s on s.seqrelid = c.oid
         where i.queue_name = i_queue_name
           and i.local
         order by i.nr
    loop
        if seq.oid is null then
            raise warning 'sequence "%" of queue "%" does not exist', seq.seq_name, i_queue_name
                using hint = 'Create it, or detach it with londiste.local_remove_seq().';
            continue;
        elsif has_sequence_privilege(seq.oid, 'select') is not true then
            raise warning 'no right to read sequence "%" of queue "%"', seq.seq_name, i_queue_name
                using hint = format('GRANT SELECT ON SEQUENCE %s TO %I', seq.oid::regclass,
                                    current_user);
            continue;
        end if;

        -- By its number it can be read in any schema, but not what it has been set to for next.
        present := case
                       when has_schema_privilege(seq.schema, 'usage')
                       then pgq.seq_getval(seq.seq_name)
                       else coalesce(pg_sequence_last_value(seq.oid), seq.seqstart)
                   end;
        if present::numeric + buffer < seq.last_value then
            continue;
        end if;
        ahead := least(present::numeric + 3 * buffer::numeric, seq.seqmax);
        -- Another session may be publishing, or removing the sequence or the node.
        update londiste.seq_info i
           set last_value = ahead
         where (i.queue_name, i.seq_name) in (
                   select f.queue_name, f.seq_name
                     from londiste.seq_info f
                    where f.queue_name = i_queue_name
                      and f.seq_name = seq.seq_name
                      and f.local
                      and f.last_value < ahead
                      for update skip locked);
        if found then
            perform pgq.insert_event(i_queue_name, 'londiste.update-seq', ahead::text,
                                     seq.seq_name, null, null, null);
        end if;
    end loop;
    ret_code := 100;
    ret_note := 'Sequences updated';
end;
$$;
comment on function londiste.root_check_seqs(text, int8) is
    'publish new values of sequences that come near to what was published';

create or replace function londiste.root_check_seqs(
    in i_queue_name text,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.root_check_seqs(1)
--      As root_check_seqs(2), 10000 values ahead.
-- ----------------------------------------------------------------------
begin
    select c.ret_code, c.ret_note
      into ret_code, ret_note
      from londiste.root_check_seqs(i_queue_name, 10000) c;
end;
$$;
comment on function londiste.root_check_seqs(text) is
    'publish new values of sequences, 10000 ahead';
