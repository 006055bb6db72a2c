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
