-- Comments on what is not a function; in both scripts, since older versions had none.

comment on schema pgq_ext is
    'target-side tracking: what consumers of queues elsewhere have done in this database';
comment on table pgq_ext.completed_tick is 'last tick that each consumer has applied here';
comment on table pgq_ext.completed_batch is 'last batch that each consumer has applied here';
comment on table pgq_ext.completed_event is
    'events of its current batch that each consumer has applied here';
comment on table pgq_ext.partial_batch is 'batch that the rows of completed_event belong to';
