-- With PgQ 3.x a member's batch that was finished with pgq.finish_batch left the member with a
-- position of its own, which nothing ever moved: it held up rotation for good. Members without a
-- batch have no position.
--
-- Rows are locked in no particular order here, so the table is locked before, for what other
-- transactions may have locked rows of.

do $$
declare
    broken integer[];
begin
    select array_agg(s.sub_queue)
      into broken
      from pgq.subscription s
     where s.sub_batch is null
       and s.sub_next_tick is null
       and s.sub_last_tick is not null
       and pgq._group_main(s.sub_queue, s.sub_consumer) is not null;
    if broken is null then
        return;
    end if;
    lock table pgq.subscription in exclusive mode;
    update pgq.subscription s
       set sub_last_tick = null
     where s.sub_queue = any (broken)
       and s.sub_batch is null
       and s.sub_next_tick is null
       and s.sub_last_tick is not null
       and pgq._group_main(s.sub_queue, s.sub_consumer) is not null;
end;
$$;
