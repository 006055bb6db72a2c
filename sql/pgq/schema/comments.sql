-- What the tables hold.

comment on schema pgq is 'PgQ: event queues';

comment on table pgq.consumer is 'readers, by name';
comment on table pgq.queue is
    'queues: settings, names of their tables and sequences, state of table rotation';
comment on table pgq.tick is
    'positions in a queue: number, time, snapshot and value of the event sequence';
comment on table pgq.subscription is
    'who reads which queue, and how far; an open batch is the range from sub_last_tick to '
    'sub_next_tick';
comment on table pgq.event_template is
    'parent of all event tables; reading it reads all events of all queues';
comment on table pgq.retry_queue is 'events that a consumer wants again later';
comment on sequence pgq.batch_id_seq is 'batch ids, shared by all queues';

comment on column pgq.queue.queue_name is 'any text; names of tables come from queue_id';
comment on column pgq.queue.queue_ntables is 'number of event tables that take turns';
comment on column pgq.queue.queue_cur_table is 'number of the event table that is written to';
comment on column pgq.queue.queue_rotation_period is
    'least time between two switches of the event table';
comment on column pgq.queue.queue_switch_step1 is 'transaction that switched to the current table';
comment on column pgq.queue.queue_switch_step2 is
    'no later transaction writes to the previous table; NULL until that is known';
comment on column pgq.queue.queue_switch_time is 'when the current table became current';
comment on column pgq.queue.queue_external_ticker is 'ticks come from elsewhere, by pgq.ticker(4)';
comment on column pgq.queue.queue_disable_insert is
    'refuse events, except where session_replication_role is replica';
comment on column pgq.queue.queue_ticker_paused is 'lay no ticks';
comment on column pgq.queue.queue_ticker_max_count is
    'tick when this many events are new; a trigger, not a limit';
comment on column pgq.queue.queue_ticker_max_lag is
    'tick when there are new events and the newest tick is this old';
comment on column pgq.queue.queue_ticker_idle_period is
    'longest distance of ticks while there are no events';
comment on column pgq.queue.queue_per_tx_limit is
    'most events of one transaction; NULL or negative: no limit';
comment on column pgq.queue.queue_data_pfx is
    'schema and name of the event tables, without their number';
comment on column pgq.queue.queue_event_seq is 'sequence of event ids';
comment on column pgq.queue.queue_tick_seq is 'sequence of tick ids';
comment on column pgq.queue.queue_extra_maint is
    'functions that maintenance calls with the name of the queue';
comment on column pgq.queue.queue_batch_max_count is
    'most events between two ticks, unless one transaction alone has more';

comment on column pgq.queue.queue_id is 'number in the names of tables, and in locks';

comment on column pgq.consumer.co_id is 'number of the consumer';
comment on column pgq.consumer.co_name is 'its name, on all queues that it reads';

comment on column pgq.tick.tick_queue is 'queue that the tick is in';
comment on column pgq.tick.tick_id is 'number of the tick, rising within the queue';
comment on column pgq.tick.tick_time is 'when it was laid; in a branch of a cascade, at the root';
comment on column pgq.tick.tick_snapshot is
    'transactions that had ended: events between two ticks are those of transactions that the '
    'second sees and the first does not';
comment on column pgq.tick.tick_event_seq is 'last event id that had been given out';

comment on column pgq.subscription.sub_id is
    'number of the subscription, which retried events name; members of a group share it';
comment on column pgq.subscription.sub_queue is 'queue that is read';
comment on column pgq.subscription.sub_consumer is 'who reads';
comment on column pgq.subscription.sub_last_tick is
    'position: everything up to this tick is done; NULL: a member of a group without a batch';
comment on column pgq.subscription.sub_active is 'when it last took or finished a batch';
comment on column pgq.subscription.sub_batch is 'id of the open batch; NULL: none is open';
comment on column pgq.subscription.sub_next_tick is 'tick at which the open batch ends';

comment on column pgq.event_template.ev_id is 'number of the event; gaps are normal';
comment on column pgq.event_template.ev_time is 'when it was inserted first';
comment on column pgq.event_template.ev_txid is
    'transaction that inserted this row, which decides on its batch';
comment on column pgq.event_template.ev_owner is
    'NULL: for all consumers; else the subscription that asked for a retry';
comment on column pgq.event_template.ev_retry is
    'how often another delivery was asked for; NULL: never';
comment on column pgq.event_template.ev_type is
    'kind of event: the application''s, or a trigger''s';
comment on column pgq.event_template.ev_data is 'payload';
comment on column pgq.event_template.ev_extra1 is
    'the application''s; triggers put the table''s name here';
comment on column pgq.event_template.ev_extra2 is
    'the application''s; triggers with option backup put the old row here';
comment on column pgq.event_template.ev_extra3 is 'the application''s';
comment on column pgq.event_template.ev_extra4 is 'the application''s';

comment on column pgq.retry_queue.ev_retry_after is 'when the event is to come again';
comment on column pgq.retry_queue.ev_queue is 'queue that it is put back into';
comment on column pgq.retry_queue.ev_id is 'number of the event, which it keeps';
comment on column pgq.retry_queue.ev_time is 'when it was inserted first';
comment on column pgq.retry_queue.ev_txid is 'not used';
comment on column pgq.retry_queue.ev_owner is 'subscription that alone gets it';
comment on column pgq.retry_queue.ev_retry is 'what ev_retry will be';
comment on column pgq.retry_queue.ev_type is 'as in the event';
comment on column pgq.retry_queue.ev_data is 'as in the event';
comment on column pgq.retry_queue.ev_extra1 is 'as in the event';
comment on column pgq.retry_queue.ev_extra2 is 'as in the event';
comment on column pgq.retry_queue.ev_extra3 is 'as in the event';
comment on column pgq.retry_queue.ev_extra4 is 'as in the event';
