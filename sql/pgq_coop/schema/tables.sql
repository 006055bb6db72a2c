-- No tables: a group is rows of pgq.subscription that share a sub_id.

create schema pgq_coop;
comment on schema pgq_coop is
    'cooperative consumers: several processes share one position in a queue';
