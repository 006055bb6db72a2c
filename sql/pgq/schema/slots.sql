-- Slots: parts of a consumer's messages that are read at the same time.
--
-- A slot is a subscription of its own, so it has its position, its open batch and its page, and the
-- queue keeps what it has not read. It has the sub_id of its consumer: messages that come again are
-- for all of its slots, and their key decides on the one. The consumer itself then has no position.
-- In pgq.consumer a slot is called CONSUMER#NUMBER, and its id is negative: that is how everybody
-- who must not take it for a consumer knows it.

create table pgq.slot (
    slot_queue      integer     not null,
    slot_consumer   integer     not null,
    slot_number     integer     not null,
    slot_count      integer     not null,
    slot_member     integer     not null,
    slot_worker     text,
    slot_stop       bigint,
    slot_next_count integer,

    constraint slot_pkey primary key (slot_queue, slot_consumer, slot_number),
    constraint slot_member_key unique (slot_queue, slot_member)
)
with (fillfactor = 50);
comment on table pgq.slot is 'parts of a consumer that workers read at the same time';
comment on column pgq.slot.slot_queue is 'the queue';
comment on column pgq.slot.slot_consumer is 'the consumer';
comment on column pgq.slot.slot_number is 'which slot, from 0';
comment on column pgq.slot.slot_count is 'of how many';
comment on column pgq.slot.slot_member is 'the slot itself, as pgq.subscription has it';
comment on column pgq.slot.slot_worker is
    'the worker that has it while its lease lasts, see pgq.slot_worker; NULL: none';
comment on column pgq.slot.slot_stop is
    'tick beyond which it opens no batch: the number of slots changes there; NULL: it does not';
comment on column pgq.slot.slot_next_count is 'the number of slots from that tick on';

-- One row for a worker, however many slots it has, written when a third of its lease is over.
create table pgq.slot_worker (
    worker_queue    integer     not null,
    worker_consumer integer     not null,
    worker_name     text        not null,
    worker_since    timestamptz not null,
    worker_until    timestamptz not null,

    constraint slot_worker_pkey primary key (worker_queue, worker_consumer, worker_name)
)
with (fillfactor = 50);
comment on table pgq.slot_worker is 'workers that have slots or wait for some';
comment on column pgq.slot_worker.worker_queue is 'the queue';
comment on column pgq.slot_worker.worker_consumer is 'the consumer';
comment on column pgq.slot_worker.worker_name is 'what the worker calls itself';
comment on column pgq.slot_worker.worker_since is
    'since when it has been there without a break: who came first has slots first';
comment on column pgq.slot_worker.worker_until is 'end of its lease';

select pg_catalog.pg_extension_config_dump('pgq.slot', '');
