-- With PgQ 3.x a member's batch that was finished with pgq.finish_batch left the member with a position of its own, which nothing
-- ever moved: it held up rotation for good. Members without a batch have no position.

update pgq.subscription
   set sub_last_tick = null
 where sub_batch is null
   and sub_next_tick is null
   and sub_last_tick is not null
   and pgq._group_main(sub_queue, sub_consumer) is not null;
