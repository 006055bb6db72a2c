-- Comments on what is not a function; in both scripts, since older versions had none.

comment on schema pgq_ext is
    'target-side tracking: what consumers of queues elsewhere have done in this database';
comment on table pgq_ext.completed_tick is 'last tick that each consumer has applied here';
comment on table pgq_ext.completed_batch is 'last batch that each consumer has applied here';
comment on table pgq_ext.completed_event is
    'events of its current batch that each consumer has applied here';
comment on table pgq_ext.partial_batch is 'batch that the rows of completed_event belong to';

comment on column pgq_ext.completed_tick.consumer_id is 'name of the consumer';
comment on column pgq_ext.completed_tick.subconsumer_id is
    'a part of it that commits separately; empty: the whole';
comment on column pgq_ext.completed_tick.last_tick_id is
    'tick up to which everything is applied here';
comment on column pgq_ext.completed_batch.consumer_id is 'name of the consumer';
comment on column pgq_ext.completed_batch.subconsumer_id is
    'a part of it that commits separately; empty: the whole';
comment on column pgq_ext.completed_batch.last_batch_id is 'the only batch that may come again';
comment on column pgq_ext.completed_event.consumer_id is 'name of the consumer';
comment on column pgq_ext.completed_event.subconsumer_id is
    'a part of it that commits separately; empty: the whole';
comment on column pgq_ext.completed_event.batch_id is 'batch that the event came in';
comment on column pgq_ext.completed_event.event_id is 'event that is applied here';
comment on column pgq_ext.partial_batch.consumer_id is 'name of the consumer';
comment on column pgq_ext.partial_batch.subconsumer_id is
    'a part of it that commits separately; empty: the whole';
comment on column pgq_ext.partial_batch.cur_batch_id is
    'batch whose events are remembered; those of the one before are forgotten';
