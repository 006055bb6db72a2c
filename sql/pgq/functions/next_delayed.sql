create or replace function pgq._next_delayed()
returns timestamptz
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._next_delayed(0)
--      When pgq.maint_delayed() has something to do, as far as that can be seen now.
-- Returns: the time, which may be over; NULL: there are no delayed events
-- Tables: pgq.delayed, pgq.delayed_state, pgq.delayed_left
-- ----------------------------------------------------------------------
declare
    state   pgq.delayed_state := pgq._delayed_state();
    bucket  text;
    found   timestamptz;
    due     timestamptz;
begin
    foreach bucket in array pgq._delayed_buckets() loop
        -- Late ones as in pgq._due_delayed(3).
        execute format('select coalesce('
                           '(select $2 '
                              'from pgq.%1$I d '
                             'where d.dl_txid >= $5 '
                               'and not (d.dl_due, d.dl_queue, d.dl_id) > ($2, $3, $4) limit 1), '
                           '(select $2 '
                              'from pgq.%1$I d '
                             'where d.dl_txid = any ($6) '
                               'and not (d.dl_due, d.dl_queue, d.dl_id) > ($2, $3, $4) limit 1), '
                           '(select d.dl_due '
                              'from pgq.%1$I d '
                             'where (d.dl_due, d.dl_queue, d.dl_id) '
                                   '> (coalesce($2, $1), coalesce($3, 0), coalesce($4, 0)) '
                             'order by d.dl_due, d.dl_queue, d.dl_id limit 1))', bucket)
           into found
          using '-infinity'::timestamptz, state.ds_due, state.ds_queue, state.ds_id,
                txid_snapshot_xmax(state.ds_snapshot),
                array(select txid_snapshot_xip(state.ds_snapshot));
        due := least(due, found);
    end loop;
    return least(due, (select min(l.df_again) from pgq.delayed_left l));
end;
$$;
comment on function pgq._next_delayed() is 'when a delayed event is due';

create or replace function pgq._deliver_in_passing()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._deliver_in_passing(0)
--      Deliver delayed events that are due, and send messages of schedules, for who has something
--      else to do, which goes on if that fails: pgq.ticker(), where no worker runs.
-- Tables: as pgq.maint_delayed(0)
-- ----------------------------------------------------------------------
begin
    if current_setting('transaction_isolation') in ('read committed', 'read uncommitted')
       and least(pgq._next_delayed(), pgq._next_scheduled()) <= clock_timestamp() then
        perform pgq.maint_delayed();
        perform pgq.maint_schedules();
    end if;
exception
    when others then
        raise warning 'delayed events: %', sqlerrm
            using hint = 'Call pgq.maint_delayed() to see more.';
end;
$$;
comment on function pgq._deliver_in_passing() is 'deliver delayed events that are due, in passing';
